/** Who waits for a connection. */

import { cancelledError, offAbort, onAbort } from '../base/abortable.js';
import { type PoolClock, SYSTEM_CLOCK } from '../base/clock.js';
import { LazyMap } from '../base/lazy-collections.js';
import { MeshError } from '../errors.js';

/** Somebody who waits for a connection. The methods do not throw. */
export interface Waiter<M> {
  /** How much it counts against the queue's limit, such as the bytes of its message. */
  readonly weight: number;
  /** On the queue's clock; infinite without a deadline. */
  readonly deadlineMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Whether the waiter can use this connection. */
  accepts(member: M): boolean;
  /** The wait is over. Either this or `fail` is called, once. */
  start(member: M): void;
  fail(error: MeshError): void;
}

/** How many may wait, and how much they may hold together. */
export interface WaitLimits {
  readonly maxWaiters: number;
  readonly maxWeight: number;
}

/**
 * Those who wait for a connection, in order. The queue is bounded in number and weight, and each waiter has a deadline
 * and a signal of its own. Every waiter that is added is started or failed, once.
 */
export class WaitQueue<M> {
  readonly #limits: WaitLimits;
  readonly #clock: PoolClock;
  readonly #waiting = new LazyMap<Waiter<M>, () => void>();
  #weight = 0;
  /** Why there is no connection, as far as known: the cause of a `DeadlineExceeded`. */
  lastFailure: MeshError | undefined;

  constructor(limits: WaitLimits, clock: PoolClock = SYSTEM_CLOCK) {
    this.#limits = limits;
    this.#clock = clock;
  }

  get size(): number {
    return this.#waiting.size;
  }

  get weight(): number {
    return this.#weight;
  }

  /** Adds a waiter. It fails at once with Overloaded where there is no room, DeadlineExceeded, or Cancelled. */
  add(waiter: Waiter<M>): void {
    const { signal } = waiter;
    if (signal?.aborted === true) {
      waiter.fail(cancelledError(signal));
      return;
    }
    if (waiter.deadlineMs <= this.#clock.nowMs()) {
      waiter.fail(this.#lateError());
      return;
    }
    const { maxWaiters, maxWeight } = this.#limits;
    if (this.#waiting.size >= maxWaiters || this.#weight + waiter.weight > maxWeight) {
      waiter.fail(new MeshError('Overloaded', 'too many calls wait for a connection'));
      return;
    }
    this.#weight += waiter.weight;
    this.#waiting.set(waiter, this.#watch(waiter));
  }

  /** Starts all waiters that can use this connection. */
  offer(member: M): void {
    for (const waiter of [...this.#waiting.keys()]) {
      if (waiter.accepts(member) && this.#remove(waiter)) waiter.start(member);
    }
  }

  failAll(error: MeshError): void {
    for (const waiter of [...this.#waiting.keys()]) {
      if (this.#remove(waiter)) waiter.fail(error);
    }
  }

  /** Watches a waiter's deadline and signal. @returns a function that stops this */
  #watch(waiter: Waiter<M>): () => void {
    const { signal, deadlineMs } = waiter;
    const giveUp = (fired: AbortSignal): void => {
      if (this.#remove(waiter)) waiter.fail(cancelledError(fired));
    };
    if (signal !== undefined) onAbort(signal, giveUp);
    const leftMs = deadlineMs - this.#clock.nowMs();
    const stopTimer = this.#clock.after(leftMs, () => this.#late(waiter));
    return () => {
      stopTimer();
      if (signal !== undefined) offAbort(signal, giveUp);
    };
  }

  #late(waiter: Waiter<M>): void {
    if (this.#remove(waiter)) waiter.fail(this.#lateError());
  }

  #lateError(): MeshError {
    const cause = this.lastFailure;
    const why = cause === undefined ? '' : `: ${cause.message}`;
    return new MeshError('DeadlineExceeded', `no connection in time${why}`, { cause });
  }

  #remove(waiter: Waiter<M>): boolean {
    const stopWatch = this.#waiting.get(waiter);
    if (stopWatch === undefined) return false;
    this.#waiting.delete(waiter);
    this.#weight -= waiter.weight;
    stopWatch();
    return true;
  }
}
