/** The receiving part of a stream (RFC 9000, section 3.2): bytes in, frames out, and the peer's end behind them. Pure. */
import { MeshError } from '../../../errors.js';
import { type Frame, type FrameDecoder, FrameFlag } from '../../../protocol/frame.js';

/** Flags that only TCP uses. */
const UNUSED_BITS = FrameFlag.reset | FrameFlag.credit | FrameFlag.more;

/** Where decoders come from. */
export interface DecoderSource {
  /** By the limits in force now. */
  newDecoder(): FrameDecoder;
}

/** Frames of one stream as they arrive, and how far the peer has ended. */
export class ReceivingPart {
  readonly #source: DecoderSource;
  #decoder: FrameDecoder | undefined;
  /** `ending`: the frame with the end bit was taken. `ended`: the application was told. */
  #state: 'open' | 'ending' | 'ended' = 'open';
  #hasFin = false;

  /** @param source asked when the first bytes arrive: limits may be agreed until then */
  constructor(source: DecoderSource) {
    this.#source = source;
  }

  /** Whether QUIC brings nothing more. */
  get hasFin(): boolean {
    return this.#hasFin;
  }

  /** Whether the last frame was taken, and the application has yet to be told of the end. */
  get isEnding(): boolean {
    return this.#state === 'ending';
  }

  get isEnded(): boolean {
    return this.#state === 'ended';
  }

  /** Bytes kept of a frame that is not whole yet. */
  get partialBytes(): number {
    return this.#decoder === undefined ? 0 : this.#decoder.bufferedBytes;
  }

  /**
   * Takes bytes, whose memory passes to it.
   * @throws MeshError ProtocolViolation for bytes after the end
   */
  push(bytes: Uint8Array, fin: boolean, messageId: number): void {
    if (fin) this.#hasFin = true;
    if (bytes.length === 0) return;
    // Nobody would look at them again, and they are off QUIC's account.
    if (this.#state === 'ended') throw behindTheEnd(messageId);
    this.#decoder ??= this.#source.newDecoder();
    this.#decoder.push(bytes);
  }

  /** Memory for what is missing of a large frame, see {@link FrameDecoder.room}. What is read into it is {@link filled}. */
  room(): Buffer | undefined {
    return this.#decoder?.room();
  }

  /** See {@link FrameDecoder.expectsLarge}. */
  get expectsLarge(): boolean {
    return this.#decoder?.expectsLarge === true;
  }

  filled(bytes: number, fin: boolean): void {
    if (fin) this.#hasFin = true;
    this.#decoder?.filled(bytes);
  }

  /**
   * The next whole frame.
   * @throws MeshError what the decoder throws, and ProtocolViolation for an id or a flag that QUIC does not use
   */
  next(messageId: number): Frame | undefined {
    const frame = this.#decoder?.next();
    if (frame === undefined) return undefined;
    if (frame.messageId !== messageId) {
      const text = `frame of message ${frame.messageId} on the stream of ${messageId}`;
      throw new MeshError('ProtocolViolation', text);
    }
    if ((frame.flags & UNUSED_BITS) !== 0) {
      throw new MeshError('ProtocolViolation', 'reset, credit and more are for TCP');
    }
    if ((frame.flags & FrameFlag.end) !== 0) this.#state = 'ending';
    return frame;
  }

  /** The application is about to be told of the end. @throws MeshError ProtocolViolation for bytes after the end */
  end(messageId: number): void {
    if (this.partialBytes > 0) throw behindTheEnd(messageId);
    this.#state = 'ended';
  }
}

function behindTheEnd(messageId: number): MeshError {
  return new MeshError('ProtocolViolation', `bytes after the end of message ${messageId}`);
}
