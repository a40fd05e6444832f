/** When to dial again. */

/** How long pauses between dials are. */
export interface BackoffLimits {
  /** The first delay is up to so long; each further one up to twice as long. */
  readonly minDelayMs: number;
  readonly maxDelayMs: number;
  /** A connection that lived so long makes the next delay the first again. */
  readonly stableMs: number;
}

export const DEFAULT_BACKOFF: BackoffLimits = {
  minDelayMs: 100,
  maxDelayMs: 30_000,
  stableMs: 60_000,
};

/** What the pause after a failure is a random part of. @param failures those before it, in a row */
export function delayCeilingMs(
  { minDelayMs, maxDelayMs }: Pick<BackoffLimits, 'minDelayMs' | 'maxDelayMs'>,
  failures: number,
): number {
  return Math.min(maxDelayMs, minDelayMs * 2 ** failures);
}

/** How long to leave a peer alone that has turned this side away for a reason that does not pass by itself. */
export const REFUSED_DELAY_MS = 60_000;
/** While calls wait for the peer, nobody waits longer. */
const EAGER_DELAY_MS = 500;

/** How long to wait until the next dial. */
export interface Delay {
  readonly patientMs: number;
  /** While calls wait; never longer than the other. */
  readonly eagerMs: number;
}

/**
 * How long to wait before the next dial: exponential backoff with full jitter, so that nodes that lost the same peer do
 * not come back in step. Pure: clock and chance come with each call.
 */
export class Backoff {
  readonly #limits: BackoffLimits;
  #attempts = 0;
  /** Since when the peer is connected; `undefined` while it is not. */
  #connectedAtMs: number | undefined;

  constructor(limits: BackoffLimits) {
    this.#limits = limits;
  }

  /** A dial has failed. @param chance from 0 up to 1 */
  failed(chance: number): Delay {
    const ceilingMs = delayCeilingMs(this.#limits, this.#attempts);
    // Beyond, doubling changes nothing any more.
    if (ceilingMs < this.#limits.maxDelayMs) this.#attempts += 1;
    return { patientMs: chance * ceilingMs, eagerMs: chance * Math.min(ceilingMs, EAGER_DELAY_MS) };
  }

  /** The peer has turned this side away for good: calls that wait hasten nothing. */
  refused(chance: number): Delay {
    const delayMs = REFUSED_DELAY_MS * (1 - chance / 2);
    return { patientMs: delayMs, eagerMs: delayMs };
  }

  /** There is a connection, the first or one more. */
  connected(nowMs: number): void {
    this.#connectedAtMs ??= nowMs;
  }

  /** The last connection is lost. @returns undefined where that is known: those that are lost at once count as one */
  lost(nowMs: number, chance: number): Delay | undefined {
    if (this.#connectedAtMs === undefined) return undefined;
    if (nowMs - this.#connectedAtMs >= this.#limits.stableMs) this.#attempts = 0;
    this.#connectedAtMs = undefined;
    return this.failed(chance);
  }
}
