/** Frames of one stream that wait to be sent. */
import type { Compression } from '../../protocol/frame.js';
import { FrameFlag, HEADER_BYTES } from '../../protocol/frame.js';
import { INITIAL_STREAM_WINDOW_BYTES, SendCredit } from './credit.js';
import { Fifo } from './fifo.js';

/** A frame before it is encoded; whether it is the last and what its id is may be known only later. */
export interface OutgoingFrame {
  control: number;
  messageId: number;
  readonly compression: Compression;
  readonly payload: Uint8Array;
  /** Someone else's memory: kept for as long as the call lasts that hands the frame over. */
  tail: Uint8Array | undefined;
  /** Of payload and tail together. */
  readonly payloadBytes: number;
  /** As agreed when the frame was handed over: an agreement may come into force while it waits. */
  readonly checksum: boolean;
}

export class Outbox {
  readonly credit = new SendCredit(INITIAL_STREAM_WINDOW_BYTES);
  readonly #frames = new Fifo<OutgoingFrame>();
  #queuedBytes = 0;

  /** Headers count, so that small frames are bounded too. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  push(frame: OutgoingFrame): void {
    this.#frames.push(frame);
    this.#queuedBytes += HEADER_BYTES + frame.payloadBytes;
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

  /** What the first frame waits for besides the socket: nothing but credit, and a bare end not even that. */
  get next(): 'none' | 'data' | 'bareEnd' {
    const { first } = this.#frames;
    if (first === undefined) return 'none';
    return first.payloadBytes === 0 ? 'bareEnd' : 'data';
  }

  /** The first frame, paid from the stream's credit. */
  take(): OutgoingFrame | undefined {
    const frame = this.#frames.shift();
    if (frame === undefined) return undefined;
    this.#queuedBytes -= HEADER_BYTES + frame.payloadBytes;
    this.credit.spend(frame.payloadBytes);
    return frame;
  }

  clear(): void {
    this.#frames.clear();
    this.#queuedBytes = 0;
  }
}
