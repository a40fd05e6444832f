/**
 * What is under way of one stream of bulk data, by the peer's credit: what it grants again its application has consumed.
 * Each stream has its own, so that a slow reader holds up nobody else's bytes. SPEC.md, "Credit".
 */
import type { Contention } from '../contention.js';
import { DelayWindow } from '../delay-window.js';
import { INITIAL_STREAM_WINDOW_BYTES } from './credit.js';

export class BulkFlight {
  readonly #contention: Contention;
  #sentBytes = 0;
  #consumedBytes = 0;
  /** What the peer grants at once: it says nothing of less. Half a window at most, until it has shown. */
  #grantBytes = INITIAL_STREAM_WINDOW_BYTES / 2;
  /** Only while somebody could be kept waiting. */
  #window: DelayWindow | undefined;

  constructor(contention: Contention) {
    this.#contention = contention;
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

  /** The peer grants more. What goes beyond all that was sent is a larger window, and tells nothing. */
  granted(bytes: number, nowMs: number): void {
    if (this.#consumedBytes + bytes <= this.#sentBytes) this.#grantBytes = bytes;
    this.#consumedBytes = Math.min(this.#sentBytes, this.#consumedBytes + bytes);
    this.#window?.arrived(this.#consumedBytes, nowMs);
  }
}
