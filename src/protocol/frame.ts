/**
 * The frame: 14 bytes of header, a payload, an optional checksum. SPEC.md, "Frame".
 *
 * ```
 * +---------+---------+------------+---------+----------+
 * | length  | flags   | message id | payload | checksum |
 * | u32     | u16     | u64        | N bytes | u32      |   big-endian
 * +---------+---------+------------+---------+----------+
 * ```
 *
 * `length` counts what follows the header. The checksum covers header and payload.
 */
import { asBuffer, NO_BYTES, pushMerged } from '../base/buffers.js';
import { MeshError, toMeshError } from '../errors.js';
import { crc32, crc32After, crc32Joined } from './checksum.js';

/** The version of the wire protocol that this code speaks. */
export const WIRE_VERSION = 1;
/** Size of the header of every frame. */
export const HEADER_BYTES = 14;
/** Size of the checksum, where a frame has one. */
export const CHECKSUM_BYTES = 4;
/** The largest payload of a frame by default, until a handshake agrees on another. */
export const DEFAULT_MAX_PAYLOAD_BYTES = 16 * 1024 * 1024;

/** Bits of the `flags` field. The set is closed: any other bit is a ProtocolViolation. */
export const FrameFlag = {
  /** Bits 0-3: protocol version. */
  versionMask: 0x000f,
  /** Bits 4-6: compression of the payload. */
  compressionMask: 0x0070,
  compressionShift: 4,
  /** Bit 7: four bytes of CRC-32 follow the payload. */
  checksum: 0x0080,
  /** Bit 8: the sender sends nothing more for this message id. Id 0: it goes away. Payload on id 0: u64, or none. */
  end: 0x0100,
  /** Bit 9: both directions of this message id are abandoned; id 0: the connection is. Payload: u32 code, UTF-8 text. */
  reset: 0x0200,
  /** Bit 10, TCP only: the receiver grants more bytes for this message id; id 0: for the connection. Payload: u32 increment. */
  credit: 0x0400,
  /** Bit 11, TCP only: the payload goes on in the next frame of this message id. */
  more: 0x0800,
} as const;

/** A frame has at most one of these. */
const CONTROL_MASK = FrameFlag.end | FrameFlag.reset | FrameFlag.credit;

const KNOWN_FLAGS =
  FrameFlag.versionMask |
  FrameFlag.compressionMask |
  FrameFlag.checksum |
  CONTROL_MASK |
  FrameFlag.more;

/** Compression of one payload, as bits 4-6 say it. */
export const Compression = { none: 0, lz4: 1, zstd: 2 } as const;
export type Compression = (typeof Compression)[keyof typeof Compression];

const ALL_COMPRESSIONS: readonly Compression[] = Object.values(Compression);

/** One frame, decoded. */
export interface Frame {
  /** The whole flags field as it came. */
  readonly flags: number;
  readonly compression: Compression;
  /** 0 is the connection itself. Requests count from 1, up to 2^53 - 1. */
  readonly messageId: number;
  /** Owned by whoever receives the frame. It may share memory with its neighbours, so never write to it. */
  readonly payload: Uint8Array;
  /** CRC-32 of the payload, if the payload is large and the frame had a checksum. */
  readonly payloadChecksum: number | undefined;
  /** What `payload` lies in, where that can be used again. */
  readonly loan?: FrameLoan | undefined;
}

/** Memory that one frame at a time lies in. Who does not give it back leaves it to the garbage collector. */
export interface FrameLoan {
  readonly bytes: Buffer;
  /** Nobody reads the frame any more, nor anything that shares its memory. Does nothing when called again. */
  giveBack(): void;
}

