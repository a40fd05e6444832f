/**
 * The transfers that peers may resume, by peer and id. One handler at a time serves each, and what the next attempt needs to
 * know is kept for a while. SPEC.md, "Transfers".
 */
import { MeshError } from '../../errors.js';
import type { TransferMemory } from './incoming-transfer.js';

/** Transfers that a node remembers, besides those being handled. */
export const MAX_REMEMBERED_TRANSFERS = 256;
/** How many of them may be of one peer, so that none can make the node forget those of others. */
export const MAX_REMEMBERED_OF_PEER = 64;
export const TRANSFER_MEMORY_MS = 5 * 60_000;

/** One attempt at a transfer. Its methods do not throw. */
export interface TransferTurn {
  /** No other handler serves the transfer now. Called once at most. */
  start(memory: TransferMemory | undefined): void;
  /** A newer attempt has come. `leave` must follow once the handler is done. */
  cancel(error: MeshError): void;
}

interface Entry {
  readonly peer: string;
  running: TransferTurn | undefined;
  /** Starts when the running one has left. */
  next: TransferTurn | undefined;
  memory: TransferMemory | undefined;
  leftMs: number;
}

/** Gives attempts at the same transfer their turns, and remembers how far interrupted ones had come. */
export class ResumedTransfers {
  /** By peer and id. Idle ones are in order of their end. */
  readonly #entries = new Map<string, Entry>();
  /** The keys of the idle ones of each peer, in the same order. */
  readonly #idleOf = new Map<string, Set<string>>();
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
  enter(peer: string, id: string, turn: TransferTurn): void {
    this.#forgetOld();
    const key = keyOf(peer, id);
    const entry = this.#entries.get(key);
    if (entry?.running === undefined) {
      if (entry !== undefined) this.#isNotIdle(key, entry);
      const { memory } = entry ?? {};
      this.#entries.set(key, { peer, running: turn, next: undefined, memory, leftMs: 0 });
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
  leave(peer: string, id: string, turn: TransferTurn, memory: TransferMemory | undefined): void {
    const key = keyOf(peer, id);
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
    this.#isIdle(key, entry);
    this.#forgetOld();
  }

  #isIdle(key: string, { peer }: Entry): void {
    const keys = this.#idleOf.get(peer) ?? new Set();
    this.#idleOf.set(peer, keys);
    keys.add(key);
    this.#idle += 1;
    const [oldest] = keys;
    if (keys.size > MAX_REMEMBERED_OF_PEER && oldest !== undefined) this.#forget(oldest);
  }

  #isNotIdle(key: string, { peer }: Entry): void {
    const keys = this.#idleOf.get(peer);
    keys?.delete(key);
    if (keys?.size === 0) this.#idleOf.delete(peer);
    this.#idle -= 1;
  }

  #forget(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#isNotIdle(key, entry);
  }

  #forgetOld(): void {
    const oldestMs = this.#nowMs() - TRANSFER_MEMORY_MS;
    for (const [key, { running, leftMs }] of this.#entries) {
      if (running !== undefined) continue;
      if (this.#idle <= MAX_REMEMBERED_TRANSFERS && leftMs >= oldestMs) return;
      this.#forget(key);
    }
  }
}

/** A node id has no blank. */
function keyOf(peer: string, id: string): string {
  return `${peer} ${id}`;
}
