import test from 'ava';
import { RateLimit } from '../../src/base/rate-limit.js';

test('so many pass in a second, and a burst of them at once', (t) => {
  const limit = new RateLimit(10, 3);
  t.deepEqual(
    [0, 0, 0, 0, 99, 100, 100].map((nowMs) => limit.take(nowMs)),
    [true, true, true, false, false, true, false],
  );
  // However long nobody asks, no more than a burst is left.
  t.deepEqual(
    [9000, 9000, 9000, 9000].map((nowMs) => limit.take(nowMs)),
    [true, true, true, false],
  );
});

test('a time that is earlier than one before gives nothing, and takes nothing', (t) => {
  const limit = new RateLimit(10, 3);
  t.true(limit.take(5000));
  t.true(limit.take(1000));
  t.true(limit.take(5000));
  t.false(limit.take(1000));
  t.false(limit.take(5099));
  t.true(limit.take(5100));
  t.false(limit.take(5100));
});
