/** Frames, slow and obvious: written from SPEC.md, "Frame" and "Checksum", and not from the code. */

/** What a run of bytes turned into: the frames before the end or the first error. */
export interface Outcome {
  readonly frames: readonly NaiveFrame[];
  readonly error: string | undefined;
}

export interface NaiveFrame {
  readonly flags: number;
  readonly messageId: number;
  /** In hex. */
  readonly payload: string;
}

/** Reads all frames of `bytes` at once. */
export function readFrames(
  bytes: Buffer,
  limits: { maxPayloadBytes: number; requireChecksum: boolean; compressions?: readonly number[] },
): Outcome {
  const frames: NaiveFrame[] = [];
  const compressions = limits.compressions ?? [0, 1, 2];
  let at = 0;
  while (bytes.length - at >= 14) {
    const length = bytes.readUInt32BE(at);
    const flags = bytes.readUInt16BE(at + 4);
    const id = bytes.readBigUInt64BE(at + 6);
    const bit = (n: number) => (flags >> n) % 2 === 1;
    const compression = (flags >> 4) % 8;
    const payloadBytes = bit(7) ? length - 4 : length;
    const controls = [bit(8), bit(9), bit(10)].filter(Boolean).length;
    const more = bit(11) ? 1 : 0;
    const fail = (error: string): Outcome => ({ frames, error });
    if (flags % 16 !== 1) return fail('VersionUnsupported');
    if (flags >= 0x1000) return fail('ProtocolViolation');
    if (!compressions.includes(compression)) return fail('UnsupportedCompression');
    if ((limits.requireChecksum || bit(9) || bit(10)) && !bit(7)) return fail('ProtocolViolation');
    if (controls + more > 1) return fail('ProtocolViolation');
    if (compression > 0 && (bit(9) || bit(10))) return fail('ProtocolViolation');
    if (payloadBytes < 0) return fail('ProtocolViolation');
    if (payloadBytes > limits.maxPayloadBytes) return fail('FrameTooLarge');
    if (payloadBytes === 0 && (controls === 0 || compression > 0)) return fail('ProtocolViolation');
    if (id > 2n ** 53n - 1n) return fail('ProtocolViolation');
    if (id === 0n && (controls === 0 || compression > 0)) return fail('ProtocolViolation');
    if (bytes.length - at - 14 < length) break;
    const covered = bytes.subarray(at, at + 14 + payloadBytes);
    if (bit(7) && crc32(covered) !== bytes.readUInt32BE(at + 14 + payloadBytes)) {
      return fail('ChecksumMismatch');
    }
    frames.push({ flags, messageId: Number(id), payload: covered.subarray(14).toString('hex') });
    at += 14 + length;
  }
  return { frames, error: undefined };
}

/** One frame. Nothing is checked: tests want wrong ones, too. */
export function writeFrame(flags: number, messageId: number | bigint, payload: Uint8Array): Buffer {
  const hasChecksum = (flags & 0x80) !== 0;
  const header = Buffer.alloc(14);
  header.writeUInt32BE(payload.length + (hasChecksum ? 4 : 0), 0);
  header.writeUInt16BE(flags, 4);
  header.writeBigUInt64BE(BigInt(messageId), 6);
  const covered = Buffer.concat([header, payload]);
  return hasChecksum ? Buffer.concat([covered, uint32(crc32(covered))]) : covered;
}

/** CRC-32/ISO-HDLC, a bit at a time. */
export function crc32(bytes: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc % 2 === 0 ? 0 : 0xedb8_8320);
  }
  return (crc ^ 0xffff_ffff) >>> 0;
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
