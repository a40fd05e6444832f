/**
 * Datagrams of handshakes under way wait for their turn, a bounded number of bytes of them; what does not fit is lost, as it
 * might be on the way, and comes again.
 */
import { NewcomerTurns } from '../../admission/handshake-turns.js';

/** A step of a handshake takes about a millisecond: so long a datagram of a connection waits for those of newcomers. */
const TURN_MS = 1;
const MAX_WAITING_DATAGRAMS = 1024;
const MAX_WAITING_BYTES = 4 * 1024 * 1024;

export class Newcomers {
  readonly #turns = new NewcomerTurns({ turnMs: TURN_MS, maxWaiting: MAX_WAITING_DATAGRAMS });
  #waitingBytes = 0;

  /**
   * @param bytes that `receive` holds
   * @returns whether it will be called, or was
   */
  take(bytes: number, receive: () => void): boolean {
    if (this.#waitingBytes + bytes > MAX_WAITING_BYTES) return false;
    this.#waitingBytes += bytes;
    const isTaken = this.#turns.take(() => {
      this.#waitingBytes -= bytes;
      receive();
    });
    if (!isTaken) this.#waitingBytes -= bytes;
    return isTaken;
  }
}
