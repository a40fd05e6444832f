import test from 'ava';
import fc from 'fast-check';
import { DEFAULT_REPLAY_GUARD, ReplayGuard } from '../../src/protocol/replay-guard.js';
import { holds } from './properties.js';

const T0 = 1_767_225_600_000;
const SECOND = 1000;

test('a timestamp up to 30 s off is taken, beyond that it is outside the window', (t) => {
  const guard = new ReplayGuard();
  let used = 0;
  for (const offMs of [0, 29_000, 30_000, -29_000, -30_000]) {
    t.is(guard.check(nonce(used++), T0 + offMs, T0, 'n1'), 'fresh', `${offMs} ms`);
  }
  for (const offMs of [30_001, 31_000, -30_001, -31_000, -T0]) {
    t.is(guard.check(nonce(used++), T0 + offMs, T0, 'n1'), 'outsideWindow', `${offMs} ms`);
  }
  t.is(guard.size, 5);
});

test('a nonce is taken once, whatever timestamp it comes with again', (t) => {
  const guard = new ReplayGuard();
  t.is(guard.check(nonce(1), T0, T0, 'n1'), 'fresh');
  t.is(guard.check(nonce(1), T0, T0, 'n1'), 'replayed');
  t.is(guard.check(nonce(1), T0 + 5 * SECOND, T0 + 10 * SECOND, 'n1'), 'replayed');
  t.is(guard.check(nonce(2), T0, T0, 'n1'), 'fresh');
});

test('a nonce outside the window is not remembered', (t) => {
  const guard = new ReplayGuard();
  t.is(guard.check(nonce(1), T0 - 31 * SECOND, T0, 'n1'), 'outsideWindow');
  t.is(guard.check(nonce(1), T0, T0, 'n1'), 'fresh');
});

test('nonces are told apart by all of their bytes', (t) => {
  const guard = new ReplayGuard();
  const first = Buffer.alloc(16, 0xff);
  const last = Buffer.from(first);
  last[15] = 0xfe;
  t.is(guard.check(first, T0, T0, 'n1'), 'fresh');
  t.is(guard.check(last, T0, T0, 'n1'), 'fresh');
  t.is(guard.check(new Uint8Array(first), T0, T0, 'n1'), 'replayed');
});

test('a nonce from the future is still held when its timestamp leaves the window', (t) => {
  for (const startMs of [0, 1, 30_000, 59_999, 60_000, 60_001]) {
    const guard = new ReplayGuard();
    guard.check(nonce(0), T0, T0, 'n1');
    const seenMs = T0 + startMs;
    const stampMs = seenMs + 30 * SECOND;
    t.is(guard.check(nonce(1), stampMs, seenMs, 'n1'), 'fresh');
    // Traffic in between turns the generations at the worst moments.
    for (let at = 0; at <= 60_000; at += 500)
      guard.check(nonce(2 + at), seenMs + at, seenMs + at, 'n1');
    t.is(guard.check(nonce(1), stampMs, seenMs + 60 * SECOND, 'n1'), 'replayed');
    t.is(guard.check(nonce(1), stampMs, seenMs + 60 * SECOND + 1, 'n1'), 'outsideWindow');
  }
});

test('nonces are forgotten after two generations at most, or at once after a long silence', (t) => {
  const guard = new ReplayGuard();
  guard.check(nonce(1), T0, T0, 'n1');
  guard.check(nonce(2), T0 + 60 * SECOND, T0 + 60 * SECOND, 'n1');
  t.is(guard.size, 2);
  guard.check(nonce(3), T0 + 120 * SECOND, T0 + 120 * SECOND, 'n1');
  t.is(guard.size, 2);
  guard.check(nonce(4), T0 + 300 * SECOND, T0 + 300 * SECOND, 'n1');
  t.is(guard.size, 1);
});

test('a full guard refuses fresh nonces, still knows the old, and has room again later', (t) => {
  const guard = new ReplayGuard({ ...DEFAULT_REPLAY_GUARD, maxNonces: 3 });
  for (let i = 0; i < 3; i += 1) t.is(guard.check(nonce(i), T0, T0, 'n1'), 'fresh');
  t.is(guard.check(nonce(3), T0, T0, 'n1'), 'full');
  t.is(guard.check(nonce(0), T0, T0, 'n1'), 'replayed');
  t.is(guard.size, 3);
  const laterMs = T0 + 120 * SECOND;
  t.is(guard.check(nonce(3), laterMs, laterMs, 'n1'), 'fresh');
});

