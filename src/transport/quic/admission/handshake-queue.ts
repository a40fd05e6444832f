/**
 * Datagrams of handshakes under way wait here for their turn. The bytes that wait are bounded. A datagram that does not fit
 * is dropped; QUIC sends it again, as if the network had lost it.
 */
import { HandshakeTurns } from '../../admission/handshake-turns.js';

/** A handshake step takes about a millisecond. Datagrams of open connections wait no longer than that for handshakes. */
const TURN_MS = 1;
const MAX_WAITING_DATAGRAMS = 1024;
const MAX_WAITING_BYTES = 4 * 1024 * 1024;

/** A bounded queue in front of {@link HandshakeTurns}, for datagrams. */
export class HandshakeQueue {
  readonly #turns = new HandshakeTurns({ turnMs: TURN_MS, maxWaiting: MAX_WAITING_DATAGRAMS });
  #waitingBytes = 0;

  /**
   * @param bytes how much memory `receive` keeps while it waits
   * @param receive hands the datagram to its connection
   * @returns whether `receive` was called or will be; `false` when the queue is full
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
