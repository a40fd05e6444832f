import test from 'ava';
import fc from 'fast-check';
import { PRIORITIES } from '../../src/protocol/priority.js';
import { ClassTurns, PATIENCE_BYTES, RANKS } from '../../src/transport/class-turns.js';
import { holds } from '../protocol/properties.js';

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

test('whatever comes, no class waits longer than its bound, and the first none goes against the order', (t) => {
  const frames = fc.array(
    fc.record({
      /** Classes besides bulk that have something now. */
      others: fc.nat(0b111),
      bytes: fc.oneof(fc.integer({ min: 1, max: 64 * 1024 }), fc.constant(1024 * 1024)),
    }),
    { minLength: 50, maxLength: 300 },
  );
  holds(
    t,
    fc.property(frames, (steps) => {
      const turns = new ClassTurns();
      /** Of each class: bytes of higher ones, and turns of all others since the bound was reached. */
      const passed = [0, 0, 0, 0];
      const turnsSince = [0, 0, 0, 0];
      for (const { others, bytes } of steps) {
        const waiting = others | (1 << RANKS.bulk);
        const rank = turns.next(waiting);
        if ((waiting & (1 << rank)) === 0) return false;
        const first = [0, 1, 2, 3].find((each) => waiting & (1 << each)) as number;
        if (rank !== first && (passed[rank] as number) < PATIENCE_BYTES) return false;
        for (let each = 0; each < 4; each += 1) {
          const waits = (waiting & (1 << each)) !== 0 && each !== rank;
          if (!waits) {
            passed[each] = 0;
            turnsSince[each] = 0;
            continue;
          }
          if ((passed[each] as number) >= PATIENCE_BYTES) {
            turnsSince[each] = (turnsSince[each] as number) + 1;
            if ((turnsSince[each] as number) > 3) return false;
          }
          if (each > rank) passed[each] = (passed[each] as number) + bytes;
        }
        turns.went(rank, bytes, waiting);
      }
      return true;
    }),
    500,
  );
});
