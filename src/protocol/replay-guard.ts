/**
 * Nonces seen within the timestamp window: what makes a recorded handshake worthless. SPEC.md, "Handshake".
 *
 * Two generations of a set: a nonce lives for one to two windows, and turning a generation is one assignment.
 */
import { asBuffer } from '../base/buffers.js';

/** The limits of a {@link ReplayGuard}. */
export interface ReplayGuardOptions {
  /** How far a timestamp may be from this side's clock, either way, in milliseconds. */
  readonly windowMs: number;
  /** Nonces kept at most. */
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
   * Judges a nonce and, if it is fresh, remembers it. When the guard is full it refuses rather than forgets:
   * forgetting early would let a flood of fresh nonces open the door to a replay.
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
   * A timestamp is accepted for two windows at most (from one ahead to one behind), so a generation lasts two
   * windows and a nonce is kept for at least that long.
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
