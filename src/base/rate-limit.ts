/** So many a second, and no more at once than it bursts to. Pure: the caller brings the clock. */
export class RateLimit {
  readonly #perSecond: number;
  readonly #burst: number;
  #left: number;
  #sinceMs: number | undefined;

  constructor(perSecond: number, burst: number) {
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#left = burst;
  }

  /** Takes one, if there is one. */
  take(nowMs: number): boolean {
    if (!this.allows(nowMs)) return false;
    this.#left -= 1;
    return true;
  }

  /** Whether there is one to take. */
  allows(nowMs: number): boolean {
    const elapsedMs = nowMs - (this.#sinceMs ?? nowMs);
    this.#sinceMs = nowMs;
    this.#left = Math.min(this.#burst, this.#left + (elapsedMs * this.#perSecond) / 1000);
    return this.#left >= 1;
  }
}
