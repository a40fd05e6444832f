import test from 'ava';
import fc from 'fast-check';
import { crc32, crc32After, crc32Joined, crc32Portable } from '../../src/protocol/checksum.js';
import { byteStrings, holds } from './properties.js';

const KNOWN: readonly (readonly [string, number])[] = [
  ['', 0],
  ['a', 0xe8b7be43],
  ['123456789', 0xcbf43926],
  ['The quick brown fox jumps over the lazy dog', 0x414fa339],
];

for (const [text, expected] of KNOWN) {
  test(`the checksum of '${text}' is the published one`, (t) => {
    t.is(crc32(Buffer.from(text)), expected);
    t.is(crc32Portable(Buffer.from(text)), expected);
  });
}

test('the native and the portable checksum agree on any bytes', (t) => {
  holds(
    t,
    fc.property(byteStrings(4096), (bytes) => crc32(bytes) === crc32Portable(bytes)),
    500,
  );
});

test('both read a plain Uint8Array that starts within its buffer', (t) => {
  const view = new Uint8Array(Buffer.from('xx123456789yy')).subarray(2, 11);
  t.is(crc32(view), 0xcbf43926);
  t.is(crc32Portable(view), 0xcbf43926);
});

test('the checksums of two runs make that of both, and with that of both the second one', (t) => {
  holds(
    t,
    fc.property(byteStrings(5000), fc.nat(5000), (bytes, cut) => {
      const [a, b] = [bytes.subarray(0, cut), bytes.subarray(cut)];
      const whole = crc32Joined(crc32(a), crc32(b), b.length);
      if (whole !== crc32(bytes) || whole !== crc32After(crc32(a), b)) return false;
      return crc32Joined(crc32(a), whole, b.length) === crc32(b);
    }),
    200,
  );
  // Longer than a test can pass over: in two steps it is as in one.
  const [a, b, long] = [crc32(Buffer.from('a')), crc32(Buffer.from('b')), 3 * 2 ** 40 + 5];
  const inSteps = crc32Joined(crc32Joined(a, 0, 2 ** 41), b, 2 ** 40 + 5);
  t.is(crc32Joined(a, b, long), inSteps);
});
