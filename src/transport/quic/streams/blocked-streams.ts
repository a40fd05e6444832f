/**
 * Streams whose bytes QUIC had no room for, and which of them goes first when there is room again. SPEC.md, "Priorities".
 *
 * quiche takes no more than its congestion window lets out, so what it takes leaves soon: the order in which streams are
 * offered decides. Among bytes that it holds, the urgencies of their streams decide: see {@link URGENCIES}.
 */
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

/** The urgency of bulk data that has waited long enough: see `starvation-guard.ts`. */
export const RAISED_URGENCY = 95;

/**
 * Streams that hold bytes for which QUIC had no room, and the order in which they get room that there is again.
 * SPEC.md, "Priorities".
 */
export class BlockedStreams {
  /** By the rank of a class, then by QUIC's id. Some are over but for their last bytes. */
  readonly #lines: readonly Map<number, QuicStream>[] = PRIORITIES.map(
    () => new Map<number, QuicStream>(),
  );
  readonly #turns = new ClassTurns();

  get size(): number {
    let size = 0;
    for (let rank = 0; rank < this.#lines.length; rank += 1) size += this.line(rank).size;
    return size;
  }

  /** Those of one class. */
  line(rank: Rank): Map<number, QuicStream> {
    return this.#lines[rank] as Map<number, QuicStream>;
  }

  get(id: number): QuicStream | undefined {
    for (const line of this.#lines) {
      const stream = line.get(id);
      if (stream !== undefined) return stream;
    }
    return undefined;
  }

  add(stream: QuicStream): void {
    this.line(RANKS[stream.priority]).set(stream.id, stream);
  }

  delete(stream: QuicStream): boolean {
    return this.line(RANKS[stream.priority]).delete(stream.id);
  }

  clear(): void {
    for (const line of this.#lines) line.clear();
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
    const [stream] = this.line(rank).values();
    if (stream !== undefined) this.delete(stream);
    return stream;
  }

  get #waiting(): number {
    let waiting = 0;
    for (let rank = 0; rank < this.#lines.length; rank += 1) {
      if (this.line(rank).size > 0) waiting |= 1 << rank;
    }
    return waiting;
  }
}
