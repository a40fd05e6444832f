import { AsyncResource } from 'node:async_hooks';

/**
 * A timer for a deadline that moves with every datagram. A later deadline leaves the timer as it is; when it then fires too
 * early, it is set again. So arming it is a comparison most of the time.
 */
export class DeadlineTimer {
  readonly #onDeadline: () => void;
  /** The async context in which the timer was created. */
  readonly #asyncScope = new AsyncResource('quicmesh.DeadlineTimer');
  #timer: NodeJS.Timeout | undefined;
  #firesAtMs = 0;
  #deadlineMs = Number.POSITIVE_INFINITY;

  constructor(onDeadline: () => void) {
    this.#onDeadline = onDeadline;
  }

  /** Moves the deadline to `delayMs` from now; `null` is never. */
  arm(delayMs: number | null): void {
    if (delayMs === null) {
      this.#deadlineMs = Number.POSITIVE_INFINITY;
      return;
    }
    this.#deadlineMs = performance.now() + delayMs;
    if (this.#timer === undefined || this.#firesAtMs > this.#deadlineMs) this.#set();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#deadlineMs = Number.POSITIVE_INFINITY;
  }

  #set(): void {
    clearTimeout(this.#timer);
    this.#firesAtMs = this.#deadlineMs;
    // Node rounds delays down to whole milliseconds. Without one more, the timer would fire before the deadline.
    const delayMs = Math.ceil(this.#deadlineMs - performance.now()) + 1;
    this.#timer = setTimeout(() => this.#fired(), Math.max(1, delayMs));
  }

  #fired(): void {
    this.#timer = undefined;
    if (this.#deadlineMs === Number.POSITIVE_INFINITY) return;
    if (performance.now() < this.#deadlineMs) {
      // In a context of its own: else a quiet connection would keep the context of whoever armed it, from timer to timer.
      this.#asyncScope.runInAsyncScope(this.#set, this);
      return;
    }
    this.#deadlineMs = Number.POSITIVE_INFINITY;
    this.#onDeadline();
  }
}