/** The input of {@link encodeFrame}. */
export interface FrameFields {
  /** Any of `end`, `reset`, `credit`, `more`; 0 for a plain frame. */
  readonly control?: number;
  readonly compression?: Compression;
  readonly messageId: number;
  readonly payload: Uint8Array;
  /** The payload's rest, where it comes in two pieces. */
  readonly tail?: Uint8Array | undefined;
  /** CRC-32 of `tail`, if it is known: the bytes are then not read again. */
  readonly tailChecksum?: number | undefined;
  readonly checksum: boolean;
}

/** Size of the frame that {@link encodeFrame} makes. */
export function frameBytes({ payload, tail, checksum }: FrameFields): number {
  const payloadBytes = payload.length + (tail === undefined ? 0 : tail.length);
  return HEADER_BYTES + payloadBytes + (checksum ? CHECKSUM_BYTES : 0);
}

/**
 * Encodes one frame, in memory of its own.
 * @param memory to write to instead: at least {@link frameBytes} long, and shared with the result
 * @throws MeshError InvalidArgument when the message id is not a safe integer
 */
export function encodeFrame(fields: FrameFields, memory?: Buffer): Buffer {
  const totalBytes = frameBytes(fields);
  const out =
    memory === undefined ? Buffer.allocUnsafe(totalBytes) : memory.subarray(0, totalBytes);
  writeFrame(fields, out, 0);
  return out;
}

/**
 * Writes one frame from `start` on, where `out` has room for {@link frameBytes}.
 * @throws MeshError InvalidArgument when the message id is not a safe integer
 */
export function writeFrame(fields: FrameFields, out: Buffer, start: number): void {
  const { messageId, payload, tail, tailChecksum, checksum } = fields;
  if (!Number.isSafeInteger(messageId) || messageId < 0) {
    throw new MeshError(
      'InvalidArgument',
      `message id ${messageId} is not an integer from 0 to 2^53-1`,
    );
  }
  const flags =
    WIRE_VERSION |
    ((fields.compression ?? Compression.none) << FrameFlag.compressionShift) |
    (checksum ? FrameFlag.checksum : 0) |
    (fields.control ?? 0);
  out.writeUInt32BE(frameBytes(fields) - HEADER_BYTES, start);
  out.writeUInt16BE(flags, start + 4);
  out.writeUInt32BE(Math.floor(messageId / 0x1_0000_0000), start + 6);
  out.writeUInt32BE(messageId >>> 0, start + 10);
  let end = start + HEADER_BYTES;
  out.set(payload, end);
  end += payload.length;
  if (tail === undefined) {
    if (checksum) out.writeUInt32BE(crc32(out, start, end), end);
    return;
  }
  const tailStart = end;
  out.set(tail, tailStart);
  end += tail.length;
  if (!checksum) return;
  const sum =
    tailChecksum === undefined
      ? crc32(out, start, end)
      : crc32Joined(crc32(out, start, tailStart), tailChecksum, tail.length);
  out.writeUInt32BE(sum, end);
}

/** From this size on, a payload's own checksum is worth the cost of combining it with the rest. */
const LARGE_PAYLOAD_BYTES = 16 * 1024;

/** The limits of one decoder. */
export interface FrameDecoderOptions {
  /** Larger payloads are refused before a byte of them is kept. Default 16 MiB. */
  readonly maxPayloadBytes?: number;
  /** Whether every frame must have a checksum, and not only reset and credit frames. Default true. */
  readonly requireChecksum?: boolean;
  /** The compressions that were agreed. Default: all of wire version 1. */
  readonly compressions?: readonly Compression[];
  /** Where a large frame that comes in parts may get its memory. It gives at least so much, or nothing. Default: new memory. */
  readonly memory?: { lend(frameBytes: number): FrameLoan | undefined } | undefined;
}

/**
 * Turns a stream of bytes, cut anywhere, into frames.
 *
 * Usage: `push(chunk)`, then `next()` until it returns `undefined`. `push` hands the chunk's memory over. A frame
 * that lies within one chunk is a slice of it, not a copy. The decoder never keeps more than the received bytes
 * of one frame and the current chunk, so a header that claims 16 MiB costs nothing until the bytes come. After a
 * throw the decoder is dead, and throws the same error again.
 */
