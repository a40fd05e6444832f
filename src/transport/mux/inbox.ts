/** Frames of one stream on their way to its handler: held while it is paused, delivered in order, and the end last. */
import { compact } from '../../base/buffers.js';
import { Fifo } from '../../base/fifo.js';
import type { Frame } from '../../protocol/frame.js';
import type { FrameStreamHandler } from '../connection.js';

/** The stream that an inbox belongs to. */
export interface InboxOwner {
  /** Undefined while no one takes the peer's streams. */
  readonly reader: FrameStreamHandler | undefined;
  /** A frame's bytes are about to be the handler's. */
  onRead(bytes: number): void;
  /** So many frames and bytes of payload more, or fewer, are held. */
  onHeldChange(frames: number, bytes: number): void;
}

/**
 * Brings the frames of one stream to its handler, in order, and the end last. It holds them while the stream is paused.
 */
export class Inbox {
  readonly #owner: InboxOwner;
  readonly #held = new Fifo<Frame>();
  #heldBytes = 0;
  /** `ended`: the peer's end has come, and waits behind frames. `done`: nothing more is delivered. */
  #state: 'open' | 'ended' | 'done' = 'open';
  #isPaused = false;
  /** Keeps the order, and the stack shallow, where a handler pauses and resumes within a delivery. */
  #isDelivering = false;

  constructor(owner: InboxOwner) {
    this.#owner = owner;
  }

  /** Whether the peer may send nothing more. */
  get isEnded(): boolean {
    return this.#state !== 'open';
  }

  /** The peer ends its direction with the frame that is delivered next, or without one. */
  markEnded(): void {
    this.#state = 'ended';
  }

  deliver(frame: Frame): void {
    if (this.#state === 'done') this.#owner.onRead(frame.payload.length);
    else if (this.#held.length > 0 || this.#isBlocked()) this.#hold(frame);
    else this.#pass(frame);
  }

  /** Delivers what is held and may go. */
  drain(): void {
    while (this.#held.length > 0 && !this.#isBlocked()) {
      const frame = this.#held.shift() as Frame;
      this.#heldBytes -= frame.payload.length;
      this.#owner.onHeldChange(-1, -frame.payload.length);
      this.#pass(frame);
    }
    if (this.#state !== 'ended' || this.#held.length > 0 || this.#isBlocked()) return;
    this.#state = 'done';
    this.#owner.reader?.onEnd();
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.drain();
  }

  /** Whether anything waits for the reader. */
  get isHolding(): boolean {
    return this.#held.length > 0;
  }

  /** Delivers nothing any more. */
  discard(): void {
    this.#state = 'done';
    const [frames, bytes] = [this.#held.length, this.#heldBytes];
    this.#held.clear();
    this.#heldBytes = 0;
    if (frames > 0) this.#owner.onHeldChange(-frames, -bytes);
  }

  #isBlocked(): boolean {
    return (
      this.#isPaused ||
      this.#isDelivering ||
      this.#state === 'done' ||
      this.#owner.reader === undefined
    );
  }

  #pass(frame: Frame): void {
    this.#isDelivering = true;
    try {
      this.#owner.onRead(frame.payload.length);
      this.#owner.reader?.onFrame(frame);
    } finally {
      this.#isDelivering = false;
    }
  }

  #hold(frame: Frame): void {
    this.#held.push(compactFrame(frame));
    this.#heldBytes += frame.payload.length;
    this.#owner.onHeldChange(1, frame.payload.length);
  }
}

/** A frame to be kept. Its payload is copied where it would keep alive a chunk of more than twice its size. */
function compactFrame(frame: Frame): Frame {
  const payload = compact(frame.payload);
  return payload === frame.payload ? frame : { ...frame, payload };
}
