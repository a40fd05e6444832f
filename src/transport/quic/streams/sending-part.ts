/**
 * The sending part of a stream (RFC 9000, section 3.1): frames that wait, and the bytes of one that QUIC took in part.
 * Pure: the stream asks for bytes, hands them to QUIC, and says how many it took.
 */
import { NO_BYTES } from '../../../base/buffers.js';
import type { ByteAccount } from '../../../base/byte-budget.js';
import { Fifo } from '../../../base/fifo.js';
import { crc32After } from '../../../protocol/checksum.js';
import {
  type Compression,
  encodeFrame,
  FrameFlag,
  type FrameLoan,
  frameBytes,
} from '../../../protocol/frame.js';
import type { TailSum } from '../../../protocol/kept-message.js';
import type { ConnectionCounters } from '../../connection.js';
import type { FrameMemory } from '../../frame-memory.js';

/** How frames are encoded on this connection. */
export interface Encoding {
  readonly checksum: boolean;
  /** For large frames and their tails: the binding copies what it takes. */
  readonly frameMemory: FrameMemory;
  readonly counters: ConnectionCounters;
}

/** A frame before it is encoded. Its id and whether it has a checksum are known only then. */
export interface OutgoingFrame {
  readonly control: number;
  messageId: number;
  checksum: boolean;
  readonly compression: Compression;
  readonly payload: Uint8Array;
  /** The caller's memory: to be copied if the frame waits beyond the call that hands it over. */
  tail: Uint8Array | undefined;
  /** Of what that copy lies in. */
  tailLoan?: FrameLoan | undefined;
  tailChecksum: number | undefined;
  readonly tailSum: TailSum | undefined;
  /** Of payload and tail together. */
  readonly payloadBytes: number;
}

/** What comes with the FIN of a side that gave up. */
const GIVEN_UP = Buffer.alloc(1);

/** Frames of one stream on their way to QUIC, and how far this side has ended. */
export class SendingPart {
  /** Whether QUIC took a byte of what the application sent. */
  hasSent = false;
  /** Whether the application waits for room. */
  awaitsDrain = false;
  /** What unsent bytes are taken from. */
  account: ByteAccount | undefined;
  readonly #encoding: Encoding;
  /**
   * `ending`: the last frame was pushed. `ended`: QUIC has all of it, and the FIN. `failed`: QUIC takes nothing more, and the
   * stream is about to be reset.
   */
  #state: 'open' | 'ending' | 'ended' | 'failed' = 'open';
  /** Frames that are not encoded yet, where any are. */
  #waiting: Fifo<OutgoingFrame> | undefined;
  /** The rest of an encoded frame. */
  #rest: Uint8Array = NO_BYTES;
  /** What it was encoded into, where that is to be given back. */
  #restMemory: Buffer | undefined;
  #unsentBytes = 0;

  constructor(encoding: Encoding) {
    this.#encoding = encoding;
  }

  /** Whether the application may still push frames. */
  get isOpen(): boolean {
    return this.#state === 'open' || this.#state === 'failed';
  }

  /** Whether QUIC gets nothing more. */
  get isEnded(): boolean {
    return this.#state === 'ended' || this.#state === 'failed';
  }

  /** Bytes that QUIC has not taken: of frames not encoded yet their payload. */
  get unsentBytes(): number {
    return this.#unsentBytes;
  }

  /** Whether a frame was taken in part: whatever is pushed now has to wait behind it. */
  get isMidFrame(): boolean {
    return this.#rest.length > 0;
  }

  /** Whether frames wait that are not encoded yet. */
  get isWaiting(): boolean {
    return this.#waiting !== undefined;
  }

  /** Whether there is anything for QUIC to take. */
  get hasUnsent(): boolean {
    return this.#rest.length > 0 || this.#waiting !== undefined;
  }

  /** Puts a frame behind the others. One with the end bit is the last. */
  push(frame: OutgoingFrame): void {
    if (this.#state === 'failed') {
      noteSum(frame);
      return;
    }
    if ((frame.control & FrameFlag.end) !== 0) this.#state = 'ending';
    this.#count(frame.payloadBytes);
    this.#waiting ??= new Fifo();
    this.#waiting.push(frame);
  }

