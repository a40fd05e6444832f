/**
 * Finds connections that have lost all sense of time. quiche 0.18.0, with pacing off, stamps a packet with the time of a
 * pacer that stands still for about `8 packets / window` round trips, and measures round trips by that stamp. Once a few
 * losses have made the window smaller than that, on a connection with so little traffic that it does not grow again, the
 * estimate feeds on itself: it was seen to pass a minute where the round trip was 12 ms, and lost packets are sent again
 * no sooner than that. Nothing resets it but a new connection.
 *
 * Pure: what the binding says in, a verdict out.
 */

/** An estimate below is none that anybody waits long for. */
const MIN_ABSURD_MS = 1000;
/** Times the smallest seen. */
const ABSURD_FACTOR = 10;
/** Packets in the congestion window: with more, the estimate finds back. */
const SMALL_WINDOW = 6;

export class RttWatch {
  #leastMs = Number.POSITIVE_INFINITY;

  /**
   * To be asked from time to time.
   * @param windowPackets of the largest size
   * @returns whether the estimate cannot be true
   */
  isAbsurd(rttMs: number, windowPackets: number): boolean {
    this.#leastMs = Math.min(this.#leastMs, Math.max(1, rttMs));
    const isLarge = rttMs >= MIN_ABSURD_MS && rttMs >= ABSURD_FACTOR * this.#leastMs;
    return isLarge && windowPackets <= SMALL_WINDOW;
  }
}
