/**
 * Bytes of calls under way: how many there are, and who waits until there are fewer. Pure.
 *
 * Budgets nest: what one connection has in flight counts for its node too. A call may begin while every budget that it
 * counts for has room, however little, so that a message larger than the rest is not stuck; a budget is so exceeded by
 * one message at most, and by the reserve of urgent calls.
 */

import { MeshError } from '../errors.js';

/** Who waits for room. One of its methods is called, once, unless it has left before. Neither throws. */
export interface BudgetWaiter {
  /** There is room. */
  proceed(): void;
  /** There will be none. */
  fail(error: MeshError): void;
}

/** More wait for nobody's good. */
const MAX_WAITERS = 65_536;
/** Urgent calls may use as much more, as a part of the limit: heartbeats go on where bulk has to wait. */
const URGENT_RESERVE = 1 / 4;

export class ByteBudget {
  readonly limitBytes: number;
  readonly #urgentLimitBytes: number;
  readonly #parent: ByteBudget | undefined;
  readonly #waiting = new Set<BudgetWaiter>();
  /** Budgets within this one whose waiters wait for room in this one. */
  readonly #starved = new Set<ByteBudget>();
  #usedBytes = 0;

  /** @param parent what is taken from this budget is taken from that one as well */
  constructor(limitBytes: number, parent?: ByteBudget) {
    this.limitBytes = limitBytes;
    this.#urgentLimitBytes = limitBytes * (1 + URGENT_RESERVE);
    this.#parent = parent;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  get waiters(): number {
    return this.#waiting.size;
  }

  /** Whether a call may begin now: there is room, and nobody was here before. */
  get hasRoom(): boolean {
    return this.#waiting.size === 0 && this.#isFree;
  }

  /** The same for a call that may be urgent: those wait behind nobody. */
  hasRoomFor(isUrgent: boolean): boolean {
    return isUrgent ? this.#hasUrgentRoom : this.hasRoom;
  }

  take(bytes: number): void {
    this.#usedBytes += bytes;
    this.#parent?.take(bytes);
  }

  /** Gives back what was taken; those who wait go on, in order. */
  give(bytes: number): void {
    this.#usedBytes -= bytes;
    // From the inside out: what waits for this budget alone is served by it.
    if (this.#waiting.size > 0) this.#grantWaiting();
    this.#parent?.give(bytes);
    if (this.#starved.size > 0) this.#grantStarved();
  }

  /** @throws MeshError Overloaded when too many wait */
  wait(waiter: BudgetWaiter): void {
    if (this.#waiting.size >= MAX_WAITERS) {
      throw new MeshError('Overloaded', `${MAX_WAITERS} calls wait for others to end`);
    }
    this.#waiting.add(waiter);
    this.#grantWaiting();
  }

  /** Nothing goes by this budget any more. */
  failAll(error: MeshError): void {
    const waiters = [...this.#waiting];
    this.#waiting.clear();
    if (this.#parent !== undefined) this.#parent.#starved.delete(this);
    for (const waiter of waiters) waiter.fail(error);
  }

  /** Ends a wait. Does nothing where it has ended. */
  leave(waiter: BudgetWaiter): void {
    this.#waiting.delete(waiter);
  }

  get #hasUrgentRoom(): boolean {
    if (this.#usedBytes >= this.#urgentLimitBytes) return false;
    return this.#parent === undefined || this.#parent.#hasUrgentRoom;
  }

  get #isFree(): boolean {
    return (
      this.#usedBytes < this.limitBytes && (this.#parent === undefined || this.#parent.#isFree)
    );
  }

  #grantWaiting(): void {
    for (const waiter of this.#waiting) {
      if (!this.#isFree) break;
      this.#waiting.delete(waiter);
      waiter.proceed();
    }
    const isStarved = this.#waiting.size > 0 && this.#usedBytes < this.limitBytes;
    if (isStarved && this.#parent !== undefined) this.#parent.#starved.add(this);
  }

  /** One waiter of each in turn would be fairer still; in turn by budget is fair enough. */
  #grantStarved(): void {
    for (const child of this.#starved) {
      if (!this.#isFree) return;
      this.#starved.delete(child);
      child.#grantWaiting();
    }
  }
}