  /** The frame pushed last may wait beyond the call that handed it over: copies what is the caller's. */
  keepTail(frame: OutgoingFrame): void {
    const { tail } = frame;
    if (tail === undefined || !this.isWaiting) return;
    frame.tailLoan = this.#encoding.frameMemory.lend(tail.length);
    const lent = frame.tailLoan?.bytes.subarray(0, tail.length);
    const copy = lent ?? Buffer.allocUnsafe(tail.length);
    copy.set(tail);
    frame.tail = copy;
  }

  /** What QUIC is to take next. Call only where there is something. */
  nextBytes(messageId: number): Uint8Array {
    if (this.#rest.length === 0) this.#encodeNext(messageId);
    return this.#rest;
  }

  /** Whether the stream ends with the bytes of {@link nextBytes}. */
  get isLast(): boolean {
    return this.#state === 'ending' && this.#waiting === undefined;
  }

  /** QUIC took so many of these bytes. @returns whether it took all */
  took(bytes: number): boolean {
    this.#count(-bytes);
    if (bytes < this.#rest.length) {
      this.#rest = this.#rest.subarray(bytes);
      return false;
    }
    this.#forgetRest();
    if (this.isLast) this.#state = 'ended';
    return true;
  }

  /** Forgets all frames, and that one of them was the last. Only before QUIC took any of it. */
  unsend(): void {
    if (this.#state === 'failed') return;
    this.discard();
    this.#state = 'open';
    this.awaitsDrain = false;
  }

  /** QUIC takes nothing more. */
  fail(): void {
    this.discard();
    this.#state = 'failed';
  }

  /**
   * This side gives up: all that is left to send is one byte with the FIN. QUIC must see an end, or the peer's stream credit
   * never comes back.
   */
  giveUp(): void {
    // If exactly one byte of a frame is missing, that byte is sent: another one would complete the frame with wrong content.
    const last = this.#rest.length === 1 ? Buffer.from(this.#rest) : GIVEN_UP;
    this.discard();
    // The connection may end before QUIC takes it, and nobody hears of that.
    this.account = undefined;
    this.#state = 'ending';
    this.#rest = last;
    this.#count(last.length);
  }

  /** Forgets all frames. */
  discard(): void {
    for (let frame = this.#take(); frame !== undefined; frame = this.#take()) {
      noteSum(frame);
      forgetTail(frame);
    }
    this.#forgetRest();
    this.#count(-this.#unsentBytes);
  }

  #count(bytes: number): void {
    this.#unsentBytes += bytes;
    if (bytes > 0) this.account?.take(bytes);
    else if (bytes < 0) this.account?.give(-bytes);
  }

  #take(): OutgoingFrame | undefined {
    const frame = this.#waiting?.shift();
    if (this.#waiting?.length === 0) this.#waiting = undefined;
    return frame;
  }

  #encodeNext(messageId: number): void {
    const frame = this.#take() as OutgoingFrame;
    const { checksum, frameMemory, counters } = this.#encoding;
    noteSum(frame);
    frame.messageId = messageId;
    frame.checksum = checksum;
    frame.tailChecksum = frame.tailSum?.value ?? frame.tailChecksum;
    this.#restMemory = frameMemory.take(frameBytes(frame));
    this.#rest = encodeFrame(frame, this.#restMemory);
    forgetTail(frame);
    this.#count(this.#rest.length - frame.payloadBytes);
    counters.framesSent += 1;
    counters.bytesSent += this.#rest.length;
  }

  #forgetRest(): void {
    this.#rest = NO_BYTES;
    if (this.#restMemory === undefined) return;
    this.#encoding.frameMemory.give(this.#restMemory);
    this.#restMemory = undefined;
  }
}

function forgetTail(frame: OutgoingFrame): void {
  if (frame.tailLoan === undefined) return;
  frame.tail = undefined;
  frame.tailLoan.giveBack();
}

/** Tells what the tail was, before it is gone, to whoever asked. */
function noteSum({ tail, tailSum }: OutgoingFrame): void {
  if (tailSum !== undefined && tail !== undefined) tailSum.value ??= crc32After(0, tail);
}
