/**
 * How much bulk data of one stream is in flight, and how much more may be. The peer's credit measures it: what the peer
 * grants again, its application has consumed. Each stream has its own account, so that a slow reader holds up nobody else's
 * bytes. SPEC.md, "Credit".
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
   * How much the peer grants at a time. It stays silent until it has consumed so much, so less must always be allowed in
   * flight, or both sides would wait for each other. Half of the peer's window at first, then the size of its last grant.
   */
  #grantBytes: number;
  /** Only while other calls could be kept waiting. */
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
   * The peer grants more. A grant beyond all that was sent makes the window larger, and does not tell how much the peer
   * grants at a time.
   * @param creditBytes what may be sent on the stream now, this grant included
   */
  granted(bytes: number, creditBytes: number, nowMs: number): void {
    const isLarger = this.#consumedBytes + bytes > this.#sentBytes;
    this.#grantBytes = isLarger ? creditBytes / 2 : bytes;
    this.#consumedBytes = Math.min(this.#sentBytes, this.#consumedBytes + bytes);
    this.#window?.arrived(this.#consumedBytes, nowMs);
  }
}
