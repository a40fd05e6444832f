/**
 * Finds out early that the last packets of a flight were lost. A few small packets behind them make the peer acknowledge, and
 * what it lacks counts as lost. The idea is that of RFC 8985, section 7, and of RFC 9002, section 6.2.
 *
 * QUIC has a timeout for that, but quiche 0.18.0 gets it wrong. Without pacing, while the congestion window is small, it stamps
 * packets with the time of an earlier one. So it measures round trips that are too long, and the longer they seem, the older
 * the stamps become. A connection with only small calls never gets its window back. After a handful of losses in its whole
 * life, its timeout has grown from milliseconds to minutes. So this side keeps the shortest round trip that was measured, and
 * waits for the binding's timeout not much longer than that.
 *
 * On a busy machine an answer may take longer although nothing was lost. The probes of many connections would keep such a
 * machine busy, and cause each other. So the wait doubles after a probe that found no loss, and is short again after one that
 * did.
 */

/** Added to two round trips: the peer may delay its acknowledgement, and its process takes time to wake up. */
const SLACK_MS = 25;
/** The wait while no round trip is known (RFC 9002, section 6.2.2). */
const MAX_WAIT_MS = 1000;
/** How often the round trip is looked up early in a connection's life, in datagrams: the handshake may have been slow. */
const LOOK_EVERY = 16;
const LOOKS = 16;
/** If the binding's wait ends this much before the idle timeout, it is for an acknowledgement. */
const IDLE_MARGIN_MS = 100;
/** How often the wait doubles while probes find nothing. */
const MAX_DOUBLINGS = 5;
/** How many datagrams after a probe may show what it found. */
const HEARD_TO_JUDGE = 4;
/** How many datagrams that came without a probe take one doubling back. */
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
  /** How many packets were lost when the first probe since something arrived was sent. */
  #lostBefore: number | undefined;
  #heardInTime = 0;
  #datagramsToLook = LOOKS * LOOK_EVERY;

  /** The connection is open. @param idleTimeoutMs in force: the binding waits for that whenever nothing is under way */
  begin(idleTimeoutMs: number): void {
    this.#idleTimeoutMs = idleTimeoutMs;
  }

  /** Takes the binding's round trip, which is never shorter than the true one, and often longer. */
  learn(rttMs: number): void {
    this.#rttMs = Math.min(this.#rttMs, rttMs);
  }

  /** How long an acknowledgement of what is sent now may take. */
  get patienceMs(): number {
    return Math.min(2 * this.#rttMs + SLACK_MS, MAX_WAIT_MS);
  }

  /** The connection takes another path: what was learned of the last one is void. */
  restart(): void {
    this.#rttMs = Number.POSITIVE_INFINITY;
    this.#doublings = 0;
    this.#lostBefore = undefined;
    this.#datagramsToLook = LOOKS * LOOK_EVERY;
  }

  /**
   * Something arrived.
   * @param lostPackets in all, as the binding counts them; called after a probe only
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
   * How long to wait, for the binding's own timeout or for {@link takeProbe}.
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

  /** The first acknowledgement may not tell yet: packets count as lost once three later ones have arrived. */
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
   * The wait is over. @returns whether to probe
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