export class FrameDecoder {
  maxPayloadBytes: number;
  requireChecksum: boolean;
  compressions: readonly Compression[];
  #chunk: Buffer = NO_BYTES;
  #offset = 0;
  /** Earlier chunks of an incomplete frame; `#chunk` follows them. */
  #parts: Buffer[] = [];
  #partsBytes = 0;
  /** Memory of the frame at the front alone, see {@link room}, and how much of it is filled. What follows is in `#chunk`. */
  #own: Buffer | undefined;
  #ownBytes = 0;
  #loan: FrameLoan | undefined;
  #wasLarge = false;
  readonly #memory: FrameDecoderOptions['memory'];
  /** Bytes that the frame at the front needs before it can be looked at again. */
  #neededBytes = HEADER_BYTES;
  #failure: MeshError | undefined;

  constructor(options: FrameDecoderOptions = {}) {
    this.maxPayloadBytes = options.maxPayloadBytes ?? DEFAULT_MAX_PAYLOAD_BYTES;
    this.requireChecksum = options.requireChecksum ?? true;
    this.compressions = options.compressions ?? ALL_COMPRESSIONS;
    this.#memory = options.memory;
  }

  /** Bytes received of an incomplete frame. */
  get bufferedBytes(): number {
    return this.#partsBytes + this.#ownBytes + this.#chunk.length - this.#offset;
  }

