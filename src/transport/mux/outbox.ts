/** Frames of one stream that wait to be sent, whole or in pieces. SPEC.md, "Pieces". */
import type { ByteAccount } from '../../base/byte-budget.js';
import { Fifo } from '../../base/fifo.js';
import { crc32After, crc32Joined } from '../../protocol/checksum.js';
import type { Compression } from '../../protocol/frame.js';
import { FrameFlag, HEADER_BYTES } from '../../protocol/frame.js';
import type { TailSum } from '../../protocol/kept-message.js';
import { INITIAL_STREAM_WINDOW_BYTES, SendCredit } from './credit.js';

/** A frame before it is encoded. Its id, and whether it is the last, may be known only later. */
export interface OutgoingFrame {
  control: number;
  messageId: number;
  readonly compression: Compression;
  readonly payload: Uint8Array;
  /** The caller's memory: to be copied if the frame waits beyond the call that hands it over. */
  tail: Uint8Array | undefined;
  readonly tailChecksum: number | undefined;
  /** Is told the tail's CRC-32 once all of it has been cut or encoded. */
  readonly tailSum: TailSum | undefined;
  /** Of payload and tail together. */
  readonly payloadBytes: number;
  /** As agreed when the frame was handed over: an agreement may come into force while it waits. */
  readonly checksum: boolean;
}

/** A larger payload goes in pieces, so that it does not hold up the frames of other streams. */
const MAX_WHOLE_BYTES = 128 * 1024;
const PIECE_BYTES = 64 * 1024;

/** Frames of one stream that wait to be sent, in order. A large payload leaves in pieces. SPEC.md, "Pieces". */
export class Outbox {
  readonly credit = new SendCredit(INITIAL_STREAM_WINDOW_BYTES);
  /** What queued bytes are taken from. */
  account: ByteAccount | undefined;
  readonly #frames = new Fifo<OutgoingFrame>();
  #queuedBytes = 0;
  /** Bytes of the first frame that have left in pieces. */
  #cutBytes = 0;
  /** CRC-32 of what has left of its tail. */
  #cutSum = 0;

  constructor(account: ByteAccount | undefined) {
    this.account = account;
  }

  /** Headers count, so that small frames are bounded too. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  push(frame: OutgoingFrame): void {
    this.#frames.push(frame);
    const bytes = HEADER_BYTES + frame.payloadBytes;
    this.#queuedBytes += bytes;
    this.account?.take(bytes);
  }

  /** Gives the last waiting frame memory of its own. */
  ownLast(): void {
    const { last } = this.#frames;
    if (last?.tail !== undefined) last.tail = Buffer.from(last.tail);
  }

  /** Marks the last waiting frame as the stream's last. False when none waits. */
  endLast(): boolean {
    const { last } = this.#frames;
    if (last === undefined) return false;
    last.control |= FrameFlag.end;
    return true;
  }

  /** What the first frame is: `data` needs credit, a `bareEnd` does not. */
  get next(): 'none' | 'data' | 'bareEnd' {
    const { first } = this.#frames;
    if (first === undefined) return 'none';
    return first.payloadBytes === 0 ? 'bareEnd' : 'data';
  }

  /** Whether the first frame goes in pieces, of which some may have gone. */
  get isCut(): boolean {
    const { first } = this.#frames;
    return first !== undefined && first.payloadBytes > MAX_WHOLE_BYTES;
  }

  /** The first frame, or the next piece of it, paid from the stream's credit. */
  take(): OutgoingFrame | undefined {
    const { first } = this.#frames;
    if (first === undefined) return undefined;
    const frame = this.isCut ? this.#cut(first) : summed(first);
    let bytes = frame.payloadBytes;
    if (frame.control !== FrameFlag.more) {
      this.#frames.shift();
      this.#cutBytes = 0;
      this.#cutSum = 0;
      bytes += HEADER_BYTES;
    }
    this.#queuedBytes -= bytes;
    this.account?.give(bytes);
    this.credit.spend(frame.payloadBytes);
    return frame;
  }

  clear(): void {
    this.#sumRest();
    this.#frames.clear();
    if (this.#queuedBytes > 0) this.account?.give(this.#queuedBytes);
    this.#queuedBytes = 0;
    this.#cutBytes = 0;
    this.#cutSum = 0;
  }

  /** Tells what the tail of the first frame was, before it is gone, to whoever asked. */
  #sumRest(): void {
    const { first } = this.#frames;
    if (first?.tailSum === undefined || first.tail === undefined) return;
    const rest = first.tail.subarray(Math.max(0, this.#cutBytes - first.payload.length));
    first.tailSum.value = crc32Joined(this.#cutSum, crc32After(0, rest), rest.length);
  }

  #cut(whole: OutgoingFrame): OutgoingFrame {
    const { payload, tail, payloadBytes } = whole;
    const start = this.#cutBytes;
    const end = Math.min(start + PIECE_BYTES, payloadBytes);
    this.#cutBytes = end;
    const piece = tail?.subarray(
      Math.max(0, start - payload.length),
      Math.max(0, end - payload.length),
    );
    return {
      ...whole,
      control: end < payloadBytes ? FrameFlag.more : whole.control,
      payload: payload.subarray(start, end),
      tail: piece,
      tailChecksum: this.#sumPiece(whole, piece, end === payloadBytes),
      payloadBytes: end - start,
    };
  }

  /** @returns CRC-32 of the piece, if it was to be known */
  #sumPiece(
    { tailSum }: OutgoingFrame,
    piece: Uint8Array | undefined,
    isLast: boolean,
  ): number | undefined {
    if (tailSum === undefined || piece === undefined) return undefined;
    const sum = crc32After(0, piece);
    this.#cutSum = crc32Joined(this.#cutSum, sum, piece.length);
    if (isLast) tailSum.value = this.#cutSum;
    return sum;
  }
}

/** The same frame, with the CRC-32 of its tail where that is to be known. */
function summed(frame: OutgoingFrame): OutgoingFrame {
  const { tail, tailSum } = frame;
  if (tailSum === undefined || tail === undefined) return frame;
  tailSum.value = crc32After(0, tail);
  return { ...frame, tailChecksum: tailSum.value };
}
