/** Pseudo-random numbers that the same seed gives again. */
export class Random {
  #state: number;

  /** @param parts numbers that name the sequence, such as a seed and an index */
  constructor(...parts: readonly number[]) {
    this.#state = 0x9e37_79b9;
    for (const part of parts) {
      this.#state = Math.imul(this.#state ^ (part >>> 0), 0x85eb_ca6b);
      this.#state ^= this.#state >>> 13;
      this.next();
    }
  }

  /** From 0 to 2^32-1 (mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b_79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  /** From 0 up to, but not including, 1. */
  fraction(): number {
    return this.next() / 0x1_0000_0000;
  }

  /** From 0 to `limit` - 1. */
  below(limit: number): number {
    return Math.floor(this.fraction() * limit);
  }

  /** One of a list that is not empty. */
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }

  /** True once in `times`. */
  oneIn(times: number): boolean {
    return this.below(times) === 0;
  }
}
