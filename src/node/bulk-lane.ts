/** The connection to one peer that carries bulk transfers, so that calls share neither its queue nor its windows. */
import type { CallSession } from '../calls/session/session.js';
import type { TransferSource } from '../calls/transfers/resumable-transfer.js';
import type { MeshError } from '../errors.js';
import type { AcquireOptions } from '../pool/options.js';
import type { ConnectionPool } from '../pool/pool.js';
import type { Waiter } from '../pool/wait-queue.js';

/**
 * Takes transfers to the peer's bulk connection. It is dialed when the first transfer needs it, by either side, and the side that
 * dialed closes it once it is idle. Where there is none and none can be had now, a transfer takes a connection for calls.
 */
export class BulkLane implements TransferSource {
  readonly pool: ConnectionPool<CallSession>;
  readonly #calls: ConnectionPool<CallSession>;
  readonly #hasRoute: () => boolean;
  readonly #patienceMs: number;
  /** The last connection was lost, and the next one goes by another transport. */
  #isRerouted = false;

  /**
   * @param pool the bulk connections to the peer, dialed on demand
   * @param calls the connections for calls
   * @param options.hasRoute whether any transport is worth a dial now
   * @param options.patienceMs how long a transfer waits for a bulk connection before it takes one for calls
   */
  constructor(
    pool: ConnectionPool<CallSession>,
    calls: ConnectionPool<CallSession>,
    options: { readonly hasRoute: () => boolean; readonly patienceMs: number },
  ) {
    this.pool = pool;
    this.#calls = calls;
    this.#hasRoute = options.hasRoute;
    this.#patienceMs = options.patienceMs;
  }

  get isOpen(): boolean {
    return this.pool.isOpen || this.#calls.isOpen;
  }

  get mayConnect(): boolean {
    return this.pool.mayConnect || this.#calls.mayConnect;
  }

  get canDial(): boolean {
    return this.#calls.canDial;
  }

  get released(): AbortSignal {
    return this.#calls.released;
  }

  /** The connection for the next transfer; `undefined` where it is to wait for one. */
  select(): CallSession | undefined {
    return this.pool.select() ?? (this.#isWorthWaiting ? undefined : this.#calls.select());
  }

  /** From now on another transport is dialed, without the pause that follows a loss. */
  rerouted(): void {
    this.#isRerouted = true;
  }

  /** Queues a transfer for a bulk connection, or for one for calls where that cannot be had. */
  wait(waiter: Waiter<CallSession>): void {
    if (!this.#isWorthWaiting) {
      this.#calls.wait(waiter);
      return;
    }
    this.#begin();
    const latestMs = performance.now() + this.#patienceMs;
    this.pool.wait(new FallingBack(waiter, this.#calls, latestMs));
  }

  /** @throws MeshError as the pool for calls */
  async acquire(options: AcquireOptions): Promise<CallSession> {
    const { timeoutMs = Number.POSITIVE_INFINITY, signal } = options;
    const endMs = performance.now() + timeoutMs;
    if (this.#isWorthWaiting) {
      this.#begin();
      try {
        return await this.pool.acquire({
          timeoutMs: Math.min(timeoutMs, this.#patienceMs),
          signal,
        });
      } catch (thrown) {
        if (isOwnEnd(endMs, signal)) throw thrown;
      }
    }
    return this.#calls.acquire({ timeoutMs: endMs - performance.now(), signal });
  }

  /** Whether there is a bulk connection, or soon may be one. A peer that is not wanted any more is not dialed for one. */
  get #isWorthWaiting(): boolean {
    const { pool } = this;
    if (pool.isOpen || pool.mayConnect) return true;
    if (!this.#calls.isOpen && !this.#calls.mayConnect) return false;
    return (pool.isDialDue || (this.#isRerouted && pool.canDial)) && this.#hasRoute();
  }

  #begin(): void {
    this.#isRerouted = false;
    this.pool.begin();
  }
}

/** A transfer that waits for a bulk connection. If that cannot be had, it waits for one for calls. */
class FallingBack implements Waiter<CallSession> {
  readonly weight: number;
  readonly deadlineMs: number;
  readonly signal: AbortSignal | undefined;
  readonly #waiter: Waiter<CallSession>;
  readonly #calls: ConnectionPool<CallSession>;

  constructor(waiter: Waiter<CallSession>, calls: ConnectionPool<CallSession>, latestMs: number) {
    this.weight = waiter.weight;
    this.deadlineMs = Math.min(waiter.deadlineMs, latestMs);
    this.signal = waiter.signal;
    this.#waiter = waiter;
    this.#calls = calls;
  }

  accepts(session: CallSession): boolean {
    return session.isOpen && this.#waiter.accepts(session);
  }

  start(session: CallSession): void {
    this.#waiter.start(session);
  }

  fail(error: MeshError): void {
    if (isOwnEnd(this.#waiter.deadlineMs, this.signal)) this.#waiter.fail(error);
    else this.#calls.wait(this.#waiter);
  }
}

/** Whether the caller gave up, or had set a time that is over. */
function isOwnEnd(endMs: number, signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true || performance.now() >= endMs;
}
