/**
 * Spreads packets over the round trip, at the pace by which quiche 0.18.0 stamps them (RFC 9002, section 7.7).
 *
 * quiche does not hold packets back: it stamps each with the time at which it is due, and leaves it to its user to wait until then.
 * By those stamps it measures round trips, decides what is lost, and tells packets sent before a loss from later ones. Whoever
 * does not wait pays for it. Where the estimate is too long, stamps run ahead of the time, no round trip can be measured any
 * more, and timers fire late: 14 s were seen. Every loss then counts as a new one, and makes the window smaller.
 *
 * The binding does not say when a packet is due. So this side counts by the same rule, a little slower than quiche does, so that
 * stamps that are ahead are caught up with. Bursts of up to half a window leave at once: calls hardly ever wait.
 *
 * quiche gives packets of one size one stamp, up to ten units of its window. Full packets are made to differ by one byte, so that
 * each two have a stamp of their own.
 *
 * Pure.
 */

import { ETHERNET_DATAGRAM_BYTES } from '../io/packet.js';

/** Windows in one round trip. quiche stamps for 1.25. */
const GAIN = 1.15;
/** Timers are no more exact than that: what is due until the next one leaves at once. */
const TICK_MS = 1.5;
/** What may leave at once in any case, in bytes: ten datagrams (RFC 9002, section 7.7). */
const MIN_BURST_BYTES = 10 * ETHERNET_DATAGRAM_BYTES;
/** Looks at window and round trip, in one round trip. Each takes some microseconds. */
const LOOKS = 8;
/** The longest wait for one full packet, however long the round trip seems: the estimate may be wrong. */
const MAX_WAIT_MS = 20;
const MIN_BYTES_PER_MS = ETHERNET_DATAGRAM_BYTES / MAX_WAIT_MS;

/** Decides when the next packet may leave, by the congestion window and the round trip. Pure. */
export class SendPacer {
  #bytesPerMs = 0;
  #burstBytes = 0;
  #credit = 0;
  #filledAtMs = 0;
  #lookAtMs = Number.NEGATIVE_INFINITY;
  #isOdd = false;

  /** Packets are about to leave. @returns whether {@link learn} is due: much has left, or nothing is known yet */
  begin(nowMs: number): boolean {
    this.#credit += (nowMs - this.#filledAtMs) * this.#bytesPerMs;
    if (this.#credit > this.#burstBytes) this.#credit = this.#burstBytes;
    this.#filledAtMs = nowMs;
    return this.#credit <= this.#burstBytes / 2 && nowMs >= this.#lookAtMs;
  }

  /** Takes what the binding knows of the path. */
  learn(nowMs: number, windowBytes: number, rttMs: number): void {
    const hasCredit = this.#bytesPerMs > 0;
    this.#bytesPerMs = Math.max((GAIN * windowBytes) / Math.max(rttMs, 0.1), MIN_BYTES_PER_MS);
    const tickBytes = TICK_MS * this.#bytesPerMs;
    this.#burstBytes = Math.max(MIN_BURST_BYTES, windowBytes / 2, tickBytes);
    if (!hasCredit) this.#credit = this.#burstBytes;
    this.#lookAtMs = nowMs + Math.max(1, rttMs / LOOKS);
  }

  /** The connection takes another path: its window and its round trip are others. */
  restart(): void {
    this.#bytesPerMs = 0;
    this.#burstBytes = 0;
    this.#credit = 0;
    this.#lookAtMs = Number.NEGATIVE_INFINITY;
  }

  /** Until when nothing may leave, in milliseconds from now; 0 where the next packet may leave. */
  get waitMs(): number {
    if (this.#credit > 0 || this.#bytesPerMs === 0) return 0;
    return Math.min(Math.max(1, -this.#credit / this.#bytesPerMs), MAX_WAIT_MS);
  }

  /** The size to give the next packet, of up to `maxBytes`. */
  sizeOf(maxBytes: number): number {
    this.#isOdd = !this.#isOdd;
    return this.#isOdd ? maxBytes : maxBytes - 1;
  }

  sent(bytes: number): void {
    this.#credit -= bytes;
  }
}
