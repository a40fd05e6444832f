/**
 * Which of this side's streams the next answer is probably for. To ask the binding which streams are readable costs more
 * than all the rest of a small call. Pure.
 */
import type { QuicStream } from './stream.js';

/** Streams that are looked at before the binding is asked. */
export const MAX_LIKELY = 4;
/** So often in a row the oldest may have no answer while others have. */
const MAX_PASSES = 8;

/** This side's streams whose answers have not ended, oldest first. */
export class AwaitedStreams {
  readonly #streams = new Set<QuicStream>();
  /** The oldest when others had answers and it had none, and how often in a row that was so. */
  #passedOver: QuicStream | undefined;
  #passes = 0;

  add(stream: QuicStream): void {
    this.#streams.add(stream);
  }

  delete(stream: QuicStream): void {
    this.#streams.delete(stream);
    if (this.#passedOver === stream) this.#passedOver = undefined;
  }

  clear(): void {
    this.#streams.clear();
    this.#passedOver = undefined;
  }

  /** In order of age. Streams may be deleted meanwhile. */
  values(): Iterable<QuicStream> {
    return this.#streams;
  }

  /**
   * The binding had to be asked. Once the oldest has been in the way for a few turns, it goes to the end of the line. Not
   * at once: where two answers merely arrive in another order than their calls went out, the line is right again with the
   * next one.
   */
  passOver(): void {
    const [oldest] = this.#streams;
    if (oldest === undefined) return;
    if (oldest !== this.#passedOver) {
      this.#passedOver = oldest;
      this.#passes = 0;
    }
    this.#passes += 1;
    if (this.#passes < MAX_PASSES) return;
    this.delete(oldest);
    this.add(oldest);
  }
}
