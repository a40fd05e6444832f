import { LazySet } from '../../../base/lazy-collections.js';

/**
 * Which of the peer's bidirectional streams were seen: a mark below which all were, and the few above it. Streams are
 * opened in order and arrive nearly so; how far they may stray is bounded by the stream limit.
 */
export class SeenStreams {
  /** The first stream that was not seen. */
  #mark: number;
  readonly #above = new LazySet<number>();

  /** @param firstId 0 for a dialer's streams, 1 for an acceptor's */
  constructor(firstId: 0 | 1) {
    this.#mark = firstId;
  }

  /** The stream that is due next. */
  get next(): number {
    return this.#mark;
  }

  has(id: number): boolean {
    return id < this.#mark || this.#above.has(id);
  }

  add(id: number): void {
    if (id === this.#mark) this.#mark += 4;
    else this.#above.add(id);
    while (this.#above.size > 0 && this.#above.delete(this.#mark)) this.#mark += 4;
  }
}
