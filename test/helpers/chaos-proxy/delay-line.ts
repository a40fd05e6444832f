/**
 * Does things at their time, in the order of their times, with one timer for all. Never early; on an idle machine
 * late by up to 1 ms, because the timers of Node.js count whole milliseconds.
 */

interface Due {
  readonly atMs: number;
  readonly run: () => void;
}

/** What is done is cut off the list when it is so long, or all that there is. */
const TRIM_AT = 1024;

export class DelayLine {
  #waiting: Due[] = [];
  #head = 0;
  #timer: NodeJS.Timeout | undefined;
  #firesAtMs = Number.POSITIVE_INFINITY;

  /** @param atMs on the clock of `performance.now()`; of equal times the first comes first */
  schedule(atMs: number, run: () => void): void {
    // Most are the last to be due.
    let at = this.#waiting.length;
    while (at > this.#head && (this.#waiting[at - 1] as Due).atMs > atMs) at -= 1;
    this.#waiting.splice(at, 0, { atMs, run });
    if (atMs < this.#firesAtMs) this.#arm(atMs);
  }

  /** Forgets what is waiting. */
  clear(): void {
    this.#waiting = [];
    this.#head = 0;
    clearTimeout(this.#timer);
    this.#firesAtMs = Number.POSITIVE_INFINITY;
  }

  #arm(atMs: number): void {
    clearTimeout(this.#timer);
    this.#firesAtMs = atMs;
    this.#timer = setTimeout(() => this.#fire(), Math.max(1, Math.ceil(atMs - performance.now())));
  }

  #fire(): void {
    this.#firesAtMs = Number.POSITIVE_INFINITY;
    let next = this.#waiting[this.#head];
    for (; next !== undefined && next.atMs <= performance.now(); next = this.#waiting[this.#head]) {
      this.#head += 1;
      next.run();
    }
    if (next === undefined || this.#head >= TRIM_AT) {
      this.#waiting = this.#waiting.slice(this.#head);
      this.#head = 0;
    }
    if (next !== undefined && next.atMs < this.#firesAtMs) this.#arm(next.atMs);
  }
}