  /**
   * Memory for exactly what is missing of a large frame, once a 32nd of it is here: `undefined` until then. Whoever reads
   * bytes into its front, in place of a push, says how many by {@link filled}, and calls `next()` as after a push. So a frame that
   * comes in parts is put together without copies, in memory that nothing else shares.
   */
  room(): Buffer | undefined {
    if (this.#own === undefined) {
      const frameBytes = this.#neededBytes;
      const isDue = frameBytes >= LARGE_FRAME_BYTES && this.bufferedBytes * MAX_CLAIM >= frameBytes;
      if (!isDue || this.#failure !== undefined) return undefined;
      this.#parts.push(this.#chunk.subarray(this.#offset));
      this.#ownBytes = this.bufferedBytes;
      this.#loan = this.#memory?.lend(frameBytes);
      const memory = this.#loan?.bytes.subarray(0, frameBytes);
      this.#own = joinedIn(memory ?? Buffer.allocUnsafeSlow(frameBytes), this.#parts);
      this.#forgetParts();
      this.#chunk = NO_BYTES;
    }
    return this.#own.subarray(this.#ownBytes);
  }

  /** Whether the frame before was such a one, and the next one has yet to show its size. */
  get expectsLarge(): boolean {
    return this.#wasLarge && this.#neededBytes === HEADER_BYTES;
  }

  /** So many bytes of the stream are at the front of the memory that {@link room} gave last. */
  filled(bytes: number): void {
    this.#ownBytes += bytes;
  }

  /** Takes the next bytes of the stream, and their memory. Call `next()` until it returns `undefined` before the next push. */
  push(chunk: Uint8Array): void {
    if (this.#failure !== undefined) return;
    if (this.#offset < this.#chunk.length) this.#keep(this.#chunk.subarray(this.#offset));
    this.#chunk = asBuffer(chunk);
    this.#offset = this.#own === undefined ? 0 : this.#fill(this.#own, this.#chunk);
  }

  /**
   * The next whole frame, or `undefined` until more bytes are pushed.
   * @throws MeshError VersionUnsupported, ProtocolViolation (unknown bits, contradictory control bits, a length
   *   that cannot be, an id over 2^53-1, a message on id 0), FrameTooLarge, UnsupportedCompression, ChecksumMismatch
   */
  next(): Frame | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.bufferedBytes < this.#neededBytes) return undefined;
    if (this.#parts.length > 0) this.#join();
    try {
      return this.#own === undefined ? this.#decodeNext() : this.#decodeOwn(this.#own);
    } catch (thrown) {
      this.#failure = toMeshError(thrown);
      this.#chunk = NO_BYTES;
      this.#offset = 0;
      this.#forgetOwn();
      throw thrown;
    }
  }

  #decodeNext(): Frame | undefined {
    const start = this.#offset;
    const frame = this.#decode(this.#chunk, start);
    if (frame === undefined) return undefined;
    this.#wasLarge = false;
    this.#offset = start + this.#neededBytes;
    this.#neededBytes = HEADER_BYTES;
    return frame;
  }

  #decodeOwn(bytes: Buffer): Frame | undefined {
    const frame = this.#decode(bytes, 0, this.#loan);
    this.#forgetOwn();
    this.#wasLarge = true;
    this.#neededBytes = HEADER_BYTES;
    return frame;
  }

  /** @returns `undefined` where the header is whole and the frame is not */
  #decode(bytes: Buffer, start: number, loan?: FrameLoan): Frame | undefined {
    const bodyBytes = bytes.readUInt32BE(start);
    const flags = bytes.readUInt16BE(start + 4);
    const idHigh = bytes.readUInt32BE(start + 6);
    // The header is checked as soon as it is complete: a false length must not make this side wait for its bytes.
    if (this.#neededBytes === HEADER_BYTES) {
      checkHeader(flags, bodyBytes, this);
      checkMessageId(flags, idHigh, bytes.readUInt32BE(start + 10));
      this.#neededBytes = HEADER_BYTES + bodyBytes;
      if (bytes.length - start < this.#neededBytes) return undefined;
    }
    const messageId = idHigh * 0x1_0000_0000 + bytes.readUInt32BE(start + 10);
    let end = start + HEADER_BYTES + bodyBytes;
    let payloadChecksum: number | undefined;
    if ((flags & FrameFlag.checksum) !== 0) {
      end -= CHECKSUM_BYTES;
      const stated = bytes.readUInt32BE(end);
      let sum: number;
      const payloadBytes = end - start - HEADER_BYTES;
      if (payloadBytes < LARGE_PAYLOAD_BYTES) {
        sum = crc32(bytes, start, end);
      } else {
        payloadChecksum = crc32After(0, bytes.subarray(start + HEADER_BYTES, end));
        sum = crc32Joined(crc32(bytes, start, start + HEADER_BYTES), payloadChecksum, payloadBytes);
      }
      if (sum !== stated) {
        throw new MeshError(
          'ChecksumMismatch',
          `frame of message ${messageId} does not match its checksum`,
        );
      }
    }
    return {
      flags,
      compression: compressionOf(flags),
      messageId,
      payload: bytes.subarray(start + HEADER_BYTES, end),
      payloadChecksum,
      loan,
    };
  }

  /** Puts the rest of a chunk aside. */
  #keep(rest: Buffer): void {
    this.#partsBytes += rest.length;
    pushMerged(this.#parts, rest, MERGED_PART_BYTES);
  }

  #join(): void {
    this.#parts.push(this.#chunk.subarray(this.#offset));
    this.#chunk = Buffer.concat(this.#parts);
    this.#forgetParts();
  }

  #forgetParts(): void {
    this.#offset = 0;
    this.#parts = [];
    this.#partsBytes = 0;
  }

  /** Copies what is missing of the frame, as far as it is here. @returns how many bytes that was */
  #fill(own: Buffer, chunk: Buffer): number {
    const bytes = chunk.copy(own, this.#ownBytes);
    this.#ownBytes += bytes;
    return bytes;
  }

  #forgetOwn(): void {
    this.#own = undefined;
    this.#loan = undefined;
    this.#ownBytes = 0;
  }
}

/** Puts the parts one behind the other. @returns `memory` */
function joinedIn(memory: Buffer, parts: readonly Uint8Array[]): Buffer {
  let end = 0;
  for (const part of parts) {
    memory.set(part, end);
    end += part.length;
  }
  return memory;
}

