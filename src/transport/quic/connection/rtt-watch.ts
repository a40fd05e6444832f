/**
 * Finds connections whose estimate of the round-trip time (RTT) cannot be true. Lost packets are retransmitted only when
 * the estimate says so, and only a new connection resets it. quiche 0.18.0 has two such errors:
 *
 * Without its pacer's clock it stamps packets with a time that stands still for about `8 packets / window` round trips, and
 * measures round trips by that stamp. A few losses make the window small. With little traffic it does not grow again, and
 * the estimate feeds on itself: it was seen to pass a minute where the round trip was 12 ms.
 *
 * With the clock, stamps run ahead of the time where the round trip became much shorter while there is much to send.
 * Acknowledgements then seem to come before their packets were sent. quiche takes no measurement from those, so the
 * estimate stays at its old, too long value.
 *
 * Pure: the binding's numbers in, a verdict out.
 */

/** A shorter estimate costs no long wait. */
const MIN_RUNAWAY_MS = 1000;
/** Times the smallest estimate seen. */
const RUNAWAY_FACTOR = 10;
/** Packets in the congestion window. With more, the estimate recovers by itself. */
const SMALL_WINDOW = 6;

/** A shorter estimate is not worth a verdict: tail probes do not wait longer for it than for any other. */
const MIN_OVERESTIMATE_MS = 50;
/** Times what the congestion window allows in that time. Swings of the window and the round trip stay below. */
const OVERESTIMATE_FACTOR = 2;
/** How many looks in a row must agree: one may fall on a round trip that is just becoming shorter. */
const OVERESTIMATE_LOOKS = 2;
/** The least time between looks. A shorter time does not tell a burst from a rate. */
const LOOK_EVERY_MS = 900;
/** The least traffic since the last look that makes a verdict possible. */
const BUSY_BYTES = 64 * 1024;

/** What a connection knows of its sending at one time. */
export interface RttLook {
  readonly nowMs: number;
  /** The binding's estimate. */
  readonly rttMs: number;
  readonly windowBytes: number;
  /** Stream bytes that the binding took so far. It takes no more than the congestion window lets out. */
  readonly handedBytes: number;
}

/** Judges the RTT estimates of one connection. */
export class RttWatch {
  #leastMs = Number.POSITIVE_INFINITY;
  #last: RttLook | undefined;
  #looksTooLong = 0;

  /**
   * Call it from time to time.
   * @param windowPackets the congestion window, in packets of the largest size
   * @returns whether the estimate has run away, as it does without the pacer's clock
   */
  isRunaway(rttMs: number, windowPackets: number): boolean {
    this.#leastMs = Math.min(this.#leastMs, Math.max(1, rttMs));
    const isLarge = rttMs >= MIN_RUNAWAY_MS && rttMs >= RUNAWAY_FACTOR * this.#leastMs;
    return isLarge && windowPackets <= SMALL_WINDOW;
  }

  /** Whether enough was sent since the last look for {@link isOverestimate} to tell anything. */
  isBusy(handedBytes: number): boolean {
    return handedBytes - (this.#last?.handedBytes ?? 0) >= BUSY_BYTES;
  }

  /**
   * Call it from time to time.
   * @returns whether the estimate is far too long, as it becomes with the pacer's clock: more goes out than the congestion
   *   window would allow if it were true
   */
  isOverestimate(look: RttLook): boolean {
    const last = this.#last;
    if (last !== undefined && look.nowMs - last.nowMs < LOOK_EVERY_MS) {
      return this.#looksTooLong >= OVERESTIMATE_LOOKS;
    }
    this.#last = look;
    this.#looksTooLong = last !== undefined && isFaster(last, look) ? this.#looksTooLong + 1 : 0;
    return this.#looksTooLong >= OVERESTIMATE_LOOKS;
  }
}

function isFaster(before: RttLook, now: RttLook): boolean {
  const rttMs = Math.min(before.rttMs, now.rttMs);
  if (rttMs < MIN_OVERESTIMATE_MS) return false;
  // Acknowledgements of what was in flight at the first look may have freed a window at once.
  const windows = (now.nowMs - before.nowMs) / rttMs + 1;
  const allowedBytes = windows * Math.max(before.windowBytes, now.windowBytes);
  const handedBytes = now.handedBytes - before.handedBytes;
  return handedBytes >= BUSY_BYTES && handedBytes > OVERESTIMATE_FACTOR * allowedBytes;
}
