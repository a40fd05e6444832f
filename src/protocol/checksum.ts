/**
 * CRC-32 (ISO-HDLC, as in zlib and Ethernet), the checksum of frames. SPEC.md, "Checksum".
 *
 * Node.js has a native one since 20.15 and 22.2. Elsewhere `crc-32` gives the same result.
 */
import * as zlib from 'node:zlib';
import { latePackage } from '../base/late-package.js';

type Crc32 = (bytes: Uint8Array, previous?: number) => number;

const portable = latePackage<typeof import('crc-32')>('crc-32');

/** CRC-32 in plain JavaScript. Exported so that a test can compare the two. */
export const crc32Portable: Crc32 = (bytes, previous = 0) => portable().buf(bytes, previous) >>> 0;

const nativeCrc32: Crc32 = (zlib as { crc32?: Crc32 }).crc32 ?? crc32Portable;

/** Up to this many bytes, tables in JavaScript are faster than the native call. */
const MAX_TABLES_BYTES = 192;

/** CRC-32 of `bytes` from `start` to before `end`, as an unsigned 32-bit number. */
export function crc32(bytes: Uint8Array, start = 0, end: number = bytes.length): number {
  if (end - start <= MAX_TABLES_BYTES) return crc32ByTables(bytes, start, end);
  return nativeCrc32(bytes.subarray(start, end));
}

/** CRC-32 of bytes that come in pieces. @param previous CRC-32 of the pieces before; 0 for the first one */
export function crc32After(previous: number, bytes: Uint8Array): number {
  return nativeCrc32(bytes, previous);
}

/**
 * CRC-32 of two runs of bytes in a row, from the CRC-32 of each and without reading the bytes again. Given the sum of both
 * in place of the second's, it gives the second's.
 */
export function crc32Joined(first: number, second: number, secondBytes: number): number {
  return (multiply(powerOfX(secondBytes), first) ^ second) >>> 0;
}

/**
 * The polynomial x^(8 * bytes), by which a CRC is multiplied when that many zero bytes follow. All polynomials are modulo
 * the CRC's own, with the highest power in the lowest bit.
 */
function powerOfX(bytes: number): number {
  let power = 1 << 31;
  for (let at = 3, rest = bytes; rest > 0; at += 1, rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) power = multiply(SQUARES[at & 31]!, power);
  }
  return power;
}

function multiply(a: number, b: number): number {
  let product = 0;
  let shifted = b;
  for (let bit = 31; bit >= 0; bit -= 1) {
    if ((a >>> bit) & 1) product ^= shifted;
    shifted = shifted & 1 ? (shifted >>> 1) ^ 0xedb8_8320 : shifted >>> 1;
  }
  return product;
}

/** The powers x^(2^n), until they repeat. */
const SQUARES = new Int32Array(32);
for (let n = 0, power = 1 << 30; n < 32; n += 1, power = multiply(power, power)) SQUARES[n] = power;

/** Four bytes at a time ("slicing by 4"). */
function crc32ByTables(bytes: Uint8Array, start: number, end: number): number {
  let sum = -1;
  let at = start;
  for (; at + 4 <= end; at += 4) {
    sum ^= bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    sum = T3[sum & 0xff]! ^ T2[(sum >>> 8) & 0xff]! ^ T1[(sum >>> 16) & 0xff]! ^ T0[sum >>> 24]!;
  }
  for (; at < end; at += 1) sum = T0[(sum ^ bytes[at]!) & 0xff]! ^ (sum >>> 8);
  return ~sum >>> 0;
}

/** The CRC of each single byte that is followed by no, one, two or three zero bytes. */
const T0 = Int32Array.from({ length: 256 }, (_, byte) => {
  let sum = byte;
  for (let bit = 0; bit < 8; bit += 1) sum = sum & 1 ? (sum >>> 1) ^ 0xedb8_8320 : sum >>> 1;
  return sum;
});
const T1 = T0.map(withZero);
const T2 = T1.map(withZero);
const T3 = T2.map(withZero);

function withZero(sum: number): number {
  return T0[sum & 0xff]! ^ (sum >>> 8);
}
