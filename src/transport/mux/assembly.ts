/** The pieces of one message, until it is whole. SPEC.md, "Pieces". */
import { pushMerged } from '../../base/buffers.js';
import { MeshError } from '../../errors.js';
import { type Frame, FrameFlag } from '../../protocol/frame.js';

/** Messages in pieces under way at a time in one direction, each as large as one may be: part of wire version 1. */
export const MAX_ASSEMBLIES = 4;
/** Pieces are merged up to this size as they come, so that small ones do not cost an object each. */
const MERGED_BYTES = 64 * 1024;

/** Puts one message together from its pieces, and holds it to the limits while they come. SPEC.md, "Pieces". */
export class Assembly {
  readonly #maxBytes: number;
  readonly #compression: Frame['compression'];
  readonly #pieces: Uint8Array[] = [];
  #last: Frame;
  #bytes = 0;

  /** @throws MeshError FrameTooLarge */
  constructor(first: Frame, maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.#compression = first.compression;
    this.#last = first;
    this.add(first);
  }

  /** Takes the next piece, whose memory it keeps. @throws MeshError ProtocolViolation, FrameTooLarge */
  add(piece: Frame): void {
    const { messageId, payload, compression } = piece;
    if (payload.length === 0) {
      throw new MeshError('ProtocolViolation', `stream ${messageId} ended within a message`);
    }
    if (compression !== this.#compression) {
      throw new MeshError('ProtocolViolation', 'pieces of one message differ in their compression');
    }
    if (this.#bytes + payload.length > this.#maxBytes) {
      const text = `a message in pieces is over the limit of ${this.#maxBytes} bytes`;
      throw new MeshError('FrameTooLarge', text);
    }
    this.#bytes += payload.length;
    this.#last = piece;
    pushMerged(this.#pieces, payload, MERGED_BYTES);
  }

  /** Bytes that it keeps. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The message, as the frame that it would be in one piece. */
  get whole(): Frame {
    const { flags } = this.#last;
    const payload = Buffer.concat(this.#pieces, this.#bytes);
    return { ...this.#last, flags: flags & ~FrameFlag.more, payload };
  }
}
