/** When to dial again. */

/** How long pauses between dials are. */
export interface BackoffLimits {
  /** The first delay is a random part of this; the bound doubles for each further delay. */
  readonly minDelayMs: number;
  readonly maxDelayMs: number;
  /** A connection that lived this long resets the delays: the next one is a first one again. */
  readonly stableMs: number;
}

export const DEFAULT_BACKOFF: BackoffLimits = {
  minDelayMs: 100,
  maxDelayMs: 30_000,
  stableMs: 60_000,
};

/** The bound of which the pause after a failure is a random part. @param failures in a row before this one */
export function delayCeilingMs(
  { minDelayMs, maxDelayMs }: Pick<BackoffLimits, 'minDelayMs' | 'maxDelayMs'>,
  failures: number,
): number {
  return Math.min(maxDelayMs, minDelayMs * 2 ** failures);
}

/** How long to leave a peer alone that has refused this side for a reason that will not pass by itself. */
export const REFUSED_DELAY_MS = 60_000;
/** The longest pause while calls wait for the peer. */
const EAGER_DELAY_MS = 500;

/** How long to wait until the next dial. */
export interface Delay {
  readonly patientMs: number;
  /** The wait while calls wait for the peer. Never longer than the other one. */
  readonly eagerMs: number;
}

/**
 * How long to wait before the next dial: exponential backoff with full jitter, so that nodes that lost the same peer do
 * not come back in step. Pure: clock and chance come with each call.
 */
export class Backoff {
  readonly #limits: BackoffLimits;
  #attempts = 0;
  /** When the peer was connected; `undefined` while it is not. */
  #connectedAtMs: number | undefined;

  constructor(limits: BackoffLimits) {
    this.#limits = limits;
  }

  /** A dial has failed. @param chance from 0 up to 1 */
  failed(chance: number): Delay {
    const ceilingMs = delayCeilingMs(this.#limits, this.#attempts);
    // At this point further doubling changes nothing any more.
    if (ceilingMs < this.#limits.maxDelayMs) this.#attempts += 1;
    return { patientMs: chance * ceilingMs, eagerMs: chance * Math.min(ceilingMs, EAGER_DELAY_MS) };
  }

  /** The peer has refused this side for good: waiting calls do not shorten the pause. */
  refused(chance: number): Delay {
    const delayMs = REFUSED_DELAY_MS * (1 - chance / 2);
    return { patientMs: delayMs, eagerMs: delayMs };
  }

  /** A connection was made, the first or a further one. */
  connected(nowMs: number): void {
    this.#connectedAtMs ??= nowMs;
  }

  /** The last connection is lost. @returns undefined where that was known already: losses at one time count as one */
  lost(nowMs: number, chance: number): Delay | undefined {
    if (this.#connectedAtMs === undefined) return undefined;
    if (nowMs - this.#connectedAtMs >= this.#limits.stableMs) this.#attempts = 0;
    this.#connectedAtMs = undefined;
    return this.failed(chance);
  }
}
