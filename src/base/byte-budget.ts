/**
 * Limits bytes that are held for somebody, and lets whoever needs more wait until there is room. Pure.
 *
 * Budgets nest: what a connection holds counts against its peer's budget too, and that against the node's. A peer's limit is
 * a share of the node's, so that no peer can take what the others need. Bytes may be taken as soon as every budget that they
 * count against has any room left, even less than is taken: a message larger than what is left would otherwise be stuck. So a
 * budget is exceeded by one message at most, and by the reserve for urgent calls.
 */

import { MeshError } from '../errors.js';
import { LazySet } from './lazy-collections.js';
import { Line, Place } from './line.js';

/** What held bytes are taken from before they are held, and given back to. Its methods do not throw. */
export interface ByteAccount {
  /** Whether more may be taken now. */
  readonly hasRoom: boolean;
  take(bytes: number): void;
  give(bytes: number): void;
}

/** Somebody who waits for room. One method is called once, unless `leave` ended the wait. Neither throws. */
export interface BudgetWaiter {
  /** There is room. */
  proceed(): void;
  /** There will be no room any more. */
  fail(error: MeshError): void;
}

/** More than this many waiters would not be served in any useful time. */
const MAX_WAITERS = 65_536;
/** Urgent calls may exceed the limit by this part of it, so that heartbeats go on while bulk has to wait. */
const URGENT_RESERVE = 1 / 4;

/** A limit for what several budgets hold together, besides the limit of each. Nobody who waits for room may wait for this. */
export class ByteTotal {
  readonly limitBytes: number;
  /** Counted by the budgets. */
  usedBytes = 0;

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  get hasRoom(): boolean {
    return this.usedBytes < this.limitBytes;
  }

  get hasUrgentRoom(): boolean {
    return this.usedBytes < this.limitBytes * (1 + URGENT_RESERVE);
  }
}

/** One limit of bytes in flight, with a queue of those who wait for room. */
export class ByteBudget implements ByteAccount {
  readonly limitBytes: number;
  readonly #urgentLimitBytes: number;
  readonly #parent: ByteBudget | undefined;
  readonly #total: ByteTotal | undefined;
  /** Made when the first one waits. A connection has several budgets, and most never have a waiter. */
  #waiting: Line<Place<BudgetWaiter>> | undefined;
  /** Where each of them stands. */
  #places: Map<BudgetWaiter, Place<BudgetWaiter>> | undefined;
  /** Child budgets that have room themselves, and waiters that wait for room in this one. */
  readonly #starved = new LazySet<ByteBudget>();
  #usedBytes = 0;

  /**
   * @param parent a budget that everything taken from this one also counts against
   * @param total what it counts against besides; only where nobody waits for room in this budget
   */
  constructor(limitBytes: number, parent?: ByteBudget, total?: ByteTotal) {
    this.limitBytes = limitBytes;
    this.#urgentLimitBytes = limitBytes * (1 + URGENT_RESERVE);
    this.#parent = parent;
    this.#total = total;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  get waiters(): number {
    return this.#waiting === undefined ? 0 : this.#waiting.size;
  }

  /** Whether a call may begin now: there is room, and nobody waits already. */
  get hasRoom(): boolean {
    return this.waiters === 0 && this.#isFree;
  }

  /** The same for a call that may be urgent. Urgent calls do not queue behind others. */
  hasRoomFor(isUrgent: boolean): boolean {
    return isUrgent ? this.#hasUrgentRoom : this.hasRoom;
  }

  /** Whether the budgets above this one have room, and be it that for urgent calls. */
  get hasSharedRoom(): boolean {
    return this.#parent === undefined || this.#parent.#hasUrgentRoom;
  }

  take(bytes: number): void {
    this.#usedBytes += bytes;
    if (this.#total !== undefined) this.#total.usedBytes += bytes;
    this.#parent?.take(bytes);
  }

  /** Gives back what was taken, and lets waiters proceed in order. */
  give(bytes: number): void {
    this.#usedBytes -= bytes;
    if (this.#total !== undefined) this.#total.usedBytes -= bytes;
    // First those that lack only this budget, then those that lack one above it too.
    if (this.waiters > 0 || this.#starved.size > 0) this.#serve();
    this.#parent?.give(bytes);
  }

  /** @throws MeshError Overloaded when too many wait */
  wait(waiter: BudgetWaiter): void {
    if (this.waiters >= MAX_WAITERS) {
      throw new MeshError('Overloaded', `${MAX_WAITERS} calls wait for others to end`);
    }
    this.#waiting ??= new Line();
    this.#places ??= new Map();
    if (!this.#places.has(waiter)) {
      const place = new Place(waiter);
      this.#places.set(waiter, place);
      this.#waiting.push(place);
    }
    this.#serve();
  }

  /** Fails all waiters: the connection is over. */
  failAll(error: MeshError): void {
    const waiters = this.#waiting === undefined ? [] : [...this.#waiting];
    this.#waiting?.clear();
    this.#places = undefined;
    if (this.#parent !== undefined) this.#parent.#starved.delete(this);
    for (const { item } of waiters) item.fail(error);
  }

  /** Ends a wait. Does nothing where it has ended already. */
  leave(waiter: BudgetWaiter): void {
    const place = this.#places?.get(waiter);
    if (place !== undefined) this.#remove(place);
  }

  #remove(place: Place<BudgetWaiter>): void {
    this.#waiting?.remove(place);
    this.#places?.delete(place.item);
  }

  get #hasUrgentRoom(): boolean {
    if (this.#usedBytes >= this.#urgentLimitBytes) return false;
    if (this.#total !== undefined && !this.#total.hasUrgentRoom) return false;
    return this.#parent === undefined || this.#parent.#hasUrgentRoom;
  }

  get #isFree(): boolean {
    if (this.#usedBytes >= this.limitBytes || this.#total?.hasRoom === false) return false;
    return this.#parent === undefined || this.#parent.#isFree;
  }

  /** Serves own waiters, then child budgets, each as far as there is room. One waiter of each in turn would be fairer still. */
  #serve(): void {
    for (let place = this.#waiting?.first; place !== undefined; place = this.#waiting?.first) {
      if (!this.#isFree) break;
      this.#remove(place);
      place.item.proceed();
    }
    for (const child of this.#starved) {
      if (!this.#isFree) break;
      this.#starved.delete(child);
      child.#serve();
    }
    if (this.waiters > 0 || this.#starved.size > 0) this.#askParent();
  }

  /** Has the parent serve this budget once it has room. A budget without room of its own asks when it gets some. */
  #askParent(): void {
    const parent = this.#parent;
    if (parent !== undefined && this.#usedBytes < this.limitBytes) parent.#starve(this);
  }

  #starve(child: ByteBudget): void {
    this.#starved.add(child);
    this.#askParent();
  }
}
