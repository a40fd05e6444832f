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
  /** How many of them may be of one node, so that none can keep the others out. Default: all. */
  readonly maxNoncesPerNode?: number | undefined;
}

/** The limits of a node: 30 seconds, 100,000 nonces, 25,000 of them of one dialer. */
export const DEFAULT_REPLAY_GUARD = {
  windowMs: 30_000,
  maxNonces: 100_000,
  maxNoncesPerNode: 25_000,
} as const satisfies ReplayGuardOptions;

/** Only `fresh` lets a handshake through; `full` says that too many nonces are remembered to judge. */
export type ReplayVerdict = 'fresh' | 'replayed' | 'outsideWindow' | 'full';

/** Tells a fresh nonce from a replayed one. Pure: the caller brings the clock. */
export class ReplayGuard {
  readonly #options: ReplayGuardOptions;
  #current = new Generation();
  #previous = new Generation();
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
   * @param nowMs the clock that timestamps are held against, which somebody may set
   * @param nodeId of the dialer, as its certificate proved
   * @param monotonicMs a clock that nobody sets, by which nonces grow old. Default: `nowMs`
   */
  check(
    nonce: Uint8Array,
    timestampMs: number,
    nowMs: number,
    nodeId: string,
    monotonicMs: number = nowMs,
  ): ReplayVerdict {
    const { windowMs, maxNonces, maxNoncesPerNode = maxNonces } = this.#options;
    if (Math.abs(nowMs - timestampMs) > windowMs) return 'outsideWindow';
    this.#turn(nowMs, monotonicMs);
    const key = asBuffer(nonce).toString('latin1');
    if (this.#current.has(key) || this.#previous.has(key)) return 'replayed';
    if (this.size >= maxNonces) return 'full';
    if (this.#current.of(nodeId) + this.#previous.of(nodeId) >= maxNoncesPerNode) return 'full';
    this.#current.add(key, nodeId, timestampMs);
    return 'fresh';
  }

  /**
   * A timestamp is accepted for at most two windows, from one ahead to one behind. So a generation lasts two windows,
   * and a nonce is kept for at least that long. A clock that is set forward makes no nonce old. One that is set back makes
   * old timestamps good again: a generation that has one within the window is kept.
   */
  #turn(nowMs: number, monotonicMs: number): void {
    if (monotonicMs < this.#turnAtMs) return;
    const { windowMs } = this.#options;
    const isOld = ({ latestMs }: Generation) => latestMs + windowMs < nowMs;
    if (!isOld(this.#previous)) return;
    const generationMs = 2 * windowMs;
    const idle = monotonicMs >= this.#turnAtMs + generationMs && isOld(this.#current);
    this.#previous = idle ? new Generation() : this.#current;
    this.#current = new Generation();
    this.#turnAtMs = monotonicMs + generationMs;
  }
}

/** Nonces of one period, and how many each node had. */
class Generation {
  readonly #nonces = new Set<string>();
  readonly #byNode = new Map<string, number>();
  /** The latest timestamp that one of them came with. */
  latestMs = Number.NEGATIVE_INFINITY;

  get size(): number {
    return this.#nonces.size;
  }

  has(nonce: string): boolean {
    return this.#nonces.has(nonce);
  }

  of(nodeId: string): number {
    return this.#byNode.get(nodeId) ?? 0;
  }

  add(nonce: string, nodeId: string, timestampMs: number): void {
    this.#nonces.add(nonce);
    this.latestMs = Math.max(timestampMs, this.latestMs);
    this.#byNode.set(nodeId, this.of(nodeId) + 1);
  }
}
