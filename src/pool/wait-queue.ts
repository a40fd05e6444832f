/** Who waits for a connection. */

import { cancelledError, offAbort, onAbort } from '../base/abortable.js';
import { type PoolClock, SYSTEM_CLOCK } from '../base/clock.js';
import { MeshError } from '../errors.js';

/** Who waits for a connection. Its methods do not throw. */
export interface Waiter<M> {
  /** What it adds to the queue, such as the bytes of a message that it holds. */
  readonly weight: number;
  /** On the queue's clock; infinite for none. */
  readonly deadlineMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Whether this connection will do. */
  accepts(member: M): boolean;
  /** The wait is over. Called once, unless `fail` is. */
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
  readonly #waiting = new Map<Waiter<M>, () => void>();
  #weight = 0;
  /** Why there is no connection, as far as it is known: the cause of a deadline that passes. */
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

  /** Where there is no room the waiter fails with Overloaded; where its time is up or its signal has fired, with that. */
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

  /** Starts whoever this connection will do for. */
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

  /** @returns what ends the watch over time and signal */
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
