import test from 'ava';
import { asBuffer, compact, pushMerged } from '../../src/base/buffers.js';

test('bytes become a Buffer over the same memory, and a Buffer stays itself', (t) => {
  const memory = Uint8Array.from([1, 2, 3, 4]);
  const buffer = asBuffer(memory.subarray(1, 3));
  t.true(Buffer.isBuffer(buffer));
  t.deepEqual([...buffer], [2, 3]);
  memory[1] = 7;
  t.is(buffer[0], 7);
  t.is(asBuffer(buffer), buffer);
});

test('bytes that are kept are copied unless they are most of their memory', (t) => {
  const memory = new Uint8Array(64 * 1024).fill(7);
  const few = compact(memory.subarray(5, 15));
  t.deepEqual(
    [...few],
    Array.from({ length: 10 }, () => 7),
  );
  t.not(few.buffer, memory.buffer);
  const most = memory.subarray(0, 32 * 1024);
  t.is(compact(most), most);
});

test('bytes that come one by one are few pieces, each of them copied seldom', (t) => {
  const pieces: Uint8Array[] = [];
  const total = 100_000;
  for (let n = 0; n < total; n += 1) {
    pushMerged(pieces, Uint8Array.of(n), 1024);
    if (pieces.length > n / 512 + 12) t.fail(`${pieces.length} pieces after ${n + 1} bytes`);
  }
  const whole = Buffer.concat(pieces);
  t.is(whole.length, total);
  t.true(whole.every((byte, at) => byte === at % 256));
  for (const { length } of pieces) t.true(length <= 1024);
});

test('a large piece is kept as it is, and so is what is over the size of merged ones', (t) => {
  const pieces: Uint8Array[] = [];
  const large = new Uint8Array(2048);
  pushMerged(pieces, large, 1024);
  pushMerged(pieces, Uint8Array.of(1), 1024);
  pushMerged(pieces, large, 1024);
  t.deepEqual(
    pieces.map(({ length }) => length),
    [2048, 1, 2048],
  );
  t.is(pieces[0], large);
  t.is(pieces[2], large);
});