/** From this size on, a frame that comes in parts gets memory of its own. */
const LARGE_FRAME_BYTES = 16 * 1024;
/** How many times the bytes that are here such memory may be. A header alone claims none. */
const MAX_CLAIM = 32;

/** Upper half of 2^53-1. */
const MAX_ID_HIGH = 0x1f_ffff;
/** Parts are merged up to this size. Beyond it, copying would cost more than it saves. */
const MERGED_PART_BYTES = 16 * 1024;

function checkHeader(
  flags: number,
  bodyBytes: number,
  { maxPayloadBytes, requireChecksum, compressions }: Required<Omit<FrameDecoderOptions, 'memory'>>,
): void {
  const version = flags & FrameFlag.versionMask;
  if (version !== WIRE_VERSION) {
    throw new MeshError(
      'VersionUnsupported',
      `frame of wire version ${version}, this side speaks ${WIRE_VERSION}`,
    );
  }
  if ((flags & ~KNOWN_FLAGS) !== 0) {
    throw new MeshError(
      'ProtocolViolation',
      `frame sets reserved flag bits 0x${(flags & ~KNOWN_FLAGS).toString(16)}`,
    );
  }
  if (!compressions.includes(compressionOf(flags))) {
    throw new MeshError('UnsupportedCompression', 'frame has a compression that was not agreed');
  }
  const hasChecksum = (flags & FrameFlag.checksum) !== 0;
  // Where no checksums are agreed, reset and credit frames still carry one.
  if (!hasChecksum && (requireChecksum || (flags & (FrameFlag.reset | FrameFlag.credit)) !== 0)) {
    throw new MeshError('ProtocolViolation', 'frame without the checksum that it has to carry');
  }
  checkControl(flags);
  const payloadBytes = bodyBytes - (hasChecksum ? CHECKSUM_BYTES : 0);
  if (payloadBytes < 0) {
    throw new MeshError(
      'ProtocolViolation',
      `frame of ${bodyBytes} bytes has no room for its checksum`,
    );
  }
  if (payloadBytes > maxPayloadBytes) {
    throw new MeshError(
      'FrameTooLarge',
      `payload of ${payloadBytes} bytes is over the limit of ${maxPayloadBytes}`,
    );
  }
  const isControl = (flags & CONTROL_MASK) !== 0;
  if (payloadBytes === 0 && (!isControl || compressionOf(flags) !== Compression.none)) {
    throw new MeshError('ProtocolViolation', 'frame without payload says nothing');
  }
}

function checkMessageId(flags: number, high: number, low: number): void {
  if (high > MAX_ID_HIGH) throw new MeshError('ProtocolViolation', 'message id above 2^53-1');
  const isOfConnection = high === 0 && low === 0;
  if (!isOfConnection) return;
  const isControl = (flags & CONTROL_MASK) !== 0;
  if (!isControl || compressionOf(flags) !== Compression.none) {
    throw new MeshError('ProtocolViolation', 'message id 0 carries control frames only');
  }
}

/** Reads bits 4-6. A value that stands for no compression is refused before anything else uses it. */
function compressionOf(flags: number): Compression {
  return ((flags & FrameFlag.compressionMask) >> FrameFlag.compressionShift) as Compression;
}

function checkControl(flags: number): void {
  const control = flags & (CONTROL_MASK | FrameFlag.more);
  // At most one of the four: a power of two or zero.
  if ((control & (control - 1)) !== 0) {
    throw new MeshError(
      'ProtocolViolation',
      'frame sets more than one of end, reset, credit, more',
    );
  }
  const compressed = (flags & FrameFlag.compressionMask) !== 0;
  if (compressed && (control & (FrameFlag.reset | FrameFlag.credit)) !== 0) {
    throw new MeshError('ProtocolViolation', 'reset and credit frames are never compressed');
  }
}
