/**
 * Who may come in. Pure: counts and verdicts, no socket; the caller brings the clock.
 *
 * A client's first packet proves nothing, not even that its source address is its own. While few are half-open
 * that is risked, and a connection costs one round trip less; from a threshold on the client has to come back
 * with a token that was sent to that address (RFC 9000, section 8.1.2). So forged packets never take more than
 * the places below the threshold, and the others stay free for clients that are where they say.
 */
import {
  DEFAULT_HALF_OPEN_LIMITS,
  HalfOpenCount,
  type HalfOpenLimits,
} from '../../admission/half-open.js';

export interface DoorLimits extends HalfOpenLimits {
  /** `'auto'`: from the threshold on; `'always'`: at any time. */
  readonly retry: 'auto' | 'always';
  /**
   * So many half-open connections, or half of what a single source may have, bring Retry about. Those that were sent
   * a Retry count among them for a while, so that a flood is not let in again whenever the first have gone.
   */
  readonly retryThreshold: number;
}

/** Defaults: 1024, 64 and `'auto'`; for the threshold 64, or half of `maxHalfOpen` if that is less. */
export type DoorOptions = { readonly [K in keyof DoorLimits]?: DoorLimits[K] | undefined };

const DEFAULT_RETRY_THRESHOLD = 64;
/** As long as a forged packet would have kept its place. */
const SENT_AWAY_MS = 5000;

/** What becomes of a client's first packet; what is dropped, is dropped for the counter's reason. */
export type Verdict = 'accept' | 'retry' | 'droppedNotAccepting' | 'droppedSourceLimit';

export class Door {
  readonly #limits: DoorLimits;
  readonly #halfOpen = new HalfOpenCount();
  readonly #sentAway = new RecentCount(SENT_AWAY_MS);

  constructor(limits: DoorLimits) {
    this.#limits = limits;
  }

  /** Those that came in and have neither become connections nor gone. */
  get halfOpen(): number {
    return this.#halfOpen.total;
  }

  /**
   * @param isValidated the source address is the client's own, as a token shows
   * @param nowMs of a clock that never goes back
   */
  judge(source: string, isValidated: boolean, nowMs: number): Verdict {
    const { maxHalfOpen, maxHalfOpenPerSource } = this.#limits;
    if (this.#halfOpen.total >= maxHalfOpen) return 'droppedNotAccepting';
    if (!isValidated && this.#demandsToken(source, nowMs)) {
      this.#sentAway.add(nowMs);
      return 'retry';
    }
    if (this.#halfOpen.of(source) >= maxHalfOpenPerSource) return 'droppedSourceLimit';
    return 'accept';
  }

  /** One came in. */
  enter(source: string): void {
    this.#halfOpen.enter(source);
  }

  /** One of them became a connection, or is gone with all its memory. */
  leave(source: string): void {
    this.#halfOpen.leave(source);
  }

  /**
   * Of a single source only half of its places go to packets without a token: else whoever forges a peer's address
   * could keep that peer out.
   */
  #demandsToken(source: string, nowMs: number): boolean {
    const { retry, retryThreshold, maxHalfOpenPerSource } = this.#limits;
    return (
      retry === 'always' ||
      this.#halfOpen.total + this.#sentAway.at(nowMs) >= retryThreshold ||
      this.#halfOpen.of(source) >= Math.ceil(maxHalfOpenPerSource / 2)
    );
  }
}

/** How often something happened lately: within one to two periods. */
class RecentCount {
  readonly #periodMs: number;
  #current = 0;
  #previous = 0;
  #turnAtMs = Number.NEGATIVE_INFINITY;

  constructor(periodMs: number) {
    this.#periodMs = periodMs;
  }

  add(nowMs: number): void {
    this.#turn(nowMs);
    this.#current += 1;
  }

  at(nowMs: number): number {
    this.#turn(nowMs);
    return this.#current + this.#previous;
  }

  #turn(nowMs: number): void {
    if (nowMs < this.#turnAtMs) return;
    this.#previous = nowMs < this.#turnAtMs + this.#periodMs ? this.#current : 0;
    this.#current = 0;
    this.#turnAtMs = nowMs + this.#periodMs;
  }
}

/** Fills in defaults. A threshold that is not given leaves at least half of the places to clients with a token. */
export function resolveDoorLimits(given: DoorOptions): DoorLimits {
  const {
    maxHalfOpen = DEFAULT_HALF_OPEN_LIMITS.maxHalfOpen,
    maxHalfOpenPerSource = DEFAULT_HALF_OPEN_LIMITS.maxHalfOpenPerSource,
    retry = 'auto',
    retryThreshold = Math.min(DEFAULT_RETRY_THRESHOLD, Math.ceil(maxHalfOpen / 2)),
  } = given;
  return { maxHalfOpen, maxHalfOpenPerSource, retry, retryThreshold };
}
