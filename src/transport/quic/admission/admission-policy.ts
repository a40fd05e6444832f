/**
 * Decides whether a client's Initial begins a connection, has to come back with a token, or is dropped. Pure: counts in,
 * verdicts out; the caller brings the clock.
 *
 * A client's first packet proves nothing, not even that its source address is its own. While few connections are
 * half-open, that risk is taken: it saves a round trip. From a threshold on, the client has to come back with a token
 * that was sent to its address (RFC 9000, section 8.1.2). So forged packets take no more places than the threshold has,
 * and the others stay free for clients that are where they say.
 */
import {
  DEFAULT_HALF_OPEN_LIMITS,
  HalfOpenCount,
  type HalfOpenLimits,
} from '../../admission/half-open.js';
import type { SilenceOptions } from '../../admission/knock-gate.js';
import { createSourceBudget, type SourceBudget } from '../../admission/source-budget.js';

/** What a handshake costs at most, the check of the dialer's certificates included. Milliseconds of work. */
export const HANDSHAKE_MS = 4;

/** How a listener treats peers that have not finished the TLS handshake. */
export interface AdmissionLimits extends HalfOpenLimits {
  /** `'auto'`: from the threshold on; `'always'`: at any time. */
  readonly retry: 'auto' | 'always';
  /**
   * Half-open connections from which on clients are sent a Retry; for a single source, half of its limit. Clients that
   * were sent a Retry count for a while, too: else a flood would be accepted again whenever the first of it have gone.
   */
  readonly retryThreshold: number;
}

/** Limits as users give them. */
export type AdmissionLimitOptions = {
  readonly [K in keyof AdmissionLimits]?: AdmissionLimits[K] | undefined;
};

/**
 * Whom a listener answers, and how many at once. Defaults of the limits: 1024, 64 and `'auto'`; for the threshold 64, or half of
 * `maxHalfOpen` if that is less.
 */
export interface AdmissionOptions extends AdmissionLimitOptions, SilenceOptions {}

const DEFAULT_RETRY_THRESHOLD = 64;
/** Until a Retry no longer counts: as long as a forged packet would have kept its place. */
const RETRIED_MS = 5000;

/** What becomes of a client's first packet. A drop is named by the counter that it raises. */
export type Verdict =
  | 'accept'
  | 'retry'
  | 'droppedNotAccepting'
  | 'droppedSourceLimit'
  | 'droppedSourceBudget';

/** Counts half-open connections and judges Initials by {@link AdmissionLimits}. */
export class AdmissionPolicy {
  readonly #limits: AdmissionLimits;
  readonly #halfOpen = new HalfOpenCount();
  readonly #retried = new RecentCount(RETRIED_MS);
  readonly #budget: SourceBudget;

  constructor(limits: AdmissionLimits) {
    this.#limits = limits;
    this.#budget = createSourceBudget(limits, HANDSHAKE_MS);
  }

  /** Connections whose handshake is under way. */
  get halfOpen(): number {
    return this.#halfOpen.total;
  }

  /**
   * @param isValidated whether a token proves that the source address is the client's own
   * @param nowMs on a monotonic clock
   * @param mustProve whether it has to be proved in any case
   */
  judge(source: string, isValidated: boolean, nowMs: number, mustProve = false): Verdict {
    const { maxHalfOpen, maxHalfOpenPerSource } = this.#limits;
    if (this.#halfOpen.total >= maxHalfOpen) return 'droppedNotAccepting';
    // It sends its Initial again in a second.
    if (this.#budget.waitMs(source, nowMs) > 0) return 'droppedSourceBudget';
    if (!isValidated && (mustProve || this.#demandsToken(source, nowMs))) {
      this.#retried.add(nowMs);
      return 'retry';
    }
    if (this.#halfOpen.of(source) >= maxHalfOpenPerSource) return 'droppedSourceLimit';
    return 'accept';
  }

  /** A half-open connection begins. */
  enter(source: string, nowMs: number): void {
    this.#halfOpen.enter(source);
    this.#budget.charge(source, HANDSHAKE_MS, nowMs);
  }

  /**
   * The handshake of one is done, or it is gone with all its memory. Call it once for every `enter`.
   * @param isTrusted whether it has led to a connection, and so was no waste
   */
  leave(source: string, isTrusted: boolean, nowMs: number): void {
    this.#halfOpen.leave(source);
    if (isTrusted) this.#budget.refund(source, HANDSHAKE_MS, nowMs);
  }

  /**
   * Packets without a token get only half of a source's places, and of its budget. Else whoever forges a peer's address could
   * lock that peer out.
   */
  #demandsToken(source: string, nowMs: number): boolean {
    const { retry, retryThreshold, maxHalfOpenPerSource } = this.#limits;
    return (
      retry === 'always' ||
      this.#halfOpen.total + this.#retried.at(nowMs) >= retryThreshold ||
      this.#halfOpen.of(source) >= Math.ceil(maxHalfOpenPerSource / 2) ||
      this.#budget.isHalfSpent(source, nowMs)
    );
  }
}

/** How often something happened lately: within the last one to two periods. */
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

/** Fills in defaults. The default threshold leaves at least half of the places to clients with a token. */
export function resolveAdmissionLimits(given: AdmissionLimitOptions): AdmissionLimits {
  const {
    maxHalfOpen = DEFAULT_HALF_OPEN_LIMITS.maxHalfOpen,
    maxHalfOpenPerSource = DEFAULT_HALF_OPEN_LIMITS.maxHalfOpenPerSource,
    retry = 'auto',
    retryThreshold = Math.min(DEFAULT_RETRY_THRESHOLD, Math.ceil(maxHalfOpen / 2)),
  } = given;
  return { maxHalfOpen, maxHalfOpenPerSource, retry, retryThreshold };
}
