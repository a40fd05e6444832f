/** Whether a connection is still alive. */

/** How long a silence may last. */
export interface HealthLimits {
  /** While answers are due, a silence of this length makes this side ask. Each further such silence is a miss. */
  readonly intervalMs: number;
  /** The number of misses after which the connection is dead. From the first miss on it is suspect. */
  readonly misses: number;
  /** While no answers are due, this side asks only after a silence of this length. */
  readonly idleIntervalMs: number;
}

export const DEFAULT_HEALTH: HealthLimits = { intervalMs: 500, misses: 3, idleIntervalMs: 15_000 };

export type Verdict = 'healthy' | 'suspect' | 'dead';

/** What is known of a connection at one look. */
export interface HealthView {
  /** When bytes of the peer last arrived. */
  readonly lastReceivedMs: number;
  /** Whether answers are due. */
  readonly isAwaiting: boolean;
  /** How long the question may be under way behind what was sent before it, on a slow link that keeps the order. */
  readonly aheadMs: number;
  /** Whether nobody needs to look while no answer is due: this side would know of a call that begins. */
  readonly mayRest: boolean;
}

export interface HealthStep {
  readonly verdict: Verdict;
  /** Whether to ask the peer for a sign of life now. */
  readonly asks: boolean;
  /** In how long the next look is due, at the latest. */
  readonly nextInMs: number;
}

/** How often a connection is looked at in each interval, unless it may rest. */
const LOOKS_PER_INTERVAL = 2;

/** The time between two looks at a connection that may not rest. */
export function lookEveryMs({ intervalMs }: Pick<HealthLimits, 'intervalMs'>): number {
  return intervalMs / LOOKS_PER_INTERVAL;
}

/**
 * Judges whether one connection is alive. Any byte of the peer is a sign of life. After a silence the peer is asked for
 * one. While that brings nothing it is asked again; the connection is suspect first, and then dead.
 *
 * Pure: the clock comes with each call.
 */
export class Health {
  readonly #limits: HealthLimits;
  #lookedAtMs: number;
  #receivedMs: number;
  /**
   * Silence counts only while this side could listen: where its own thread was blocked, the peer's bytes may wait
   * unread.
   */
  #silentMs = 0;
  /** The part of the last look's silence that does not count yet. */
  #unreadMs = 0;
  /** The silence at which the peer was asked, and the extra time allowed; `undefined` while it is not asked. */
  #asked: { readonly silentMs: number; readonly aheadMs: number } | undefined;
  /** For so long nobody had to look: that time was no block of the thread. */
  #restMs = 0;

  constructor(limits: HealthLimits, nowMs: number) {
    this.#limits = limits;
    this.#lookedAtMs = nowMs;
    this.#receivedMs = nowMs;
  }

  /** To be called once the time that the last look gave is over; earlier looks do no harm. */
  look(nowMs: number, view: HealthView): HealthStep {
    const { lastReceivedMs, isAwaiting, aheadMs, mayRest } = view;
    const { intervalMs, idleIntervalMs } = this.#limits;
    const countedMs = this.#pass(nowMs);
    if (lastReceivedMs > this.#receivedMs) {
      this.#receivedMs = lastReceivedMs;
      this.#silentMs = Math.max(0, Math.min(nowMs - lastReceivedMs, intervalMs));
      this.#unreadMs = 0;
      this.#asked = undefined;
    } else {
      this.#silentMs += countedMs;
    }
    const soonMs = lookEveryMs(this.#limits);
    this.#restMs = 0;
    if (this.#asked !== undefined) {
      return { verdict: this.#verdict(this.#asked), asks: false, nextInMs: soonMs };
    }
    const leftMs = (isAwaiting ? intervalMs : idleIntervalMs) - this.#silentMs;
    const asks = leftMs <= 0;
    if (asks) this.#asked = { silentMs: this.#silentMs, aheadMs };
    else if (mayRest && !isAwaiting && leftMs > soonMs) this.#restMs = leftMs;
    return { verdict: 'healthy', asks, nextInMs: Math.max(soonMs, this.#restMs) };
  }

  /** The peer could not be asked. */
  askFailed(): void {
    this.#asked = undefined;
  }

  /** @returns the time since the last look that counts as silence if nothing was heard */
  #pass(nowMs: number): number {
    const { intervalMs } = this.#limits;
    const passedMs = Math.max(0, nowMs - this.#lookedAtMs);
    const plannedMs = this.#restMs + intervalMs;
    const countedMs = Math.min(passedMs, plannedMs) + this.#unreadMs;
    // After a block of the thread, timers run before sockets are read. The peer's bytes are seen only at the next look.
    this.#unreadMs = passedMs > plannedMs ? intervalMs : 0;
    this.#lookedAtMs = nowMs;
    return countedMs - this.#unreadMs;
  }

  #verdict({ silentMs, aheadMs }: { silentMs: number; aheadMs: number }): Verdict {
    const { intervalMs, misses } = this.#limits;
    const missed = Math.floor((this.#silentMs - silentMs - aheadMs) / intervalMs);
    if (missed >= misses) return 'dead';
    return missed >= 1 ? 'suspect' : 'healthy';
  }
}
