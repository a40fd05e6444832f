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
/** Data that compression makes so much smaller is ordinary. What becomes more than that is charged by its size. */
const ORDINARY_RATIO = 16;
/**
 * Of memory that a message becomes beyond that, what a byte takes to fill, to give up and to collect: most of it comes later,
 * and in nobody's name.
 */
const MEMORY_MS_PER_BYTE = 2 / (1024 * 1024);

/** The account of one peer (GCRA): each message puts off the time from which on the next one may be decoded. */
export class DecodeShare {
  #paidOffMs = 0;

  /** How long the next message has to wait; 0 where it may be decoded now. */
  waitMs(nowMs: number): number {
    return Math.max(0, this.#paidOffMs - BURST_MS / SHARE - nowMs);
  }

  /**
   * A message of that many bytes on the wire, or a part of it, was decoded from `startMs` to `endMs`.
   * @returns how many of the bytes have not paid for anything yet: those that the rest of the message has
   */
  spend(startMs: number, endMs: number, wireBytes: number): number {
    const unpaidMs = endMs - startMs - wireBytes * PAID_MS_PER_BYTE;
    if (unpaidMs <= 0) return -unpaidMs / PAID_MS_PER_BYTE;
    this.#charge(startMs, unpaidMs);
    return 0;
  }

  /** A message of `wireBytes` is about to become `rawBytes`. */
  expand(nowMs: number, rawBytes: number, wireBytes: number): void {
    const bytes = rawBytes - ORDINARY_RATIO * wireBytes;
    if (bytes > 0) this.#charge(nowMs, bytes * MEMORY_MS_PER_BYTE);
  }

  #charge(fromMs: number, ms: number): void {
    this.#paidOffMs = Math.max(this.#paidOffMs, fromMs) + ms / SHARE;
  }
}
