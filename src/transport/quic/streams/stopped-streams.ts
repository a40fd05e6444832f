/**
 * Which streams the peer has stopped (STOP_SENDING), or reset while nobody reads them. The binding tells by failing the
 * next write or read, and the next one may never come: a handler that still works has nothing to write, and one that
 * takes no more of an upload reads nothing. So streams that this side may still send on are asked one by one.
 *
 * Cheap: a few with every datagram, the rest of them by a timer. So with few streams the peer's word is heard at once, and
 * with many a moment later, and neither costs a busy connection more than a few calls of the binding per datagram.
 */
import type { QuicStream } from './stream.js';

/** Streams asked with every datagram: with so many, none waits for the timer. */
const PER_DATAGRAM = 2;
/** Until the others are asked. */
const REST_MS = 20;

export interface StoppedStreamsHost {
  /** Looks whether the peer has stopped this stream, and acts on it. */
  ask(stream: QuicStream): void;
  /** Runs a step outside of any input. */
  guard(step: () => void): void;
}

/**
 * Finds the streams that the peer has stopped (STOP_SENDING), or reset while nobody reads them. The binding tells only
 * when it is asked, so a few are asked with every datagram and the rest by a timer.
 */
export class StoppedStreams {
  readonly #host: StoppedStreamsHost;
  readonly #streams = new Set<QuicStream>();
  /** Goes on where it was; a set may change under its iterator. */
  #iterator: Iterator<QuicStream, undefined> | undefined;
  /** Streams that were not asked since the last datagram. */
  #due = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(host: StoppedStreamsHost) {
    this.#host = host;
  }

  /** The stream has its place, and this side may still send on it, or does not read it for now. */
  add(stream: QuicStream): void {
    this.#streams.add(stream);
  }

  delete(stream: QuicStream): void {
    this.#streams.delete(stream);
  }

  /** A datagram arrived, and all it brought was read. */
  received(): void {
    if (this.#streams.size === 0) return;
    this.#due = this.#streams.size;
    this.#askSome(PER_DATAGRAM);
    if (this.#due > 0) this.#timer ??= setTimeout(() => this.#askRest(), REST_MS);
  }

  /** The connection is over. */
  end(): void {
    clearTimeout(this.#timer);
    this.#streams.clear();
    this.#iterator = undefined;
    this.#due = 0;
  }

  #askRest(): void {
    this.#timer = undefined;
    this.#host.guard(() => this.#askSome(this.#due));
  }

  #askSome(count: number): void {
    for (let asked = 0; asked < count && this.#due > 0; asked += 1) {
      const stream = this.#next();
      if (stream === undefined) {
        this.#due = 0;
        return;
      }
      this.#due -= 1;
      this.#host.ask(stream);
    }
  }

  #next(): QuicStream | undefined {
    for (let round = 0; round < 2; round += 1) {
      this.#iterator ??= this.#streams.values();
      const { done, value } = this.#iterator.next();
      if (done !== true) return value;
      this.#iterator = undefined;
    }
    return undefined;
  }
}
