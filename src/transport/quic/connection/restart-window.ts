/**
 * Lets the congestion window of a connection that sends little grow back to where it began.
 *
 * The window shrinks with every loss, and grows only while it limits what is sent (RFC 9002, section 7.8). Calls that never fill
 * it do not grow it, so that losses over a long life bring it down to its least. After a pause a sender may begin anew with the
 * initial window (RFC 5681, section 4.1). This comes to the same, step by step: below the initial window, acknowledgements count
 * as though the window had been full.
 *
 * The window matters even where it is never full. While packets are of one size, as those of like calls are, and always without
 * its pacer, quiche 0.18.0 stamps them with a time that stands still for up to `8 units / window` round trips. By those stamps it
 * measures round trips, decides what is lost, and tells packets sent before a loss from later ones. With ten units that is a fault
 * of less than one round trip. With two it is four, and each estimate that is too long makes the next one longer: minutes were
 * seen over paths of milliseconds. For packets that differ, and fill the window, see `send-pacer.ts`.
 */
import { INITIAL_WINDOW_UNITS } from '../binding/congestion-control.js';

/** Datagrams received between two looks at the window: a look is not cheap. */
const LOOK_EVERY = 64;
/** A path that loses more than one packet in so many since the last look swallows them: the window is small for a reason. */
const SWALLOWED_ONE_IN = 4;
/** Fewer lost packets than that prove nothing. */
const LEAST_LOST = 8;

/** What is known of a path: its window and its unit in bytes, and how many packets were sent over it, and lost, so far. */
export interface WindowLook {
  readonly windowBytes: number;
  readonly unitBytes: number;
  readonly sent: number;
  readonly lost: number;
}

/**
 * Decides when the congestion window of a connection that sends little is to grow, back to the initial window and no further.
 * Pure.
 */
export class RestartWindow {
  readonly #initialBytes: number;
  #isSmall = false;
  #datagramsToLook = LOOK_EVERY;
  #claimedBytes = 0;
  #sent = 0;
  #lost = 0;

  /** @param initialBytes the window that connections begin with */
  constructor(initialBytes: number) {
    this.#initialBytes = initialBytes;
  }

  /** A datagram is about to be given to the binding. @returns whether {@link look} is due */
  arrives(): boolean {
    this.#datagramsToLook -= 1;
    return this.#datagramsToLook <= 0;
  }

  look({ windowBytes, unitBytes, sent, lost }: WindowLook): void {
    this.#datagramsToLook = LOOK_EVERY;
    const lostSince = lost - this.#lost;
    const isSwallowed = lostSince >= LEAST_LOST && lostSince * SWALLOWED_ONE_IN > sent - this.#sent;
    this.#sent = sent;
    this.#lost = lost;
    const initialBytes = Math.max(this.#initialBytes, INITIAL_WINDOW_UNITS * unitBytes);
    this.#isSmall = windowBytes < initialBytes && !isSwallowed;
  }

  /**
   * Call it for every datagram that may acknowledge something, before the binding gets it.
   * @param handedBytes stream bytes that the binding took so far
   * @returns whether to make the binding find the window full. That makes the next packet ask for an acknowledgement, so it is
   *   done once for whatever was sent: otherwise each of those acknowledgements would cause another
   */
  takeClaim(handedBytes: number): boolean {
    if (!this.#isSmall || handedBytes === this.#claimedBytes) return false;
    this.#claimedBytes = handedBytes;
    return true;
  }
}
