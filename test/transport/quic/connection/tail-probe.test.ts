import test from 'ava';
import { TailProbe } from '../../../../src/transport/quic/connection/tail-probe.js';

const IDLE_MS = 30_000;
const NO_LOSS = () => 0;

function probeOn(rttMs: number): TailProbe {
  const probe = new TailProbe();
  probe.begin(IDLE_MS);
  probe.learn(rttMs);
  return probe;
}

test('a timeout in proportion to the round trip is left to the binding', (t) => {
  const probe = probeOn(50);
  t.is(probe.delayMs(null, 0), null);
  t.is(probe.delayMs(90, 0), 90);
  t.false(probe.takeProbe(NO_LOSS));
});

test('one that is not is cut short, twice as long each time while nothing is heard', (t) => {
  const probe = probeOn(50);
  const waits: (number | null)[] = [];
  for (let i = 0; i < 8; i += 1) {
    waits.push(probe.delayMs(20_000, 0));
    t.is(probe.takeProbe(NO_LOSS), i < 8 && (waits.at(-1) as number) < 20_000);
    t.false(probe.takeProbe(NO_LOSS), 'once');
  }
  t.deepEqual(waits, [125, 250, 500, 1000, 2000, 4000, 4000, 4000]);
  probe.heard(NO_LOSS);
  probe.heard(() => 1);
  t.is(probe.delayMs(20_000, 0), 125, 'what was lost is found');
});

test('probes that show no loss make it patient, until what is heard comes in time again', (t) => {
  const probe = probeOn(50);
  for (let i = 0; i < 3; i += 1) {
    probe.delayMs(20_000, 0);
    probe.takeProbe(() => 7);
    for (let heard = 0; heard < 4; heard += 1) probe.heard(() => 7);
  }
  t.is(probe.delayMs(20_000, 0), 1000, 'the answer was late, not lost');
  for (let i = 0; i < 8; i += 1) probe.heard(NO_LOSS);
  t.is(probe.delayMs(20_000, 0), 500);
  for (let i = 0; i < 100; i += 1) probe.heard(NO_LOSS);
  t.is(probe.delayMs(20_000, 0), 125);
});

test('a connection with nothing under way is left alone', (t) => {
  const probe = probeOn(50);
  for (const silentMs of [0, 1000, 10_000, 29_000]) {
    // The binding counts from the last arrival, or from what was sent since.
    t.is(probe.delayMs(IDLE_MS - silentMs, silentMs), IDLE_MS - silentMs);
    t.is(probe.delayMs(IDLE_MS, silentMs), IDLE_MS);
    t.false(probe.takeProbe(NO_LOSS));
  }
});

test('the shortest round trip counts, on this path', (t) => {
  const probe = probeOn(400);
  probe.learn(20);
  probe.learn(5000);
  t.is(probe.delayMs(9000, 0), 65);
  probe.restart();
  t.is(probe.delayMs(9000, 0), 1000, 'until something is known');
});

test('the binding is asked for the round trip sixteen times, and after a change of path again', (t) => {
  const probe = probeOn(1);
  const looks = () =>
    Array.from({ length: 1000 }, () => probe.heard(NO_LOSS)).filter(Boolean).length;
  t.is(looks(), 16);
  t.is(looks(), 0);
  probe.restart();
  t.is(looks(), 16);
});
