/**
 * Finds connections that have lost all sense of time: the binding's estimate of the round trip cannot be true, and
 * nothing resets it but a new connection. Lost packets are sent again as late as the estimate says.
 *
 * Without its pacer's clock, quiche 0.18.0 stamps a packet with a time that stands still for about `8 packets / window`
 * round trips, and measures round trips by that stamp. Once a few losses have made the window smaller than that, on a
 * connection with so little traffic that it does not grow again, the estimate feeds on itself: it was seen to pass a
 * minute where the round trip was 12 ms.
 *
 * With the clock, stamps run ahead of the time where the round trip has become a small part of what it was while there is
 * much to send. Acknowledgements then come before their packets were sent, as it seems; they are no measure, and the
 * estimate stays what it was.
 *
 * Pure: what the binding says in, a verdict out.
 */

/** An estimate below is none that anybody waits long for. */
const MIN_ABSURD_MS = 1000;
/** Times the smallest seen. */
const ABSURD_FACTOR = 10;
/** Packets in the congestion window: with more, the estimate finds back. */
const SMALL_WINDOW = 6;

/** Likewise of an estimate that is outpaced: probes do not wait longer for it than for any other. */
const MIN_OUTPACED_MS = 50;
/** Times what the congestion window lets out in that time, which the window's and the round trip's swings do not reach. */
const OUTPACED_FACTOR = 2;
/** One look may fall on a round trip that is just becoming shorter. */
const OUTPACED_LOOKS = 2;
/** Between looks, at least: shorter times do not tell bursts from speed. */
const LOOK_EVERY_MS = 900;
/** Handed over since the last look, at least. */
const BUSY_BYTES = 64 * 1024;

/** What a connection knows at one time. */
export interface RttLook {
  readonly nowMs: number;
  /** The binding's estimate. */
  readonly rttMs: number;
  readonly windowBytes: number;
  /** Stream bytes that the binding took so far: not more than the congestion window lets out. */
  readonly handedBytes: number;
}

export class RttWatch {
  #leastMs = Number.POSITIVE_INFINITY;
  #last: RttLook | undefined;
  #outpaced = 0;

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

  /** Whether so much was sent since the last look that {@link isOutpaced} is worth one. */
  isBusy(handedBytes: number): boolean {
    return handedBytes - (this.#last?.handedBytes ?? 0) >= BUSY_BYTES;
  }

  /**
   * To be asked from time to time.
   * @returns whether more goes out than the congestion window allows, if the estimate is true
   */
  isOutpaced(look: RttLook): boolean {
    const last = this.#last;
    if (last !== undefined && look.nowMs - last.nowMs < LOOK_EVERY_MS) {
      return this.#outpaced >= OUTPACED_LOOKS;
    }
    this.#last = look;
    this.#outpaced = last !== undefined && isFaster(last, look) ? this.#outpaced + 1 : 0;
    return this.#outpaced >= OUTPACED_LOOKS;
  }
}

function isFaster(before: RttLook, now: RttLook): boolean {
  const rttMs = Math.min(before.rttMs, now.rttMs);
  if (rttMs < MIN_OUTPACED_MS) return false;
  // What was under way at the first look may have made room at once.
  const windows = (now.nowMs - before.nowMs) / rttMs + 1;
  const allowedBytes = windows * Math.max(before.windowBytes, now.windowBytes);
  const handedBytes = now.handedBytes - before.handedBytes;
  return handedBytes >= BUSY_BYTES && handedBytes > OUTPACED_FACTOR * allowedBytes;
}
