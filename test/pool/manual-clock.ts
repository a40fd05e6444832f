/** A clock that stands still until a test moves it. */
import type { PoolClock } from '../../src/base/clock.js';

interface Timer {
  atMs: number;
  /** `undefined` for one that calls back once. */
  readonly intervalMs: number | undefined;
  readonly callback: () => void;
}

/** More calls back than that in one move are a loop that does not end. */
const MAX_CALLS = 100_000;

export class ManualClock implements PoolClock {
  #nowMs: number;
  /** How often a timer has called back. */
  calls = 0;
  readonly #timers = new Set<Timer>();

  /** @param startMs not zero, as that of a process is not */
  constructor(startMs = 1000) {
    this.#nowMs = startMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  /** Timers that are still to call back. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Time until the next timer; `undefined` without one. */
  get nextInMs(): number | undefined {
    const next = this.#next();
    return next === undefined ? undefined : next.atMs - this.#nowMs;
  }

  after(delayMs: number, callback: () => void): () => void {
    if (delayMs === Number.POSITIVE_INFINITY) return () => {};
    return this.#arm({
      atMs: this.#nowMs + Math.max(0, delayMs),
      intervalMs: undefined,
      callback,
    });
  }

  every(intervalMs: number, callback: () => void): () => void {
    return this.#arm({ atMs: this.#nowMs + intervalMs, intervalMs, callback });
  }

  /** Time passes: timers call back in order, each after the promises that the one before has settled. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    await settled();
    for (let calls = 0; ; calls += 1) {
      const timer = this.#next();
      if (timer === undefined || timer.atMs > endMs) break;
      if (calls >= MAX_CALLS) throw new Error('timers without an end');
      this.#nowMs = Math.max(this.#nowMs, timer.atMs);
      this.#fire(timer);
      await settled();
    }
    this.#nowMs = endMs;
  }

  /** Time passes while the thread stands still: what is due calls back at the next move. */
  stall(ms: number): void {
    this.#nowMs += ms;
  }

  #arm(timer: Timer): () => void {
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  #next(): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers)
      if (next === undefined || timer.atMs < next.atMs) next = timer;
    return next;
  }

  #fire(timer: Timer): void {
    if (timer.intervalMs === undefined) this.#timers.delete(timer);
    else timer.atMs = this.#nowMs + timer.intervalMs;
    this.calls += 1;
    timer.callback();
  }
}

/** Everything that promises have set going is done. */
export function settled(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
