/**
 * How many calls of one peer this node runs at once, over all of its connections. Pure.
 *
 * A call holds its slot until its handler is done, also where the peer has given it up: resetting streams does not buy a
 * peer more work (CVE-2023-44487).
 */
export class HandlerSlots {
  readonly limit: number;
  #taken = 0;
  #urgentTaken = 0;

  /** @param limit of calls, and as many again of urgent ones, which other calls so cannot shut out */
  constructor(limit: number) {
    this.limit = limit;
  }

  /** Calls that run. */
  get taken(): number {
    return this.#taken + this.#urgentTaken;
  }

  /** @returns whether there was one */
  take(isUrgent: boolean): boolean {
    if ((isUrgent ? this.#urgentTaken : this.#taken) >= this.limit) return false;
    if (isUrgent) this.#urgentTaken += 1;
    else this.#taken += 1;
    return true;
  }

  give(isUrgent: boolean): void {
    if (isUrgent) this.#urgentTaken -= 1;
    else this.#taken -= 1;
  }
}
