/** Whether bulk data shares its connection with calls that it could keep waiting. Pure. */

/** Calls further apart, such as heartbeats, do not slow down bulk data between them. */
const LASTS_MS = 1000;

/**
 * Knows whether bulk data shares its connection with calls that it could keep waiting. Pure: the clock comes with each
 * question.
 */
export class Contention {
  #isNoted = false;
  #notedMs = Number.NEGATIVE_INFINITY;

  /** Something other than bulk data was sent. Takes no time, so that a small call need not look at the clock. */
  note(): void {
    this.#isNoted = true;
  }

  /** Whether anything other than bulk data was sent lately. */
  isAt(nowMs: number): boolean {
    if (this.#isNoted) {
      this.#isNoted = false;
      this.#notedMs = nowMs;
    }
    return nowMs - this.#notedMs < LASTS_MS;
  }
}
