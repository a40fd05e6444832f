/**
 * Keeps bulk data that QUIC holds from starving. quiche sends a less urgent stream only when nothing more urgent is left,
 * and where losses keep the congestion window full, something always is. SPEC.md, "Priorities".
 */
import { LazySet } from '../../../base/lazy-collections.js';
import { PATIENCE_BYTES, SLICE_BYTES } from '../../priority/class-turns.js';
import type { QuicStream } from './stream.js';

/**
 * Gives bulk data that QUIC holds its turn. quiche sends lower urgencies only once nothing of a higher one is left, and
 * under loss something always is. SPEC.md, "Priorities".
 */
export class StarvationGuard {
  readonly #setUrgency: (stream: QuicStream, isRaised: boolean) => void;
  /** Streams of bulk data that have a place on the wire. */
  readonly #streams = new LazySet<QuicStream>();
  #sentBytes = 0;
  #isRaised = false;

  /** @param setUrgency raises a stream above the others, or lowers it again */
  constructor(setUrgency: (stream: QuicStream, isRaised: boolean) => void) {
    this.#setUrgency = setUrgency;
  }

  add(stream: QuicStream): void {
    this.#streams.add(stream);
    this.#setUrgency(stream, this.#isRaised);
  }

  delete(stream: QuicStream): void {
    this.#streams.delete(stream);
  }

  /** So many bytes have left, of whatever class. */
  sent(bytes: number): void {
    if (this.#streams.size === 0) return;
    this.#sentBytes += bytes;
    if (this.#sentBytes < (this.#isRaised ? SLICE_BYTES : PATIENCE_BYTES)) return;
    this.#sentBytes = 0;
    this.#isRaised = !this.#isRaised;
    for (const stream of this.#streams) this.#setUrgency(stream, this.#isRaised);
  }
}
