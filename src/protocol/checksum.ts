/**
 * CRC-32 (ISO-HDLC, the one of zlib and Ethernet) as frames carry it: SPEC.md, "Checksum".
 *
 * Node has a native one since 20.15 and 22.2; `crc-32` gives the same result elsewhere.
 */
import * as zlib from 'node:zlib';
import CRC32 from 'crc-32';

type Crc32 = (bytes: Uint8Array) => number;

/** CRC-32 in plain JavaScript. Exported so that a test can hold the two against each other. */
export const crc32Portable: Crc32 = (bytes) => CRC32.buf(bytes) >>> 0;

const nativeCrc32 = (zlib as { crc32?: Crc32 }).crc32;

/** CRC-32 of `bytes` as an unsigned 32-bit number: zlib's where Node has it. */
export const crc32: Crc32 =
  nativeCrc32 === undefined ? crc32Portable : (bytes) => nativeCrc32(bytes);
