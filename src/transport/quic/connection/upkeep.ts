/**
 * When an open connection is to be maintained, and when its peer is to be asked for a datagram. What traffic does for a busy
 * connection has to be done for an idle one by the clock; but while no frame is sent and none arrives, nothing can have
 * changed, and there may be thousands of idle connections. So an idle one is left alone until its peer was silent for as long
 * as it may be. The questions of keep-alive and their answers leave it idle.
 *
 * Pure: times and counts in, decisions out.
 */
import type { Role } from '../../connection.js';

/** After so long a silence, a dialer that waits for answers asks the peer for a datagram. */
const AWAITING_MS = 1000;
/** The longest time between two looks at a connection with traffic. */
const MAX_LOOK_EVERY_MS = 1000;
/**
 * What is due by then is done at once, which costs less than waking up for each. Were all questions of a second asked at once, the
 * first answers would be read when the last question has left. That is later than answers are waited for, and each would be asked
 * for again.
 */
const MAX_QUESTIONS_EVERY_MS = 200;
/** How much later than the dialer an acceptor asks, as a factor. The dialer's question is a sign of life to it. */
const ACCEPTORS_PATIENCE = 1.5;

/** What an {@link Upkeep} is made for. */
export interface UpkeepLimits {
  readonly role: Role;
  readonly keepAliveMs: number;
  /** After so long a silence the connection is over; 0 is never. */
  readonly idleTimeoutMs: number;
}

/** What is known of a connection at one look. */
export interface UpkeepView {
  /** When a datagram of the peer last arrived. */
  readonly heardMs: number;
  /** Streams and frames so far, of both directions. */
  readonly activity: number;
  /** Whether this side, the dialer, waits for an answer. */
  readonly isAwaiting: boolean;
  /** Whether something is under way that needs looks without any traffic. */
  readonly isUnsettled: boolean;
}

/** What is due now. */
export interface UpkeepStep {
  /** Paths, connection IDs and the size of datagrams are to be looked after. */
  readonly maintains: boolean;
  /** The peer is to be asked for a datagram. */
  readonly asks: boolean;
  /** When the next look is due. */
  readonly nextMs: number;
}

/** Decides for one connection. Looks at busy connections fall together, at whole multiples of their interval. */
export class Upkeep {
  readonly #keepAliveMs: number;
  /** How long the peer may be silent. */
  readonly #patienceMs: number;
  readonly #lookEveryMs: number;
  readonly #questionsEveryMs: number;
  /** Whether no look is due soon: {@link wake} is to be called when there is something to look after. */
  #isResting = true;
  #maintainedMs: number;
  #activity = -1;

  constructor(limits: UpkeepLimits, nowMs: number) {
    this.#keepAliveMs = limits.keepAliveMs;
    this.#patienceMs = patienceMs(limits);
    this.#lookEveryMs = Math.min(limits.keepAliveMs / 2, MAX_LOOK_EVERY_MS);
    this.#questionsEveryMs = Math.min(limits.keepAliveMs / 10, MAX_QUESTIONS_EVERY_MS);
    this.#maintainedMs = nowMs;
  }

  /** Whether {@link wake} is due. */
  mustWake(activity: number, isUnsettled: boolean): boolean {
    return this.#isResting && (isUnsettled || activity !== this.#activity);
  }

  /** There is something to look after again. @returns when to look */
  wake(nowMs: number): number {
    this.#isResting = false;
    return this.#lookAfter(nowMs);
  }

  look(nowMs: number, { heardMs, activity, isAwaiting, isUnsettled }: UpkeepView): UpkeepStep {
    const patienceMs = isAwaiting ? Math.min(AWAITING_MS, this.#patienceMs) : this.#patienceMs;
    const asks = nowMs - heardMs >= patienceMs;
    const isBusy = asks || isAwaiting || isUnsettled || activity !== this.#activity;
    const maintains = isBusy && nowMs - this.#maintainedMs >= this.#keepAliveMs / 2;
    if (maintains) this.#maintainedMs = nowMs;
    this.#isResting = !isBusy;
    this.#activity = activity;
    const soonMs = this.#lookAfter(nowMs);
    return { maintains, asks, nextMs: isBusy ? soonMs : this.#roundUp(heardMs + this.#patienceMs) };
  }

  #lookAfter(nowMs: number): number {
    return (Math.floor(nowMs / this.#lookEveryMs) + 1) * this.#lookEveryMs;
  }

  #roundUp(atMs: number): number {
    return Math.ceil(atMs / this.#questionsEveryMs) * this.#questionsEveryMs;
  }
}

/** An acceptor's is longer, but leaves half of what the dialer's leaves of the idle timeout. */
function patienceMs({ role, keepAliveMs, idleTimeoutMs }: UpkeepLimits): number {
  if (role === 'dialer') return keepAliveMs;
  const longestMs = idleTimeoutMs > 0 ? (keepAliveMs + idleTimeoutMs) / 2 : Infinity;
  return Math.max(keepAliveMs, Math.min(ACCEPTORS_PATIENCE * keepAliveMs, longestMs));
}
