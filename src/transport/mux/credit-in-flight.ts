/**
 * What is under way of one stream of bulk data, by the peer's credit: what it grants again its application has consumed.
 * Each stream has its own, so that a slow reader holds up nobody else's bytes. SPEC.md, "Credit".
 */
import type { Contention } from '../priority/contention.js';
import { DelayWindow } from '../priority/delay-window.js';

/**
 * Measures by the peer's credit how much of one stream's bulk data is under way, and bounds it while other calls could
 * be kept waiting. What the peer grants again, its application has consumed.
 */
export class CreditInFlight {
  readonly #contention: Contention;
  #sentBytes = 0;
  #consumedBytes = 0;
  /**
   * What the peer grants at once: it says nothing of less, so less must never be waited for. Half of its window at most,
   * which is what it let this side send beyond what it consumed; then what it has shown, as long as that does not grow.
   */
  #grantBytes: number;
  /** Only while somebody could be kept waiting. */
  #window: DelayWindow | undefined;

  /** @param creditBytes what may be sent on the stream now */
  constructor(contention: Contention, creditBytes: number) {
    this.#contention = contention;
    this.#grantBytes = creditBytes / 2;
  }

  /** Whether the next frame may leave now. */
  hasRoom(nowMs: number): boolean {
    if (!this.#contention.isAt(nowMs)) {
      this.#window = undefined;
      return true;
    }
    this.#window ??= new DelayWindow(this.#sentBytes, this.#consumedBytes);
    const room = this.#window.roomBytes(nowMs);
    return room > 0 || this.#sentBytes - this.#consumedBytes <= this.#grantBytes;
  }

  sent(bytes: number, nowMs: number): void {
    this.#sentBytes += bytes;
    this.#window?.sent(this.#sentBytes, nowMs);
  }

  /**
   * The peer grants more. What goes beyond all that was sent is a larger window, and tells nothing of what it grants at once.
   * @param creditBytes what may be sent on the stream now, this grant included
   */
  granted(bytes: number, creditBytes: number, nowMs: number): void {
    const isLarger = this.#consumedBytes + bytes > this.#sentBytes;
    this.#grantBytes = isLarger ? creditBytes / 2 : bytes;
    this.#consumedBytes = Math.min(this.#sentBytes, this.#consumedBytes + bytes);
    this.#window?.arrived(this.#consumedBytes, nowMs);
  }
}
