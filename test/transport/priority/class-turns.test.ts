import test from 'ava';
import fc from 'fast-check';
import { PRIORITIES } from '../../../src/protocol/priority.js';
import {
  ClassTurns,
  PATIENCE_BYTES,
  RANKS,
  SLICE_BYTES,
} from '../../../src/transport/priority/class-turns.js';
import { holds } from '../../protocol/properties.js';

const ALL = 0b1111;

test('ranks follow the order of the classes', (t) => {
  t.deepEqual(
    PRIORITIES.map((priority) => RANKS[priority]),
    [0, 1, 2, 3],
  );
});

test('the most urgent class that waits goes first', (t) => {
  for (let waiting = 1; waiting <= ALL; waiting += 1) {
    const first = [0, 1, 2, 3].find((rank) => waiting & (1 << rank)) as number;
    t.is(new ClassTurns().next(waiting), first);
  }
});

test('a class that has waited for its bound goes next, once', (t) => {
  const turns = new ClassTurns();
  turns.went(RANKS.control, PATIENCE_BYTES - 1, ALL);
  t.is(turns.next(ALL), RANKS.control);
  turns.went(RANKS.control, 1, 0b1001);
  // Only one of them has waited all the time.
  t.is(turns.next(ALL), RANKS.bulk);
  turns.went(RANKS.bulk, 64 * 1024, ALL);
  t.is(turns.next(ALL), RANKS.control);
});

test('a class that does not wait gathers nothing for later', (t) => {
  const turns = new ClassTurns();
  turns.went(RANKS.high, 10 * PATIENCE_BYTES, 1 << RANKS.high);
  t.is(turns.next(ALL), RANKS.control);
  t.false(turns.isDue(RANKS.bulk));
});

test('a class that is due has its slice in frames of any size', (t) => {
  const turns = new ClassTurns();
  turns.went(RANKS.high, PATIENCE_BYTES, ALL);
  for (let left = SLICE_BYTES; left > 0; left -= 1024) {
    t.is(turns.next(ALL), RANKS.bulk);
    turns.went(RANKS.bulk, 1024, ALL);
  }
  t.is(turns.next(ALL), RANKS.normal);
  turns.went(RANKS.normal, 2 * SLICE_BYTES, ALL);
  t.is(turns.next(ALL), RANKS.control);
});

test('whatever comes, no class waits longer than its bound, and none goes against the order before', (t) => {
  const largest = 1024 * 1024;
  const frames = fc.array(
    fc.record({
      /** Classes besides bulk that have something now. */
      others: fc.nat(0b111),
      bytes: fc.oneof(fc.integer({ min: 1, max: 64 * 1024 }), fc.constant(largest)),
    }),
    { minLength: 50, maxLength: 300 },
  );
  holds(
    t,
    fc.property(frames, (steps) => {
      const turns = new ClassTurns();
      /** Of each class: bytes of higher ones since it sent last, and bytes of all others since those were enough. */
      const passed = [0, 0, 0, 0];
      const late = [0, 0, 0, 0];
      let last = -1;
      for (const { others, bytes } of steps) {
        const waiting = others | (1 << RANKS.bulk);
        const rank = turns.next(waiting);
        if ((waiting & (1 << rank)) === 0) return false;
        const first = [0, 1, 2, 3].find((each) => waiting & (1 << each)) as number;
        const isDue = (passed[rank] as number) >= PATIENCE_BYTES || last === rank;
        if (rank !== first && !isDue) return false;
        for (let each = 0; each < 4; each += 1) {
          if ((waiting & (1 << each)) === 0 || each === rank) {
            passed[each] = 0;
            late[each] = 0;
            continue;
          }
          if ((passed[each] as number) >= PATIENCE_BYTES)
            late[each] = (late[each] as number) + bytes;
          if ((late[each] as number) > 3 * (SLICE_BYTES + largest)) return false;
          if (each > rank) passed[each] = (passed[each] as number) + bytes;
        }
        last = rank;
        turns.went(rank, bytes, waiting);
      }
      return true;
    }),
    500,
  );
});