test('a flood of fresh nonces takes bounded memory, for as long as it lasts, and forgets none that counts', (t) => {
  const guard = new ReplayGuard();
  const { maxNonces, windowMs } = DEFAULT_REPLAY_GUARD;
  t.is(maxNonces, 100_000);
  const verdicts = { fresh: 0, replayed: 0, outsideWindow: 0, full: 0 };
  const recorded: Buffer[] = [];
  let largest = 0;
  // Five a millisecond for three windows: 450,000 in all.
  for (let id = 0, nowMs = T0; nowMs < T0 + 3 * windowMs; nowMs += 1) {
    for (let n = 0; n < 5; n += 1, id += 1) {
      const verdict = guard.check(nonce(id), nowMs, nowMs, `n${id % 5}`);
      verdicts[verdict] += 1;
      if (verdict === 'fresh' && id % 1000 === 0) recorded.push(nonce(id));
    }
    largest = Math.max(largest, guard.size);
  }
  t.is(largest, maxNonces);
  t.is(verdicts.fresh, maxNonces);
  t.is(verdicts.full, 350_000);
  // What was taken is not taken again, however full the guard is.
  t.is(recorded.length, 100);
  const endMs = T0 + 3 * windowMs;
  for (const seen of recorded) t.is(guard.check(seen, endMs, endMs, 'n1'), 'replayed');
});

test('a node whose nonces are a quarter of all is refused more, and others are not', (t) => {
  const guard = new ReplayGuard();
  const { maxNoncesPerNode, windowMs } = DEFAULT_REPLAY_GUARD;
  for (let id = 0; id < maxNoncesPerNode; id += 1) guard.check(nonce(id), T0, T0, 'n1');
  t.is(guard.check(nonce(-1 >>> 0), T0, T0, 'n1'), 'full');
  t.is(guard.check(nonce(0), T0, T0, 'n1'), 'replayed');
  t.is(guard.check(nonce(maxNoncesPerNode), T0, T0, 'n2'), 'fresh');
  // Both generations count.
  const laterMs = T0 + 2 * windowMs;
  t.is(guard.check(nonce(maxNoncesPerNode + 1), laterMs, laterMs, 'n1'), 'full');
  const lateMs = T0 + 4 * windowMs;
  t.is(guard.check(nonce(maxNoncesPerNode + 2), lateMs, lateMs, 'n1'), 'fresh');
});

test('a clock that steps back does not make the guard forget', (t) => {
  const guard = new ReplayGuard();
  guard.check(nonce(1), T0, T0, 'n1');
  t.is(guard.check(nonce(1), T0, T0 - 10 * SECOND, 'n1'), 'replayed');
});

test('a clock that is set forward and back makes the guard forget nothing', (t) => {
  const guard = new ReplayGuard();
  const hour = 3600 * SECOND;
  t.is(guard.check(nonce(1), T0, T0, 'n1', 0), 'fresh');
  for (let second = 1; second <= 3; second += 1) {
    const wrongMs = T0 + second * hour;
    t.is(guard.check(nonce(1 + second), wrongMs, wrongMs, 'n1', second * SECOND), 'fresh');
  }
  t.is(guard.check(nonce(1), T0, T0 + 4 * SECOND, 'n1', 4 * SECOND), 'replayed');
});

test('a clock that is set back makes no old nonce good again, however long that lasts', (t) => {
  const guard = new ReplayGuard();
  t.is(guard.check(nonce(1), T0, T0, 'n1', 0), 'fresh');
  for (let second = 10; second <= 600; second += 10) {
    // The clock stands still in effect: it is set back again and again.
    guard.check(nonce(1000 + second), T0, T0, 'n1', second * SECOND);
    t.is(guard.check(nonce(1), T0, T0, 'n1', second * SECOND), 'replayed', `${second}`);
  }
  const laterMs = T0 + 31 * SECOND;
  guard.check(nonce(2), laterMs, laterMs, 'n1', 1000 * SECOND);
  t.is(guard.size, 1);
});

test('no nonce is taken twice while its timestamp is within the window', (t) => {
  const step = fc.record({
    waitMs: fc.oneof(fc.nat(2_000), fc.nat(40_000), fc.constantFrom(0, 30_000, 60_000, 59_999)),
    nonce: fc.nat(5),
    offMs: fc.integer({ min: -32_000, max: 32_000 }),
    again: fc.boolean(),
  });
  holds(
    t,
    fc.property(
      fc.array(step, { maxLength: 40 }),
      fc.integer({ min: 1, max: 8 }),
      (steps, maxNonces) => {
        const guard = new ReplayGuard({ windowMs: 30_000, maxNonces });
        const taken = new Map<number, number>();
        let nowMs = T0;
        for (const { waitMs, nonce: id, offMs, again } of steps) {
          nowMs += waitMs;
          // A replay carries the timestamp it was recorded with.
          const stampMs = again ? (taken.get(id) ?? nowMs + offMs) : nowMs + offMs;
          const verdict = guard.check(nonce(id), stampMs, nowMs, 'n1');
          const isInside = Math.abs(nowMs - stampMs) <= 30_000;
          if ((verdict === 'outsideWindow') === isInside) return false;
          if (verdict === 'fresh' && taken.get(id) === stampMs) return false;
          if (verdict === 'fresh') taken.set(id, stampMs);
          if (guard.size > maxNonces) return false;
        }
        return true;
      },
    ),
    2000,
  );
});

/** 16 bytes that name `id`. */
function nonce(id: number): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt32BE(id, 12);
  return bytes;
}
