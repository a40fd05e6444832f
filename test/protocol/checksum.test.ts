import test from 'ava';
import fc from 'fast-check';
import { crc32, crc32Portable } from '../../src/protocol/checksum.js';
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
