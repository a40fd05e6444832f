import test from 'ava';
import { RttWatch } from '../../../../src/transport/quic/connection/rtt-watch.js';

test('an estimate far above the least seen has run away once the window is small', (t) => {
  const watch = new RttWatch();
  t.false(watch.isRunaway(20, 10));
  t.false(watch.isRunaway(900, 3));
  t.false(watch.isRunaway(5000, 40));
  t.true(watch.isRunaway(1500, 3));
  t.false(watch.isRunaway(20, 3));
});

test('a path that was always slow is no cause for alarm', (t) => {
  const watch = new RttWatch();
  for (const rttMs of [1500, 1200, 4000, 9000]) t.false(watch.isRunaway(rttMs, 2));
});

/** What is handed over in seconds of so many bytes each, at a constant estimate and window. */
function verdicts(watch: RttWatch, rttMs: number, bytesPerSecond: number[], windowBytes = 20_000) {
  let handedBytes = 0;
  return bytesPerSecond.map((bytes, second) => {
    handedBytes += bytes;
    return watch.isOverestimate({ nowMs: 1000 * second, rttMs, windowBytes, handedBytes });
  });
}

test('an estimate is too long when twice in a row more goes out than the window allows in its time', (t) => {
  const allowed = 20_000 * (1000 / 200 + 1);
  const fast = 2 * allowed + 1;
  t.deepEqual(verdicts(new RttWatch(), 200, [0, fast, fast]), [false, false, true]);
  t.deepEqual(verdicts(new RttWatch(), 200, [0, fast, allowed, fast]), [
    false,
    false,
    false,
    false,
  ]);
  t.deepEqual(verdicts(new RttWatch(), 200, [0, 2 * allowed, 2 * allowed]), [false, false, false]);
});

test('a short estimate is never found too long, nor any by little traffic', (t) => {
  const much = 1_000_000_000;
  t.deepEqual(verdicts(new RttWatch(), 40, [0, much, much]), [false, false, false]);
  t.deepEqual(verdicts(new RttWatch(), 5000, [0, 60_000, 60_000], 2700), [false, false, false]);
});

test('looks in quick succession repeat the verdict, and count as none', (t) => {
  const watch = new RttWatch();
  const look = (nowMs: number, handedBytes: number) =>
    watch.isOverestimate({ nowMs, rttMs: 200, windowBytes: 2700, handedBytes });
  t.false(look(0, 0));
  t.false(look(100, 1_000_000));
  t.false(look(200, 2_000_000));
  t.false(look(1000, 3_000_000));
  t.true(watch.isBusy(3_100_000));
  t.false(watch.isBusy(3_001_000));
  t.true(look(2000, 6_000_000));
  t.true(look(2100, 6_000_000));
});
