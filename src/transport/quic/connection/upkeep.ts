/**
 * When an open connection is to be maintained, and when its peer is to be asked for a datagram. What traffic does for a busy
 * connection has to be done for an idle one by the clock; but while nothing is sent and nothing arrives, nothing can have
 * changed, and there may be thousands of idle connections. So one without traffic is left alone until its peer was silent
 * for as long as it may be.
 *
 * Pure: times and counts in, decisions out.
 */

/** After so long a silence, a dialer that waits for answers asks the peer for a datagram. */
const AWAITING_MS = 1000;
/** The longest time between two looks at a connection with traffic. */
const MAX_LOOK_EVERY_MS = 1000;

/** What is known of a connection at one look. */
export interface UpkeepView {
  /** When a datagram of the peer last arrived. */
  readonly heardMs: number;
  /** Datagrams so far, of both directions. */
  readonly datagrams: number;
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

/** Decides for one connection. Looks are at whole multiples of their interval, so that those of many connections fall together. */
export class Upkeep {
  /** Whether no look is due soon: {@link wake} is to be called with the next traffic. */
  isResting = true;
  readonly #keepAliveMs: number;
  readonly #lookEveryMs: number;
  #maintainedMs: number;
  #datagrams = -1;

  constructor(keepAliveMs: number, nowMs: number) {
    this.#keepAliveMs = keepAliveMs;
    this.#lookEveryMs = Math.min(keepAliveMs / 2, MAX_LOOK_EVERY_MS);
    this.#maintainedMs = nowMs;
  }

  /** There is traffic again. @returns when to look */
  wake(nowMs: number): number {
    this.isResting = false;
    return this.#lookAfter(nowMs);
  }

  look(nowMs: number, { heardMs, datagrams, isAwaiting, isUnsettled }: UpkeepView): UpkeepStep {
    const patienceMs = isAwaiting ? Math.min(AWAITING_MS, this.#keepAliveMs) : this.#keepAliveMs;
    const asks = nowMs - heardMs >= patienceMs;
    const maintains = nowMs - this.#maintainedMs >= this.#keepAliveMs / 2;
    if (maintains) this.#maintainedMs = nowMs;
    this.isResting = datagrams === this.#datagrams && !asks && !isAwaiting && !isUnsettled;
    this.#datagrams = datagrams;
    const soonMs = this.#lookAfter(nowMs);
    if (!this.isResting) return { maintains, asks, nextMs: soonMs };
    const silentMs = heardMs + this.#keepAliveMs;
    return { maintains, asks, nextMs: Math.max(soonMs, this.#roundUp(silentMs)) };
  }

  #lookAfter(nowMs: number): number {
    return (Math.floor(nowMs / this.#lookEveryMs) + 1) * this.#lookEveryMs;
  }

  #roundUp(atMs: number): number {
    return Math.ceil(atMs / this.#lookEveryMs) * this.#lookEveryMs;
  }
}
