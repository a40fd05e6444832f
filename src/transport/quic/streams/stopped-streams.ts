/**
 * Finds streams that the peer has stopped (STOP_SENDING), or reset while nobody reads them. The binding tells only by
 * failing the next write or read, which may never come: a handler that is still working writes nothing, and one that has
 * paused an upload reads nothing. So the binding is asked about each such stream.
 *
 * A few are asked about with every datagram, the rest by a timer. With few streams the peer is heard at once, with many a
 * moment later, and a busy connection spends no more than a few calls of the binding per datagram.
 */
import { Line, type Place } from '../../../base/line.js';
import type { QuicStream } from './stream.js';

/** Streams asked about with every datagram. With no more than these, none waits for the timer. */
const PER_DATAGRAM = 2;
/** When the others are asked about. */
const REST_MS = 20;

/** What {@link StoppedStreams} asks of its connection. */
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
  /**
   * Those that were asked the longest ago come first. A set with an iterator that waits would not do: where the set is rebuilt
   * meanwhile, the iterator keeps what was in it before, with streams that are over since, and all that these hold.
   */
  readonly #streams = new Line<Place<QuicStream>>();
  /** Streams that were not asked since the last datagram. */
  #due = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(host: StoppedStreamsHost) {
    this.#host = host;
  }

  /** The stream has its place, and this side may still send on it, or does not read it for now. */
  add(stream: QuicStream): void {
    this.#streams.push(stream.watchedPlace);
  }

  delete(stream: QuicStream): void {
    if (stream.isWatched) this.#streams.remove(stream.watchedPlace);
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
    const place = this.#streams.first;
    if (place === undefined) return undefined;
    this.#streams.remove(place);
    this.#streams.push(place);
    return place.item;
  }
}
