/**
 * A token bucket: a rate for each second, and a bound on bursts. Pure: callers bring the clock. Several may share one, and a time
 * that is earlier than one before gives nothing and takes nothing.
 */
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

  /** Takes a token. @returns false where there is none */
  take(nowMs: number): boolean {
    if (!this.allows(nowMs)) return false;
    this.#left -= 1;
    return true;
  }

  /** Whether there is a token. */
  allows(nowMs: number): boolean {
    const elapsedMs = Math.max(0, nowMs - (this.#sinceMs ?? nowMs));
    this.#sinceMs = this.#sinceMs === undefined ? nowMs : this.#sinceMs + elapsedMs;
    this.#left = Math.min(this.#burst, this.#left + (elapsedMs * this.#perSecond) / 1000);
    return this.#left >= 1;
  }
}
