import test from 'ava';
import fc from 'fast-check';
import {
  Backoff,
  type BackoffLimits,
  DEFAULT_BACKOFF,
  REFUSED_DELAY_MS,
} from '../../src/pool/backoff.js';
import { holds } from '../protocol/properties.js';

const limits: fc.Arbitrary<BackoffLimits> = fc
  .tuple(fc.integer({ min: 1, max: 1000 }), fc.integer({ min: 1, max: 100_000 }))
  .map(([minDelayMs, more]) => ({ minDelayMs, maxDelayMs: minDelayMs + more, stableMs: 60_000 }));
const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
/** The highest there is below 1. */
const ALMOST_ONE = 1 - Number.EPSILON / 2;

test('the delay after the n-th failure lies between zero and the first one doubled n times, or the longest', (t) => {
  holds(
    t,
    fc.property(limits, fc.array(chance, { maxLength: 40, size: 'max' }), (of, chances) => {
      const backoff = new Backoff(of);
      return chances.every((one, n) => {
        const { patientMs } = backoff.failed(one);
        return patientMs >= 0 && patientMs < Math.min(of.maxDelayMs, of.minDelayMs * 2 ** n);
      });
    }),
  );
});

test('however many dials fail, the delay reaches the longest and stays there', (t) => {
  const backoff = new Backoff(DEFAULT_BACKOFF);
  let last = 0;
  for (let i = 0; i < 5000; i += 1) {
    const { patientMs } = backoff.failed(ALMOST_ONE);
    t.true(patientMs >= last && patientMs < DEFAULT_BACKOFF.maxDelayMs);
    last = patientMs;
  }
  t.true(last > 0.99 * DEFAULT_BACKOFF.maxDelayMs);
});

test('delays are spread evenly from zero to their ceiling', (t) => {
  const random = seeded(20_240_229);
  const counts = new Array<number>(20).fill(0);
  const draws = 20_000;
  for (let i = 0; i < draws; i += 1) {
    const { patientMs } = new Backoff(DEFAULT_BACKOFF).failed(random());
    const bucket = Math.floor((patientMs / DEFAULT_BACKOFF.minDelayMs) * counts.length);
    counts[bucket] = (counts[bucket] ?? 0) + 1;
  }
  t.is(counts.length, 20);
  const expected = draws / counts.length;
  const chiSquare = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  // With 19 degrees of freedom, one run in a thousand is above.
  t.true(chiSquare < 43.8, `chi-square ${chiSquare}`);
});

test('while calls wait the delay is half a second at most, and never longer than without', (t) => {
  holds(
    t,
    fc.property(
      limits,
      fc.array(chance, { minLength: 1, maxLength: 40, size: 'max' }),
      (of, chances) => {
        const backoff = new Backoff(of);
        return chances.every((one) => {
          const { patientMs, eagerMs } = backoff.failed(one);
          return eagerMs <= patientMs && eagerMs <= 500;
        });
      },
    ),
  );
});

test('a connection that lived for a minute makes the next delay the first again', (t) => {
  holds(
    t,
    fc.property(fc.nat(20), fc.nat(120_000), (failures, livedMs) => {
      const backoff = new Backoff(DEFAULT_BACKOFF);
      for (let i = 0; i < failures; i += 1) backoff.failed(0.5);
      const { minDelayMs, maxDelayMs, stableMs } = DEFAULT_BACKOFF;
      backoff.connected(1000);
      const patientMs = backoff.lost(1000 + livedMs, ALMOST_ONE)?.patientMs ?? Number.NaN;
      const doublings = livedMs >= stableMs ? 0 : failures;
      return Math.abs(patientMs - Math.min(maxDelayMs, minDelayMs * 2 ** doublings)) < 1e-6;
    }),
  );
});

test('connections that are lost as soon as they are made are dialed ever less often', (t) => {
  const backoff = new Backoff(DEFAULT_BACKOFF);
  const delays = Array.from({ length: 12 }, (_, i) => {
    backoff.connected(i);
    return backoff.lost(i, ALMOST_ONE)?.patientMs ?? Number.NaN;
  });
  t.deepEqual(
    delays,
    delays.toSorted((a, b) => a - b),
  );
  t.true((delays.at(-1) as number) > 29_000);
});

test('a peer is connected from its first connection to the loss of its last, which counts once', (t) => {
  const backoff = new Backoff(DEFAULT_BACKOFF);
  t.is(backoff.lost(0, 0.5), undefined);
  for (let i = 0; i < 5; i += 1) backoff.failed(0.5);
  backoff.connected(0);
  backoff.connected(DEFAULT_BACKOFF.stableMs - 1);
  const first = backoff.lost(DEFAULT_BACKOFF.stableMs, 0.5);
  t.is(first?.patientMs, DEFAULT_BACKOFF.minDelayMs / 2);
  t.is(backoff.lost(DEFAULT_BACKOFF.stableMs, 0.5), undefined);
  t.is(backoff.failed(0.5).patientMs, DEFAULT_BACKOFF.minDelayMs);
});

test('after a refusal the peer is left alone for half a minute at least, even by calls that wait', (t) => {
  holds(
    t,
    fc.property(chance, (one) => {
      const { patientMs, eagerMs } = new Backoff(DEFAULT_BACKOFF).refused(one);
      return (
        patientMs >= REFUSED_DELAY_MS / 2 && patientMs <= REFUSED_DELAY_MS && eagerMs === patientMs
      );
    }),
  );
  t.true(REFUSED_DELAY_MS >= 60_000);
});

/** Numbers from 0 up to 1, the same for the same seed (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
