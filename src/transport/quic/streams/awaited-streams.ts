/**
 * Which of this side's streams the next answer is probably for. To ask the binding which streams are readable costs more
 * than all the rest of a small call. Pure.
 */
import { Line } from '../../../base/line.js';
import type { QuicStream } from './stream.js';

/** Streams that are looked at before the binding is asked. */
export const MAX_LIKELY = 4;
/** So often in a row the oldest may have no answer while others have. */
const MAX_PASSES = 8;

/** This side's streams whose answers have not ended, oldest first. */
export class AwaitedStreams {
  readonly #streams = new Line<QuicStream>();
  /** The oldest when others had answers and it had none, and how often in a row that was so. */
  #passedOver: QuicStream | undefined;
  #passes = 0;

  add(stream: QuicStream): void {
    this.#streams.push(stream);
  }

  delete(stream: QuicStream): void {
    this.#streams.remove(stream);
    if (this.#passedOver === stream) this.#passedOver = undefined;
  }

  has(stream: QuicStream): boolean {
    return this.#streams.has(stream);
  }

  clear(): void {
    this.#streams.clear();
    this.#passedOver = undefined;
  }

  /** All of them, in order of age. */
  values(): QuicStream[] {
    return [...this.#streams];
  }

  /** The one behind `stream`; the oldest where that has left, or is `undefined`. */
  following(stream: QuicStream | undefined): QuicStream | undefined {
    return this.#streams.following(stream);
  }

  /**
   * The binding had to be asked. Once the oldest has been in the way for a few turns, it goes to the end of the line. Not
   * at once: where two answers merely arrive in another order than their calls went out, the line is right again with the
   * next one.
   */
  passOver(): void {
    const oldest = this.#streams.first;
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
