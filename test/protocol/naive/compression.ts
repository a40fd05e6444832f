/** Compressed payloads, from SPEC.md, "Compression", and the descriptions of the formats. Only Zstd's own work is left to a library. */
import zstd from '@mongodb-js/zstd';
import { malformed, Refusal } from './refusal.js';

/** The raw payload of a compressed one. @throws Refusal MalformedMessage, MessageTooLarge */
export async function unpack(
  payload: Buffer,
  compression: number,
  maxMessageBytes: number,
): Promise<Buffer> {
  if (payload.length <= 4) throw malformed('four bytes or fewer');
  const rawBytes = payload.readUInt32BE(0);
  const data = payload.subarray(4);
  if (rawBytes > maxMessageBytes) throw new Refusal('MessageTooLarge', 'over the limit');
  if (compression === 1) {
    if (rawBytes > 255 * data.length) throw malformed('too short for what it states');
    return exactly(unpackLz4(data), rawBytes);
  }
  checkZstd(data, rawBytes, maxMessageBytes);
  const raw = await zstd.decompress(data).catch(() => {
    throw malformed('the library refuses it');
  });
  return exactly(raw, rawBytes);
}

/** An LZ4 block: sequences of a token, literals, and a copy of earlier output; the last has no copy. */
export function unpackLz4(block: Buffer): Buffer {
  const out: number[] = [];
  let at = 0;
  const next = (): number => {
    const byte = block[at];
    if (byte === undefined) throw malformed('block is cut short');
    at += 1;
    return byte;
  };
  const lengthFrom = (nibble: number): number => {
    let length = nibble;
    for (let more = nibble === 15; more; ) {
      const byte = next();
      length += byte;
      more = byte === 255;
    }
    return length;
  };
  for (;;) {
    const token = next();
    for (let literals = lengthFrom(token >> 4); literals > 0; literals -= 1) out.push(next());
    if (at === block.length) return Buffer.from(out);
    const offset = next() + 256 * next();
    if (offset === 0 || offset > out.length) throw malformed('copy from nowhere');
    for (let left = lengthFrom(token & 15) + 4; left > 0; left -= 1) {
      out.push(out[out.length - offset] as number);
    }
  }
}

/** A Zstd frame's headers (RFC 8878, section 3.1.1). @throws Refusal MalformedMessage */
export function checkZstd(frame: Buffer, rawBytes: number, maxMessageBytes: number): void {
  let rest = frame;
  const take = (count: number): number => {
    if (count > rest.length) throw malformed('frame is cut short');
    const value = count === 0 ? 0n : BigInt(`0x${reversed(rest.subarray(0, count))}`);
    rest = rest.subarray(count);
    return Number(value);
  };
  if (take(4) !== 0xfd2fb528) throw malformed('another magic number');
  const descriptor = take(1);
  const singleSegment = (descriptor & 32) > 0;
  if ((descriptor & 8) > 0) throw malformed('reserved bit');
  if ((descriptor & 3) > 0) throw malformed('dictionary');
  if (!singleSegment) {
    const window = take(1);
    const base = 2 ** (10 + Math.floor(window / 8));
    if (base + (base / 8) * (window % 8) > 8 * 1024 * 1024) throw malformed('window');
  }
  const sizeBytes = [singleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6] as number;
  const stated = take(sizeBytes) + (sizeBytes === 2 ? 256 : 0);
  if (sizeBytes > 0 && stated !== rawBytes) throw malformed('another content size');

  let sum = 0;
  for (let last = false; !last; ) {
    const header = take(3);
    const size = header >> 3;
    const type = ['raw', 'rle', 'compressed', 'reserved'][(header >> 1) & 3];
    last = header % 2 === 1;
    if (type === 'reserved' || size > 128 * 1024) throw malformed('block');
    sum += type === 'compressed' ? 128 * 1024 : Math.max(size, 1024);
    const stored = type === 'rle' ? 1 : size;
    if (stored > rest.length) throw malformed('block is cut short');
    rest = rest.subarray(stored);
  }
  const paid = Math.min(255 * frame.length, 2 * maxMessageBytes);
  if (sum > Math.max(2 * rawBytes + 128 * 1024, paid)) throw malformed('can become too much');
  if (rest.length !== ((descriptor & 4) > 0 ? 4 : 0)) throw malformed('ends elsewhere');
}

function reversed(bytes: Buffer): string {
  return Buffer.from(bytes).reverse().toString('hex');
}

function exactly(raw: Buffer, rawBytes: number): Buffer {
  if (raw.length !== rawBytes) throw malformed('another length than stated');
  return raw;
}
