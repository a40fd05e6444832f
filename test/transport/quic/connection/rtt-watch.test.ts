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
