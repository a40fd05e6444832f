/**
 * Which stream's frame goes next: round robin by frame, as far as the socket and the peer's credit allow.
 */

import type { Priority } from '../../protocol/priority.js';
import { INITIAL_CONNECTION_WINDOW_BYTES, SendCredit } from './credit.js';
import type { FrameWriter } from './frame-writer.js';
import type { MuxStream } from './mux-stream.js';

/** What a {@link SendScheduler} is given. */
export interface SendSchedulerOptions {
  readonly writer: FrameWriter;
  /** Above so many unsent bytes, a stream has to wait for `onDrain`. */
  readonly sendHighWaterBytes: number;
  /** Called before a stream's first frame: it needs its id. */
  readonly onFirstFrame: (stream: MuxStream) => void;
  /** Called after a stream's first frame: the peer knows the stream. */
  readonly onPlaced: (stream: MuxStream) => void;
}

export class SendScheduler {
  readonly #options: SendSchedulerOptions;
  readonly #credit = new SendCredit(INITIAL_CONNECTION_WINDOW_BYTES);
  /** Streams with a frame to send. A set visits last what is added last, even during a visit: it is the ring. */
  readonly #ready = new Set<MuxStream>();
  /** The same for streams that go ahead of all others. */
  readonly #urgent = new Set<MuxStream>();
  /** Streams whose `send` has answered false. */
  readonly #draining = new Set<MuxStream>();
  #isFlushing = false;

  constructor(options: SendSchedulerOptions) {
    this.#options = options;
  }

  /** The stream may have something to send: sends it if nothing is in the way. */
  wake(stream: MuxStream): void {
    const next = stream.nextToSend;
    if (next === 'none') return;
    // The usual case, a single frame and nobody before it: no ring for that.
    if (this.#isIdle && (next === 'bareEnd' || !this.#credit.isExhausted)) {
      this.#sendOne(stream);
      if (stream.nextToSend === 'none') return;
    }
    this.#ringOf(stream).add(stream);
    this.flush();
  }

  hasRoom(stream: MuxStream): boolean {
    if (this.#hasRoom(stream)) return true;
    this.#draining.add(stream);
    return false;
  }

  /** The peer's credit for the whole connection grew. @throws MeshError FlowControlViolation */
  grant(bytes: number): void {
    this.#credit.grant(bytes);
    this.flush();
  }

  /** Sends what can be sent, then tells the streams that have room again, until neither leads to more. */
  flush(): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    try {
      while (this.#sendReady() + this.#tellDrained() > 0);
    } finally {
      this.#isFlushing = false;
    }
  }

  /** For a stream that was reset. One that ended stays: its last `send` may have answered false too. */
  forget(stream: MuxStream): void {
    this.#ringOf(stream).delete(stream);
    this.#draining.delete(stream);
  }

  /** Forgets all streams. @returns those to which `onDrain` is still due */
  takeDraining(): MuxStream[] {
    const draining = [...this.#draining];
    this.#draining.clear();
    this.#ready.clear();
    this.#urgent.clear();
    return draining;
  }

  get #isIdle(): boolean {
    const waiting = this.#ready.size + this.#urgent.size + this.#draining.size;
    return waiting === 0 && !this.#isFlushing && !this.#options.writer.isBackedUp;
  }

  reclass(stream: MuxStream, priority: Priority): void {
    const wasWaiting = this.#ringOf(stream).delete(stream);
    stream.priority = priority;
    if (wasWaiting) this.#ringOf(stream).add(stream);
  }

  #ringOf({ priority }: MuxStream): Set<MuxStream> {
    return priority === 'control' ? this.#urgent : this.#ready;
  }

  #sendReady(): number {
    return this.#sendFrom(this.#urgent) + this.#sendFrom(this.#ready);
  }

  #sendFrom(ring: Set<MuxStream>): number {
    let sent = 0;
    if (ring.size === 0) return sent;
    for (const stream of ring) {
      if (this.#options.writer.isBackedUp) break;
      const next = stream.nextToSend;
      // Stays where it is: what has to wait for the connection's credit keeps its place in the ring.
      if (next === 'data' && this.#credit.isExhausted) continue;
      ring.delete(stream);
      // Its frames were taken back.
      if (next === 'none') continue;
      this.#sendOne(stream);
      if (stream.nextToSend !== 'none') ring.add(stream);
      sent += 1;
    }
    return sent;
  }

  #sendOne(stream: MuxStream): void {
    const isFirst = stream.messageId === 0;
    if (isFirst) this.#options.onFirstFrame(stream);
    const frame = stream.takeFrame();
    if (frame === undefined) return;
    this.#credit.spend(frame.payloadBytes);
    this.#options.writer.write(frame);
    if (isFirst) {
      stream.handler.onSent?.();
      this.#options.onPlaced(stream);
    }
    stream.onWritten(frame);
  }

  #tellDrained(): number {
    let told = 0;
    if (this.#draining.size === 0) return told;
    for (const stream of this.#draining) {
      if (this.#options.writer.isBackedUp) break;
      if (!this.#hasRoom(stream)) continue;
      this.#draining.delete(stream);
      stream.handler.onDrain?.();
      told += 1;
    }
    return told;
  }

  #hasRoom(stream: MuxStream): boolean {
    const { writer, sendHighWaterBytes } = this.#options;
    return !writer.isBackedUp && stream.queuedBytes <= sendHighWaterBytes;
  }
}
