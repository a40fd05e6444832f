/**
 * Which class of calls sends next on a shared connection: the most urgent one, unless another has waited too long. Pure.
 * SPEC.md, "Priorities".
 */
import { PRIORITIES, type Priority } from '../../protocol/priority.js';

/** A waiting class lets so many bytes of more urgent ones go first. */
export const PATIENCE_BYTES = 256 * 1024;
/** What it may send then, in whole frames, before the others are first again. */
export const SLICE_BYTES = 64 * 1024;

/** A class of calls as a number. 0 is the most urgent. */
export type Rank = number;
/** The rank of each class. */
export const RANKS: Readonly<Record<Priority, Rank>> = { control: 0, high: 1, normal: 2, bulk: 3 };

/**
 * Bounds how long a class waits. Once {@link PATIENCE_BYTES} of higher classes have been sent since its last slice, a waiting class
 * gets a slice. It then waits for at most one slice of every other class that is due. A slice ends with the frame that fills it.
 */
export class ClassTurns {
  /** What went ahead of each class since it had its turn or began to wait. */
  readonly #passedBytes: number[] = PRIORITIES.map(() => 0);
  /** Of the slice that is being sent. */
  #slicedBytes = 0;

  /**
   * The class to send from.
   * @param waiting bit r is set where the class of rank r could send; not 0
   */
  next(waiting: number): Rank {
    for (let rank = LAST; rank > 0; rank -= 1) {
      if ((waiting & (1 << rank)) !== 0 && this.isDue(rank)) return rank;
    }
    return 31 - Math.clz32(waiting & -waiting);
  }

  /** Whether a class has waited long enough to go ahead of those above it. */
  isDue(rank: Rank): boolean {
    return (this.#passedBytes[rank] as number) >= PATIENCE_BYTES;
  }

  /** So many bytes of a class went, while these waited. */
  went(rank: Rank, bytes: number, waiting: number): void {
    const passed = this.#passedBytes;
    for (let each = 0; each <= LAST; each += 1) {
      const before = passed[each] as number;
      if (each === rank) this.#pay(rank, bytes);
      if ((waiting & (1 << each)) === 0) passed[each] = 0;
      else if (each > rank) passed[each] = Math.min(PATIENCE_BYTES, before + bytes);
    }
  }

  /** A class that is due stays so until it had its slice, however small its frames are. */
  #pay(rank: Rank, bytes: number): void {
    this.#slicedBytes += bytes;
    if (this.isDue(rank) && this.#slicedBytes < SLICE_BYTES) return;
    this.#slicedBytes = 0;
    this.#passedBytes[rank] = 0;
  }
}

const LAST: Rank = PRIORITIES.length - 1;
