/**
 * Streams whose bytes QUIC had no room for, and which of them goes first when there is room again. SPEC.md, "Priorities".
 *
 * quiche takes no more than its congestion window lets out, so what it takes leaves soon: the order in which streams are
 * offered decides. Among bytes that it holds, the urgencies of their streams decide: see {@link URGENCIES}.
 *
 * Streams in line wait for the connection. Those that lack credit of their own stand apart, so that the line can be written
 * from its front until there is no more room, and nobody has to look at all of it.
 */
import { LazyMap } from '../../../base/lazy-collections.js';
import { Line, type Place } from '../../../base/line.js';
import { PRIORITIES, type Priority } from '../../../protocol/priority.js';
import { ClassTurns, RANKS, type Rank } from '../../priority/class-turns.js';
import type { QuicStream } from './stream.js';

/** quiche sends lower ones first. 127 is its default, and 0 is our control stream's. */
export const URGENCIES: Readonly<Record<Priority, number>> = {
  control: 63,
  // The same as normal: quiche would let the less urgent wait for ever. `high` goes first by being handed over first.
  high: 127,
  normal: 127,
  bulk: 191,
};

/** So often in a row the first of a line may find no room. */
const MAX_VAIN = 16;

/** The urgency of bulk data that has waited long enough: see `starvation-guard.ts`. */
export const RAISED_URGENCY = 95;

/**
 * Streams that hold bytes for which QUIC had no room, and the order in which they get room that there is again.
 * SPEC.md, "Priorities".
 */
export class BlockedStreams {
  /** By the rank of a class. Some streams are over but for their last bytes. */
  readonly #lines: readonly Line<Place<QuicStream>>[] = PRIORITIES.map(
    () => new Line<Place<QuicStream>>(),
  );
  /** Streams that lack credit of their own, by QUIC's id. */
  readonly #stalled = new LazyMap<number, QuicStream>();
  readonly #turns = new ClassTurns();
  /** The stream that was put back last, and how often in a row. */
  #first: QuicStream | undefined;
  #vain = 0;

  get isEmpty(): boolean {
    return this.#waiting === 0 && this.#stalled.size === 0;
  }

  /** How many lack credit of their own. */
  get stalled(): number {
    return this.#stalled.size;
  }

  /** Takes the first stream of a class. */
  takeFirst(rank: Rank): QuicStream | undefined {
    const place = this.#line(rank).first;
    if (place === undefined) return undefined;
    this.#line(rank).remove(place);
    return place.item;
  }

  /** Puts a stream at the end of its class, unless it stands there already or lacks credit of its own. */
  add(stream: QuicStream): void {
    if (this.#stalled.size > 0 && this.#stalled.has(stream.id)) return;
    this.#line(RANKS[stream.priority]).push(stream.blockedPlace);
  }

  /**
   * The stream, at the end of its line again, had its turn and there was no room: it gets its place at the front back. But not
   * for ever: where it seems that there is no room, a stream may lack credit of its own all the same.
   */
  putBack(stream: QuicStream): void {
    this.#vain = stream === this.#first ? this.#vain + 1 : 0;
    this.#first = stream;
    if (this.#vain >= MAX_VAIN) return;
    const line = this.#line(RANKS[stream.priority]);
    line.remove(stream.blockedPlace);
    line.pushFirst(stream.blockedPlace);
  }

  /** The connection has room, and the stream lacks credit of its own. */
  stall(stream: QuicStream): void {
    this.#line(RANKS[stream.priority]).remove(stream.blockedPlace);
    this.#stalled.set(stream.id, stream);
  }

  /** Those that lack credit of their own, by QUIC's id. */
  stalledIds(): Iterable<number> {
    return this.#stalled.keys();
  }

  /** The stream, if it is a stalled one, may have credit again: it goes to the end of its line. */
  revive(id: number): void {
    const stream = this.#stalled.get(id);
    if (stream === undefined) return;
    this.#stalled.delete(id);
    this.add(stream);
  }

  delete(stream: QuicStream): boolean {
    if (this.#stalled.size > 0 && this.#stalled.delete(stream.id)) return true;
    return stream.isBlocked && this.#line(RANKS[stream.priority]).remove(stream.blockedPlace);
  }

  clear(): void {
    for (const line of this.#lines) line.clear();
    this.#stalled.clear();
    this.#first = undefined;
  }

  /** QUIC took so many bytes of a stream. */
  took({ priority }: QuicStream, bytes: number): void {
    // An attempt in vain is no turn: the class goes on waiting.
    if (bytes === 0) return;
    const waiting = this.#waiting;
    if (waiting !== 0) this.#turns.went(RANKS[priority], bytes, waiting);
  }

  /** Takes a stream of a class that has waited for as long as it may; `undefined` if there is none. */
  takeDue(): QuicStream | undefined {
    const waiting = this.#waiting;
    if (waiting === 0) return undefined;
    const rank = this.#turns.next(waiting);
    if (!this.#turns.isDue(rank)) return undefined;
    return this.takeFirst(rank);
  }

  #line(rank: Rank): Line<Place<QuicStream>> {
    return this.#lines[rank] as Line<Place<QuicStream>>;
  }

  get #waiting(): number {
    let waiting = 0;
    for (let rank = 0; rank < this.#lines.length; rank += 1) {
      if (this.#line(rank).size > 0) waiting |= 1 << rank;
    }
    return waiting;
  }
}
