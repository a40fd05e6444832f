/**
 * Finds out early that the last packets of a flight were lost (the idea of RFC 8985, section 7, and of RFC 9002,
 * section 6.2): a few small packets behind them make the peer acknowledge, and what it lacks counts as lost.
 *
 * QUIC has a timeout for that, which quiche 0.18.0 gets wrong. Without pacing it stamps packets with the time of an
 * earlier one, as long as the congestion window is small, and so measures round trips that are too long; the longer
 * they seem, the older the stamps. A connection that only ever asks and answers never gets its window back, and after
 * a handful of losses in its whole life its timeout has grown from milliseconds to minutes. So this side keeps the
 * shortest round trip that was measured, and does not wait for the binding's timeout much longer than that.
 *
 * On a busy machine an answer may take longer although nothing was lost. Were that no reason for patience, the probes of
 * many connections would keep the machine busy, and each other going. So the next wait is twice as long after a probe
 * that showed no loss, and short again after one that did.
 */

/** Beyond two round trips: the peer may take its time to acknowledge, and its process to wake up. */
const SLACK_MS = 25;
/** As long as round trips are not known to be shorter (RFC 9002, section 6.2.2). */
const MAX_WAIT_MS = 1000;
/** Datagrams after which the round trip is looked up, in the first of a connection's life: the handshake may have waited. */
const LOOK_EVERY = 16;
const LOOKS = 16;
/** What the binding waits for this much shorter than for the idle timeout is an acknowledgement. */
const IDLE_MARGIN_MS = 100;
/** Times that the wait doubles while probes bring nothing. */
const MAX_DOUBLINGS = 5;
/** Datagrams after a probe that may show what it found. */
const HEARD_TO_JUDGE = 4;
/** So many datagrams that came without a probe take one of these back. */
const HEARD_FOR_TRUST = 8;

/**
 * Finds out early that the last packets of a flight were lost, by a few small packets behind them (RFC 8985, section 7;
 * RFC 9002, section 6.2). quiche 0.18.0 waits far too long. Pure.
 */
export class TailProbe {
  #idleTimeoutMs = Number.POSITIVE_INFINITY;
  #rttMs = Number.POSITIVE_INFINITY;
  #doublings = 0;
  #isDue = false;
  /** Packets that the binding took for lost when the first probe since something arrived was sent. */
  #lostBefore: number | undefined;
  #heardInTime = 0;
  #datagramsToLook = LOOKS * LOOK_EVERY;

  /** The connection is open. @param idleTimeoutMs in force: the binding waits for that whenever nothing is under way */
  begin(idleTimeoutMs: number): void {
    this.#idleTimeoutMs = idleTimeoutMs;
  }

  /** A round trip as the binding measured it: never shorter than it is, often longer. */
  learn(rttMs: number): void {
    this.#rttMs = Math.min(this.#rttMs, rttMs);
  }

  /** Until an acknowledgement of what is sent now is late. */
  get patienceMs(): number {
    return Math.min(2 * this.#rttMs + SLACK_MS, MAX_WAIT_MS);
  }

  /** Another path: what was learned of the last one is void. */
  restart(): void {
    this.#rttMs = Number.POSITIVE_INFINITY;
    this.#doublings = 0;
    this.#lostBefore = undefined;
    this.#datagramsToLook = LOOKS * LOOK_EVERY;
  }

  /**
   * Something arrived.
   * @param lostPackets in all, as the binding counts them: asked for after a probe only
   * @returns whether a look at the binding's round trip is due: see {@link learn}
   */
  heard(lostPackets: () => number): boolean {
    if (this.#lostBefore !== undefined) this.#judgeProbe(lostPackets());
    else if (this.#doublings > 0) this.#trust();
    if (this.#datagramsToLook === 0) return false;
    this.#datagramsToLook -= 1;
    return this.#datagramsToLook % LOOK_EVERY === 0;
  }

  /**
   * How long to wait before {@link takeProbe} is asked, or the binding's own timeout is over.
   * @param timeoutMs how long the binding waits for what comes next, `null` for ever
   * @param silentMs since something arrived; the idle timeout counts from then, or from later
   */
  delayMs(timeoutMs: number | null, silentMs: number): number | null {
    this.#isDue = false;
    if (timeoutMs === null) return null;
    if (timeoutMs > this.#idleTimeoutMs - silentMs - IDLE_MARGIN_MS) return timeoutMs;
    const waitMs = this.patienceMs * 2 ** this.#doublings;
    if (timeoutMs <= waitMs) return timeoutMs;
    this.#isDue = true;
    return waitMs;
  }

  /** The first acknowledgement of a probe may not tell yet: packets count as lost once three later ones have arrived. */
  #judgeProbe(lostPackets: number): void {
    this.#heardInTime += 1;
    const hasFound = lostPackets > (this.#lostBefore as number);
    if (hasFound) this.#doublings = 0;
    if (!hasFound && this.#heardInTime < HEARD_TO_JUDGE) return;
    this.#lostBefore = undefined;
    this.#heardInTime = 0;
  }

  #trust(): void {
    this.#heardInTime += 1;
    if (this.#heardInTime < HEARD_FOR_TRUST) return;
    this.#heardInTime = 0;
    this.#doublings -= 1;
  }

  /**
   * Whether to probe, now that the wait is over.
   * @param lostPackets as in {@link heard}
   */
  takeProbe(lostPackets: () => number): boolean {
    if (!this.#isDue) return false;
    this.#isDue = false;
    if (this.#lostBefore === undefined) {
      this.#lostBefore = lostPackets();
      this.#heardInTime = 0;
    }
    this.#doublings = Math.min(this.#doublings + 1, MAX_DOUBLINGS);
    return true;
  }
}
