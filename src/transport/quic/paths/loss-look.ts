/**
 * Tells from the count of lost packets whether something is wrong with the path. Asking the binding for that count is not cheap.
 * So the first look comes after a few large datagrams, and the next ones ever later while they find nothing. Pure.
 */

/** Datagrams between two looks. */
const FIRST = 8;
const MOST = 256;
/** Looks that are further apart tell nothing: too much may have happened in between. */
const STALE_MS = 1000;

/**
 * Tells from the count of lost packets whether something is wrong with a path. It decides when that count is worth
 * asking the binding for. Pure.
 */
export class LossLook {
  #every = FIRST;
  #left = FIRST;
  #lostBefore = 0;
  #lookedAtMs = Number.NEGATIVE_INFINITY;

  /** Begins anew: datagrams have another size from now on. */
  restart(): void {
    this.#every = FIRST;
    this.#left = FIRST;
  }

  /** A datagram has left. @returns whether a look is due */
  sent(): boolean {
    this.#left -= 1;
    return this.#left <= 0;
  }

  /**
   * Call it whenever a look is due.
   * @param lostPackets in all
   * @param probes how many of them may be probes, whose loss tells nothing about other packets
   * @returns whether half of what was sent since the last look was lost
   */
  isMuchLost(lostPackets: () => number, probes: number, nowMs: number): boolean {
    if (this.#left > 0) return false;
    const lost = lostPackets() - probes;
    const isMuch = lost - this.#lostBefore >= this.#every / 2;
    const isStale = nowMs - this.#lookedAtMs > STALE_MS;
    this.#every = isMuch || isStale ? FIRST : Math.min(2 * this.#every, MOST);
    this.#left = this.#every;
    this.#lostBefore = lost;
    this.#lookedAtMs = nowMs;
    return isMuch && !isStale;
  }
}
