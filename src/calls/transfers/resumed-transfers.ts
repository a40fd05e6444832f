/**
 * The transfers that peers may resume, by peer and id. One handler at a time serves each, and what the next attempt needs to
 * know is kept for a while. SPEC.md, "Transfers".
 */
import { MeshError } from '../../errors.js';
import type { TransferMemory } from './incoming-transfer.js';

/** Transfers that a node remembers, besides those being handled. */
export const MAX_REMEMBERED_TRANSFERS = 256;
export const TRANSFER_MEMORY_MS = 5 * 60_000;

/** One attempt at a transfer. Its methods do not throw. */
export interface TransferTurn {
  /** No other handler serves the transfer now. Called once at most. */
  start(memory: TransferMemory | undefined): void;
  /** A newer attempt has come. `leave` must follow once the handler is done. */
  cancel(error: MeshError): void;
}

interface Entry {
  running: TransferTurn | undefined;
  /** Starts when the running one has left. */
  next: TransferTurn | undefined;
  memory: TransferMemory | undefined;
  leftMs: number;
}

/** Gives attempts at the same transfer their turns, and remembers how far interrupted ones had come. */
export class ResumedTransfers {
  /** Idle ones are in order of their end. */
  readonly #entries = new Map<string, Entry>();
  readonly #nowMs: () => number;
  #idle = 0;

  /** @param nowMs a clock that does not go back */
  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /** Transfers that are known, including those under way. */
  get size(): number {
    return this.#entries.size;
  }

  /** Starts a turn: now, or after the turn before it, which is cancelled, has left. */
  enter(key: string, turn: TransferTurn): void {
    this.#forgetOld();
    const entry = this.#entries.get(key);
    if (entry?.running === undefined) {
      if (entry !== undefined) this.#idle -= 1;
      const { memory } = entry ?? {};
      this.#entries.set(key, { running: turn, next: undefined, memory, leftMs: 0 });
      turn.start(memory);
      return;
    }
    const error = new MeshError('Cancelled', 'the transfer was resumed by another call');
    const superseded = entry.next;
    entry.next = turn;
    superseded?.cancel(error);
    entry.running.cancel(error);
  }

  /**
   * A turn is over, or will not start any more.
   * @param memory for the next turn; `undefined` from a turn that did not start
   */
  leave(key: string, turn: TransferTurn, memory: TransferMemory | undefined): void {
    const entry = this.#entries.get(key);
    if (entry?.next === turn) entry.next = undefined;
    if (entry?.running !== turn) return;
    entry.memory = memory ?? entry.memory;
    const { next } = entry;
    entry.running = next;
    entry.next = undefined;
    if (next !== undefined) {
      next.start(entry.memory);
      return;
    }
    entry.leftMs = this.#nowMs();
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    this.#idle += 1;
    this.#forgetOld();
  }

  #forgetOld(): void {
    const oldestMs = this.#nowMs() - TRANSFER_MEMORY_MS;
    for (const [key, { running, leftMs }] of this.#entries) {
      if (running !== undefined) continue;
      if (this.#idle <= MAX_REMEMBERED_TRANSFERS && leftMs >= oldestMs) return;
      this.#entries.delete(key);
      this.#idle -= 1;
    }
  }
}
