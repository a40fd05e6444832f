import test from 'ava';
import { LineLimit } from '../../src/telemetry/line-limit.js';

test('a source has one line a second, others are counted and told by the next', (t) => {
  const limit = new LineLimit();
  t.deepEqual(
    [0, 1, 999].map((nowMs) => limit.take('a', nowMs)),
    [true, false, false],
  );
  t.deepEqual(limit.takeLeftOut(999), []);
  // What was left out comes first.
  t.false(limit.take('a', 1001));
  t.deepEqual(limit.takeLeftOut(1001), [{ source: 'a', lines: 3 }]);
  // That was the line of this second.
  t.false(limit.take('a', 1500));
  t.deepEqual(limit.takeLeftOut(2001), [{ source: 'a', lines: 1 }]);
  t.deepEqual(limit.takeLeftOut(3001), []);
  t.true(limit.isEmpty);
  t.true(limit.take('a', 3001));
});

test('sources do not hold up each other', (t) => {
  const limit = new LineLimit();
  t.true(limit.take('a', 0));
  t.true(limit.take('b', 1));
  t.false(limit.take('a', 2));
  t.deepEqual(limit.takeLeftOut(1000), [{ source: 'a', lines: 1 }]);
});

test('a source that was quiet for a second has its line at once', (t) => {
  const limit = new LineLimit();
  t.true(limit.take('a', 0));
  t.true(limit.take('a', 1000));
});

test('beyond 1024 sources the rest share one line', (t) => {
  const limit = new LineLimit();
  let written = 0;
  for (let source = 0; source < 5000; source += 1) if (limit.take(`s${source}`, 0)) written += 1;
  t.is(written, 1025);
  t.deepEqual(limit.takeLeftOut(1000), [{ source: 'other sources', lines: 5000 - 1025 }]);
});
