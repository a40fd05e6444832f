/**
 * Remembers the nonces seen within the timestamp window, so that a recorded handshake is worthless. SPEC.md, "Handshake".
 *
 * There are two generations of a set. A nonce lives for one to two generations, and to start a new one is one assignment.
 */
import { asBuffer } from '../base/buffers.js';

/** The limits of a {@link ReplayGuard}. */
export interface ReplayGuardOptions {
  /** How far a timestamp may be from this side's clock, either way, in milliseconds. */
  readonly windowMs: number;
  /** The largest number of nonces kept. */
  readonly maxNonces: number;
}

/** The limits of a node: 30 seconds, 100,000 nonces. */
export const DEFAULT_REPLAY_GUARD: ReplayGuardOptions = { windowMs: 30_000, maxNonces: 100_000 };

/** Only `fresh` lets a handshake through; `full` says that too many nonces are remembered to judge. */
export type ReplayVerdict = 'fresh' | 'replayed' | 'outsideWindow' | 'full';

/** Tells a fresh nonce from a replayed one. Pure: the caller brings the clock. */
export class ReplayGuard {
  readonly #options: ReplayGuardOptions;
  #current = new Set<string>();
  #previous = new Set<string>();
  #turnAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: ReplayGuardOptions = DEFAULT_REPLAY_GUARD) {
    this.#options = options;
  }

  /** Nonces held now. */
  get size(): number {
    return this.#current.size + this.#previous.size;
  }

  /**
   * Judges a nonce and, if it is fresh, remembers it. A full guard refuses and does not forget: otherwise a flood
   * of fresh nonces could make it forget one, and allow its replay.
   */
  check(nonce: Uint8Array, timestampMs: number, nowMs: number): ReplayVerdict {
    const { windowMs, maxNonces } = this.#options;
    if (Math.abs(nowMs - timestampMs) > windowMs) return 'outsideWindow';
    this.#turn(nowMs);
    const key = asBuffer(nonce).toString('latin1');
    if (this.#current.has(key) || this.#previous.has(key)) return 'replayed';
    if (this.size >= maxNonces) return 'full';
    this.#current.add(key);
    return 'fresh';
  }

  /**
   * A timestamp is accepted for at most two windows, from one ahead to one behind. So a generation lasts two windows,
   * and a nonce is kept for at least that long.
   */
  #turn(nowMs: number): void {
    if (nowMs < this.#turnAtMs) return;
    const generationMs = 2 * this.#options.windowMs;
    const idle = nowMs >= this.#turnAtMs + generationMs;
    this.#previous = idle ? new Set() : this.#current;
    this.#current = new Set();
    this.#turnAtMs = nowMs + generationMs;
  }
}
