import test from 'ava';
import fc from 'fast-check';
import { type SurplusCandidate, selectSurplus } from '../../src/pool/surplus.js';
import { holds } from '../protocol/properties.js';

const NOW_MS = 1_000_000;
const IDLE_MS = 60_000;

/** Oldest first. */
const candidates: fc.Arbitrary<SurplusCandidate[]> = fc
  .array(
    fc.record({
      isDialed: fc.boolean(),
      ageMs: fc.integer({ min: 1, max: 200_000 }),
      heardAgoMs: fc.nat(200_000),
      idleForMs: fc.option(fc.nat(200_000), { nil: undefined }),
    }),
    { maxLength: 12, size: 'max' },
  )
  .map((all) =>
    all
      .toSorted((a, b) => b.ageMs - a.ageMs)
      .map(({ isDialed, ageMs, heardAgoMs, idleForMs }) => ({
        isDialed,
        establishedMs: NOW_MS - ageMs,
        lastReceivedMs: NOW_MS - Math.min(ageMs, heardAgoMs),
        idleSinceMs: idleForMs === undefined ? undefined : NOW_MS - Math.min(ageMs, idleForMs),
      })),
  );
const sizes = fc
  .tuple(fc.integer({ min: 1, max: 4 }), fc.nat(3))
  .map(([min, more]) => ({ min, max: min + more, idleMs: IDLE_MS }));

/** A connection that was established and last heard of so long ago. */
function connection(
  isDialed: boolean,
  agoMs: number,
  heardAgoMs: number,
  idleForMs?: number,
): SurplusCandidate {
  const idleSinceMs = idleForMs === undefined ? undefined : NOW_MS - idleForMs;
  return {
    isDialed,
    establishedMs: NOW_MS - agoMs,
    lastReceivedMs: NOW_MS - heardAgoMs,
    idleSinceMs,
  };
}

const size = { min: 1, max: 1, idleMs: IDLE_MS };
const isLive = (of: SurplusCandidate, all: readonly SurplusCandidate[]): boolean =>
  all.every(({ establishedMs }) => of.lastReceivedMs > establishedMs);

test('only connections that this side dialed are closed, each once', (t) => {
  holds(
    t,
    fc.property(candidates, sizes, fc.boolean(), (all, of, yields) => {
      const chosen = selectSurplus(all, of, yields, NOW_MS);
      return (
        new Set(chosen).size === chosen.length && chosen.every((index) => all[index]?.isDialed)
      );
    }),
  );
});

test('no fewer connections than min are left', (t) => {
  holds(
    t,
    fc.property(candidates, sizes, fc.boolean(), (all, of, yields) => {
      const chosen = selectSurplus(all, of, yields, NOW_MS);
      return chosen.length === 0 || all.length - chosen.length >= of.min;
    }),
  );
});

test('a connection in use goes only where one stays that has shown life since the youngest is there', (t) => {
  holds(
    t,
    fc.property(candidates, sizes, fc.boolean(), (all, of, yields) => {
      const chosen = selectSurplus(all, of, yields, NOW_MS);
      const isIdle = (index: number): boolean => {
        const idleSinceMs = all[index]?.idleSinceMs;
        return idleSinceMs !== undefined && NOW_MS - idleSinceMs >= IDLE_MS;
      };
      if (chosen.every(isIdle)) return true;
      return all.some((one, index) => !chosen.includes(index) && isLive(one, all));
    }),
    1000,
  );
});

test('once all have shown life no more than max of this side stay, and of the yielding side no more in all', (t) => {
  holds(
    t,
    fc.property(candidates, sizes, fc.boolean(), (all, of, yields) => {
      const live = all.map((one) => ({ ...one, lastReceivedMs: NOW_MS }));
      const chosen = selectSurplus(live, of, yields, NOW_MS);
      const dialed = live.filter(({ isDialed }) => isDialed).length - chosen.length;
      const accepted = live.filter(({ isDialed }) => !isDialed).length;
      return dialed <= (yields ? Math.max(0, of.max - accepted) : of.max);
    }),
  );
});

test('where both sides have dialed, exactly the yielding one gives up its own, once the other has shown life', (t) => {
  const mine = connection(true, 500, 500);
  const theirs = connection(false, 400, 400);
  t.deepEqual(selectSurplus([mine, theirs], size, true, NOW_MS), [], 'not yet');
  const heard = connection(false, 400, 10);
  t.deepEqual(selectSurplus([mine, heard], size, true, NOW_MS), [0]);
  t.deepEqual(selectSurplus([mine, heard], size, false, NOW_MS), []);
  const mineHeard = connection(true, 500, 10);
  t.deepEqual(selectSurplus([mineHeard, theirs], size, true, NOW_MS), [], 'its own is no proof');
});

test('of its own a side gives up the oldest, once the one that takes its place has shown life', (t) => {
  const old = connection(true, 5000, 10);
  t.deepEqual(
    selectSurplus([old, connection(true, 500, 500)], size, false, NOW_MS),
    [],
    'the one that would go is no proof',
  );
  t.deepEqual(selectSurplus([old, connection(true, 500, 100)], size, false, NOW_MS), [0]);
});

test('above min the oldest that were idle for long are closed', (t) => {
  const all = [
    connection(true, 200_000, 10, IDLE_MS),
    connection(true, 190_000, 10),
    connection(true, 180_000, 10, IDLE_MS - 1),
    connection(true, 170_000, 10, IDLE_MS + 1),
    connection(true, 160_000, 10, IDLE_MS + 1),
  ];
  const close = (min: number): number[] =>
    selectSurplus(all, { ...size, min, max: 10 }, false, NOW_MS);
  t.deepEqual(close(1), [0, 3, 4]);
  t.deepEqual(close(3), [0, 3]);
  t.deepEqual(close(5), []);
});

test('idle connections of the peer count, but are left to it', (t) => {
  const all = [connection(false, 200_000, 10, IDLE_MS), connection(true, 190_000, 10, IDLE_MS)];
  t.deepEqual(selectSurplus(all, { ...size, max: 10 }, false, NOW_MS), [1]);
  t.deepEqual(selectSurplus(all.slice(0, 1), { ...size, max: 10 }, false, NOW_MS), []);
});
