/**
 * Finds connections whose estimate of the round-trip time (RTT) cannot be true. Lost packets are retransmitted only when
 * the estimate says so, and only a new connection resets it.
 *
 * quiche 0.18.0 stamps packets with a time that stands still for about `8 units / window` round trips, and measures round
 * trips by that stamp: see `restart-window.ts`. With a small window the estimate feeds on itself. That is left where packets
 * are not paced, and where a peer that was dialed takes small datagrams only.
 *
 * Pure: the binding's numbers in, a verdict out.
 */

/** A shorter estimate costs no long wait. */
const MIN_RUNAWAY_MS = 1000;
/** Times the smallest estimate seen. */
const RUNAWAY_FACTOR = 10;
/** Units in the congestion window. With more, the estimate recovers by itself. */
const SMALL_WINDOW = 6;

/** Judges the RTT estimates of one connection. */
export class RttWatch {
  #leastMs = Number.POSITIVE_INFINITY;

  /**
   * Call it from time to time.
   * @param windowUnits the congestion window, in units of its growth
   * @returns whether the estimate has run away
   */
  isRunaway(rttMs: number, windowUnits: number): boolean {
    this.#leastMs = Math.min(this.#leastMs, Math.max(1, rttMs));
    const isLarge = rttMs >= MIN_RUNAWAY_MS && rttMs >= RUNAWAY_FACTOR * this.#leastMs;
    return isLarge && windowUnits <= SMALL_WINDOW;
  }
}
