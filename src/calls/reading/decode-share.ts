/** How much of the event loop's time the messages of one peer may take to decode. Pure: the caller brings the clock. */

/**
 * A byte on the wire buys so much time, which is what small calls cost: a message that takes no longer is no worse than
 * ordinary calls, however many there are. What counts is what a message takes beyond that.
 */
const PAID_MS_PER_BYTE = 50e-6;
/** The part of the event loop's time that unpaid decoding may take. */
const SHARE = 1 / 4;
/** So much of it may come at once. */
const BURST_MS = 5;

/** The account of one peer (GCRA): each message puts off the time from which on the next one may be decoded. */
export class DecodeShare {
  #paidOffMs = 0;

  /** How long the next message has to wait; 0 where it may be decoded now. */
  waitMs(nowMs: number): number {
    return Math.max(0, this.#paidOffMs - BURST_MS / SHARE - nowMs);
  }

  /** A message of that many bytes on the wire was decoded from `startMs` to `endMs`. */
  spend(startMs: number, endMs: number, wireBytes: number): void {
    const unpaidMs = endMs - startMs - wireBytes * PAID_MS_PER_BYTE;
    if (unpaidMs > 0) this.#paidOffMs = Math.max(this.#paidOffMs, startMs) + unpaidMs / SHARE;
  }
}
