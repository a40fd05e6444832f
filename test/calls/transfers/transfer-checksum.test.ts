/** The running checksum of a transfer: held against the whole, and what it knows of positions before. */
import { randomInt } from 'node:crypto';
import test from 'ava';
import { Random } from '../../../scripts/fuzz/random.js';
import {
  crc32,
  MAX_CHECKPOINTS,
  TransferChecksum,
} from '../../../src/calls/transfers/transfer-checksum.js';
import { crc32After, crc32Portable } from '../../../src/protocol/checksum.js';

test('pieces give the checksum of the whole, by either implementation', (t) => {
  const seed = randomInt(2 ** 32);
  t.log(`seed ${seed}`);
  const random = new Random(seed);
  for (let round = 0; round < 200; round += 1) {
    const whole = Uint8Array.from({ length: random.below(5000) }, () => random.below(256));
    const sum = new TransferChecksum(0, 0, true);
    let portable = 0;
    for (let at = 0; at < whole.length; ) {
      const piece = whole.subarray(at, at + random.below(1500));
      sum.update(piece);
      portable = crc32Portable(piece, portable);
      at += piece.length;
      t.is(sum.at(at), crc32(whole.subarray(0, at)));
    }
    t.is(sum.offset, whole.length);
    t.is(sum.value, crc32Portable(whole));
    t.is(sum.value, portable);
    t.is(sum.value, crc32After(0, whole));
  }
  t.is(crc32(Buffer.from('6789'), crc32(Buffer.from('12345'))), 0xcbf4_3926);
});

test('what came before is unknown until somebody tells', (t) => {
  const sum = new TransferChecksum(5, undefined, true);
  sum.update(Buffer.from('6789'));
  t.is(sum.offset, 9);
  t.is(sum.value, undefined);
  t.is(sum.at(9), undefined);
  t.is(sum.at(0), 0);
  const told = new TransferChecksum(5, crc32(Buffer.from('12345')), true);
  told.update(Buffer.from('6789'));
  t.is(told.value, 0xcbf4_3926);
  t.is(told.at(5), crc32(Buffer.from('12345')));
  t.is(told.at(7), undefined);
});

test('it goes on from a position that it knows, and forgets what it knew of those behind', (t) => {
  const sum = new TransferChecksum(0, 0, true);
  for (const piece of ['1234', '5xx', 'yy']) sum.update(Buffer.from(piece));
  const known = sum.at(4);
  t.is(known, crc32(Buffer.from('1234')));
  sum.restart(4, known);
  t.is(sum.at(7), undefined);
  sum.update(Buffer.from('56789'));
  t.is(sum.value, 0xcbf4_3926);
  t.is(sum.at(4), known);
  sum.restart(0, undefined);
  t.is(sum.value, 0);
  t.is(sum.at(4), undefined);
});

test('it keeps the last checkpoints and no more, in a ring that survives going on from within it', (t) => {
  const sum = new TransferChecksum(0, 0, true);
  const piece = Buffer.from('ab');
  const extra = 100;
  const sums = [0];
  for (let i = 1; i <= MAX_CHECKPOINTS + extra; i += 1) {
    sum.update(piece);
    sums.push(sum.value as number);
  }
  t.is(sum.at(2 * extra), undefined);
  for (let i = extra + 1; i < sums.length; i += 97) t.is(sum.at(2 * i), sums[i]);
  const middle = extra + MAX_CHECKPOINTS / 2;
  sum.restart(2 * middle, sum.at(2 * middle));
  for (let i = middle + 1; i < sums.length + 10; i += 1) sum.update(piece);
  // Ten more than before, so ten of the first are gone.
  t.is(sum.at(2 * (extra + 10)), undefined);
  for (let i = extra + 11; i < sums.length; i += 97) t.is(sum.at(2 * i), sums[i]);
  const plain = new TransferChecksum(0, 0);
  plain.update(piece);
  plain.update(piece);
  t.is(plain.at(2), undefined);
  t.is(plain.at(4), plain.value);
});

test('what is no CRC-32 is refused', (t) => {
  for (const value of [-1, 2 ** 32, 0.5, Number.NaN]) {
    t.throws(() => crc32(Buffer.from('a'), value), { code: 'InvalidArgument' });
  }
});
