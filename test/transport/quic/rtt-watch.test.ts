import test from 'ava';
import { RttWatch } from '../../../src/transport/quic/rtt-watch.js';

test('an estimate far above the least seen is absurd once the window is small', (t) => {
  const watch = new RttWatch();
  t.false(watch.isAbsurd(20, 10));
  t.false(watch.isAbsurd(900, 3));
  t.false(watch.isAbsurd(5000, 40));
  t.true(watch.isAbsurd(1500, 3));
  t.false(watch.isAbsurd(20, 3));
});

test('a path that was always slow is no cause for alarm', (t) => {
  const watch = new RttWatch();
  for (const rttMs of [1500, 1200, 4000, 9000]) t.false(watch.isAbsurd(rttMs, 2));
});
