/**
 * Slow and obvious readings of frames and CBOR, written from SPEC.md and not from the code, to hold the code
 * against.
 */
import { crc32Portable } from '../../src/protocol/checksum.js';

/** What a run of bytes turned into: the frames before the end or the first error. */
export interface Outcome {
  readonly frames: readonly NaiveFrame[];
  readonly error: string | undefined;
}

export interface NaiveFrame {
  readonly flags: number;
  readonly messageId: number;
  readonly payload: string;
}

/** Reads all frames of `bytes` at once. */
export function readFrames(
  bytes: Buffer,
  limits: { maxPayloadBytes: number; requireChecksum: boolean },
): Outcome {
  const frames: NaiveFrame[] = [];
  let at = 0;
  while (bytes.length - at >= 14) {
    const length = bytes.readUInt32BE(at);
    const flags = bytes.readUInt16BE(at + 4);
    const id = bytes.readBigUInt64BE(at + 6);
    const bit = (n: number) => (flags >> n) % 2 === 1;
    const compression = (flags >> 4) % 8;
    const payloadBytes = bit(7) ? length - 4 : length;
    const controls = [bit(8), bit(9), bit(10)].filter(Boolean).length;
    const fail = (error: string): Outcome => ({ frames, error });
    if (flags % 16 !== 1) return fail('VersionUnsupported');
    if (flags >= 0x800) return fail('ProtocolViolation');
    if (compression > 2) return fail('UnsupportedCompression');
    if (limits.requireChecksum && !bit(7)) return fail('ProtocolViolation');
    if (controls > 1) return fail('ProtocolViolation');
    if (compression > 0 && (bit(9) || bit(10))) return fail('ProtocolViolation');
    if (payloadBytes < 0) return fail('ProtocolViolation');
    if (payloadBytes > limits.maxPayloadBytes) return fail('FrameTooLarge');
    if (payloadBytes === 0 && controls === 0) return fail('ProtocolViolation');
    if (id > 2n ** 53n - 1n) return fail('ProtocolViolation');
    if (bytes.length - at - 14 < length) break;
    const covered = bytes.subarray(at, at + 14 + payloadBytes);
    if (bit(7) && crc32Portable(covered) !== bytes.readUInt32BE(at + 14 + payloadBytes)) {
      return fail('ChecksumMismatch');
    }
    frames.push({
      flags,
      messageId: Number(id),
      payload: covered.subarray(14).toString('hex'),
    });
    at += 14 + length;
  }
  return { frames, error: undefined };
}

/** A CBOR float, kept apart from integers. */
export class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

/** Reads one CBOR item of definite lengths; integers as bigint, maps as lists of pairs. */
export function readCbor(bytes: Buffer): unknown {
  let at = 0;
  const take = (count: number): Buffer => {
    if (at + count > bytes.length) throw new Error('cut short');
    at += count;
    return bytes.subarray(at - count, at);
  };
  const item = (): unknown => {
    const initial = take(1).readUInt8();
    const major = initial >> 5;
    const info = initial & 31;
    if (info > 27) throw new Error('not a definite length');
    const tail = info < 24 ? Buffer.of(info) : take(2 ** (info - 24));
    const argument = BigInt(`0x${tail.toString('hex')}`);
    const count = Number(argument);
    switch (major) {
      case 0:
        return argument;
      case 1:
        return -1n - argument;
      case 2:
        return take(count);
      case 3:
        return take(count).toString('utf8');
      case 4:
        return Array.from({ length: count }, item);
      case 5:
        return new Map(Array.from({ length: count }, () => [item(), item()]));
      case 7:
        if (info === 20 || info === 21) return info === 21;
        if (info === 22) return null;
        if (info === 23) return undefined;
        if (info === 25) return new Float(halfOf(tail.readUInt16BE()));
        if (info === 26) return new Float(tail.readFloatBE());
        if (info === 27) return new Float(tail.readDoubleBE());
    }
    throw new Error(`major type ${major}, info ${info}`);
  };
  const value = item();
  if (at !== bytes.length) throw new Error('bytes left over');
  return value;
}

/** A half-precision float (RFC 8949, appendix D). */
function halfOf(bits: number): number {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  const sign = bits & 0x8000 ? -1 : 1;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (fraction + 1024) * 2 ** (exponent - 25);
}
