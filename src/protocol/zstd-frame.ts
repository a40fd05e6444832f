/**
 * Checks a Zstd frame before it is decompressed (RFC 8878, section 3.1), because the decompressor takes as much memory as
 * the frame asks for. Reads only the headers of the frame and its blocks.
 */
import { asBuffer } from '../base/buffers.js';
import { MeshError } from '../errors.js';

const MAGIC = 0xfd2f_b528;
/** The window size that RFC 8878, section 3.1.1.1.2, recommends every decoder to support. */
const MAX_WINDOW_BYTES = 8 * 1024 * 1024;
/** Block_Maximum_Size. No block is longer, compressed or not. */
const MAX_BLOCK_BYTES = 128 * 1024;
/** An empty block is three bytes: to walk over millions of them would block the event loop. */
const MIN_COUNTED_BYTES = 1024;
/** The raw bytes that one byte of the frame allows: as many as a byte of an LZ4 block can become. */
const PAID_RATIO = 255;

const BlockType = { raw: 0, rle: 1, compressed: 2 } as const;

/**
 * Checks that `frame` is one whole Zstd frame without a dictionary, that nothing follows it, and that it cannot become much
 * more than `rawBytes`.
 * @param maxBytes largest payload that either side sends
 * @throws MeshError MalformedMessage
 */
export function checkZstdFrame(frame: Uint8Array, rawBytes: number, maxBytes: number): void {
  const bytes = asBuffer(frame);
  const { blocksAt, hasChecksum } = readHeader(bytes, rawBytes);
  const mostBytes = allowedSum(bytes.length, rawBytes, maxBytes);
  const end = walkBlocks(bytes, blocksAt, mostBytes) + (hasChecksum ? 4 : 0);
  if (end > bytes.length) throw malformed('is cut short');
  if (end < bytes.length) throw malformed('has bytes behind it');
}

function readHeader(bytes: Buffer, rawBytes: number): { blocksAt: number; hasChecksum: boolean } {
  if (bytes.length < 6 || bytes.readUInt32LE(0) !== MAGIC) throw malformed('does not begin as one');
  const descriptor = bytes[4] as number;
  if ((descriptor & 0x08) !== 0) throw malformed('sets a reserved bit');
  if ((descriptor & 0x03) !== 0) throw malformed('needs a dictionary');
  const isSingleSegment = (descriptor & 0x20) !== 0;
  let at = 5;
  if (!isSingleSegment) {
    if (windowBytes(bytes[at] as number) > MAX_WINDOW_BYTES)
      throw malformed('has too large a window');
    at += 1;
  }
  const sizeFlag = descriptor >> 6;
  const sizeBytes = sizeFlag === 0 ? (isSingleSegment ? 1 : 0) : 1 << sizeFlag;
  if (at + sizeBytes > bytes.length) throw malformed('is cut short');
  if (sizeBytes > 0 && contentBytes(bytes, at, sizeBytes) !== rawBytes) {
    throw malformed('states another length than the payload');
  }
  return { blocksAt: at + sizeBytes, hasChecksum: (descriptor & 0x04) !== 0 };
}

/**
 * The bound for the blocks' sum, in which each compressed block counts as a full one. A good encoder cuts blocks where the
 * data changes, down to a hundred bytes (libzstd from level 16 on). So the sum of a sound frame can be many times its real
 * size, but such a frame pays for its blocks in bytes. A bomb does not.
 */
function allowedSum(frameBytes: number, rawBytes: number, maxBytes: number): number {
  const paidBytes = Math.min(frameBytes * PAID_RATIO, 2 * maxBytes);
  return Math.max(2 * rawBytes + MAX_BLOCK_BYTES, paidBytes);
}

/** Where the last block ends. The raw size of a compressed block is not known in advance: each counts as a full block. */
function walkBlocks(bytes: Buffer, blocksAt: number, mostBytes: number): number {
  let at = blocksAt;
  let sum = 0;
  for (let isLast = false; !isLast; ) {
    if (at + 3 > bytes.length) throw malformed('is cut short');
    const header = bytes.readUIntLE(at, 3);
    const type = (header >> 1) & 0x03;
    const size = header >> 3;
    isLast = (header & 1) === 1;
    if (type > BlockType.compressed || size > MAX_BLOCK_BYTES)
      throw malformed('has an impossible block');
    at += 3 + (type === BlockType.rle ? 1 : size);
    sum += type === BlockType.compressed ? MAX_BLOCK_BYTES : Math.max(size, MIN_COUNTED_BYTES);
    if (sum > mostBytes) throw malformed('can become more than it states');
  }
  return at;
}

function windowBytes(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >> 3));
  return base + (base / 8) * (descriptor & 0x07);
}

function contentBytes(bytes: Buffer, at: number, sizeBytes: number): number {
  if (sizeBytes === 8) return Number(bytes.readBigUInt64LE(at));
  const value = bytes.readUIntLE(at, sizeBytes);
  return sizeBytes === 2 ? value + 256 : value;
}

function malformed(problem: string): MeshError {
  return new MeshError('MalformedMessage', `Zstd frame ${problem}`);
}
