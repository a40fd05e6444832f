/**
 * Many deadlines behind one timer. A timer for each of a thousand idle connections would wake the process for every one of
 * them; here it wakes for the next deadline, and whatever is due by then is done at once.
 */
import { AsyncResource } from 'node:async_hooks';
import { type PoolClock, SYSTEM_CLOCK } from './clock.js';
import { DeadlineHeap, type Scheduled } from './deadline-heap.js';

/** The least time until the timer fires. */
const MIN_DELAY_MS = 1;
/** The system's timers round down to whole milliseconds, and count from when the turn of the event loop began. */
const SYSTEM_LAG_MS = 1;

/** Rings {@link Alarm}s in the order of their deadlines. Keeps no process alive. */
export class Alarms {
  readonly #clock: PoolClock;
  readonly #lagMs: number;
  readonly #heap = new DeadlineHeap<Alarm>();
  /** The async context of its creation: else the timer would keep that of whoever armed it, from deadline to deadline. */
  readonly #home = new AsyncResource('quicmesh.Alarms');
  #firesAtMs = Number.POSITIVE_INFINITY;
  #stopTimer: (() => void) | undefined;
  /** The time of the alarms that ring now. */
  #ringingMs = Number.NEGATIVE_INFINITY;

  constructor(clock: PoolClock = SYSTEM_CLOCK) {
    this.#clock = clock;
    this.#lagMs = clock === SYSTEM_CLOCK ? SYSTEM_LAG_MS : 0;
  }

  /** The present time on the clock of the deadlines. */
  get nowMs(): number {
    return this.#clock.nowMs();
  }

  /** @internal For alarms. Rings it then, at the soonest after those that ring now. */
  schedule(alarm: Alarm, atMs: number): void {
    this.#heap.set(alarm, atMs > this.#ringingMs ? atMs : this.#ringingMs + MIN_DELAY_MS);
    this.#arm();
  }

  /** @internal For alarms. */
  forget(alarm: Alarm): void {
    this.#heap.delete(alarm);
    if (this.#heap.size === 0) this.#disarm();
  }

  #arm(): void {
    const { nextMs } = this.#heap;
    if (nextMs >= this.#firesAtMs || this.#ringingMs !== Number.NEGATIVE_INFINITY) return;
    this.#disarm();
    this.#firesAtMs = nextMs;
    const delayMs = Math.ceil(nextMs - this.#clock.nowMs()) + this.#lagMs;
    this.#stopTimer = this.#home.runInAsyncScope(() =>
      this.#clock.every(Math.max(MIN_DELAY_MS, delayMs), this.#ring),
    );
  }

  #disarm(): void {
    this.#stopTimer?.();
    this.#stopTimer = undefined;
    this.#firesAtMs = Number.POSITIVE_INFINITY;
  }

  readonly #ring = (): void => {
    this.#disarm();
    const nowMs = this.#clock.nowMs();
    this.#ringingMs = nowMs;
    try {
      for (let next = this.#heap.take(nowMs); next !== undefined; next = this.#heap.take(nowMs)) {
        next.ring(nowMs);
      }
    } finally {
      this.#ringingMs = Number.NEGATIVE_INFINITY;
      this.#arm();
    }
  };
}

/**
 * One deadline, which may move as often as it likes: a later one leaves the alarm at its place, and when that comes too early,
 * it is set again. So moving it with every datagram is a comparison.
 */
export class Alarm implements Scheduled {
  scheduledMs = Number.POSITIVE_INFINITY;
  heapIndex = -1;
  readonly #alarms: Alarms;
  readonly #onDeadline: (nowMs: number) => void;
  #deadlineMs = Number.POSITIVE_INFINITY;

  constructor(alarms: Alarms, onDeadline: (nowMs: number) => void) {
    this.#alarms = alarms;
    this.#onDeadline = onDeadline;
  }

  /** The time at which it is to ring; infinite for none. */
  get deadlineMs(): number {
    return this.#deadlineMs;
  }

  /** Moves the deadline, on the clock of the alarms. Infinite is never. */
  set(deadlineMs: number): void {
    this.#deadlineMs = deadlineMs;
    if (deadlineMs < this.scheduledMs) this.#alarms.schedule(this, deadlineMs);
  }

  /** The same, as the time from now; `null` is never. */
  setIn(delayMs: number | null): void {
    this.set(delayMs === null ? Number.POSITIVE_INFINITY : this.#alarms.nowMs + delayMs);
  }

  /** Takes it off the line: nothing refers to it any more. */
  stop(): void {
    this.#deadlineMs = Number.POSITIVE_INFINITY;
    this.#alarms.forget(this);
  }

  /** @internal Its place in the line has come. */
  ring(nowMs: number): void {
    const deadlineMs = this.#deadlineMs;
    if (deadlineMs > nowMs) {
      if (deadlineMs !== Number.POSITIVE_INFINITY) this.#alarms.schedule(this, deadlineMs);
      return;
    }
    this.#deadlineMs = Number.POSITIVE_INFINITY;
    this.#onDeadline(nowMs);
  }
}
