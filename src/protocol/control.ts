/**
 * Payloads of the control frames: reset and credit, which give streams over TCP what QUIC has by itself, and the frames by
 * which a connection goes away. SPEC.md, "Control frames".
 */
import { asBuffer } from '../base/buffers.js';
import { codeOfWire, MeshError, type MeshErrorCode, wireCodeOf } from '../errors.js';

/** The longest reason text that travels with a reset or a close, in bytes of UTF-8. */
export const MAX_REASON_BYTES = 256;

/** The content of a reset frame, or of a connection's close. */
export interface ResetFields {
  readonly code: MeshErrorCode;
  /** For people; cut to {@link MAX_REASON_BYTES}. */
  readonly reason: string;
}

/** A reason as UTF-8, cut at {@link MAX_REASON_BYTES} on a character boundary. */
export function encodeReason(reason: string): Buffer {
  const bytes = Buffer.from(reason, 'utf8');
  if (bytes.length <= MAX_REASON_BYTES) return bytes;
  let end = MAX_REASON_BYTES;
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return bytes.subarray(0, end);
}

/** Encodes a reset's payload: u32 code, then the reason. */
export function encodeReset(fields: ResetFields): Buffer {
  const code = Buffer.alloc(4);
  code.writeUInt32BE(wireCodeOf(fields.code));
  return Buffer.concat([code, encodeReason(fields.reason)]);
}

/**
 * Decodes a reset's payload. A code that this version does not know becomes `fallback`.
 * @throws MeshError ProtocolViolation when there is no code or the text is too long
 */
export function decodeReset(payload: Uint8Array, fallback: MeshErrorCode): ResetFields {
  if (payload.length < 4 || payload.length > 4 + MAX_REASON_BYTES) {
    throw new MeshError('ProtocolViolation', `reset payload of ${payload.length} bytes`);
  }
  const bytes = asBuffer(payload);
  return { code: codeOfWire(bytes.readUInt32BE(0)) ?? fallback, reason: bytes.toString('utf8', 4) };
}

/** Encodes a credit's payload: u32 increment in bytes. */
export function encodeCredit(incrementBytes: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(incrementBytes);
  return payload;
}

/**
 * Decodes a credit's payload.
 * @throws MeshError ProtocolViolation when it is not four bytes or grants nothing
 */
export function decodeCredit(payload: Uint8Array): number {
  if (payload.length !== 4) {
    throw new MeshError('ProtocolViolation', `credit payload of ${payload.length} bytes`);
  }
  const bytes = asBuffer(payload);
  const incrementBytes = bytes.readUInt32BE(0);
  if (incrementBytes === 0) throw new MeshError('ProtocolViolation', 'credit of zero bytes');
  return incrementBytes;
}

/**
 * Encodes the payload by which a side says that it opens no more streams: u64, the number that it has opened.
 * @param streams at most 2^53-1
 */
export function encodeGoAway(streams: number): Buffer {
  const payload = Buffer.alloc(8);
  payload.writeBigUInt64BE(BigInt(streams));
  return payload;
}

/** The payload by which a side then says that all streams have ended on its side. */
export function encodeAllOver(): Uint8Array {
  return new Uint8Array(0);
}

/**
 * Decodes the payload of an end frame on message id 0.
 * @returns how many streams the peer has opened; `undefined` where it says that all have ended
 * @throws MeshError ProtocolViolation when it is neither empty nor eight bytes, or a number above 2^53-1
 */
export function decodeGoAway(payload: Uint8Array): number | undefined {
  if (payload.length === 0) return undefined;
  if (payload.length !== 8) {
    throw new MeshError('ProtocolViolation', `end of the connection in ${payload.length} bytes`);
  }
  const bytes = asBuffer(payload);
  const streams = Number(bytes.readBigUInt64BE(0));
  if (Number.isSafeInteger(streams)) return streams;
  throw new MeshError('ProtocolViolation', 'number of streams above 2^53-1');
}
