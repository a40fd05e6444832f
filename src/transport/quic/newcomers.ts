/**
 * Datagrams for no open connection: Initials, and what belongs to handshakes under way. They wait for their turn, a
 * bounded number of bytes of them; what does not fit is lost, as it might be on the way, and comes again.
 */
import { NewcomerTurns } from '../newcomer-turns.js';

/** A step of a handshake takes about a millisecond: so long a datagram of a connection waits for those of newcomers. */
const TURN_MS = 1;
const MAX_WAITING_DATAGRAMS = 1024;
const MAX_WAITING_BYTES = 4 * 1024 * 1024;

export class Newcomers {
  readonly #turns = new NewcomerTurns({ turnMs: TURN_MS, maxWaiting: MAX_WAITING_DATAGRAMS });
  /** How many datagrams wait for each connection ID. */
  readonly #waiting = new Map<string, number>();
  #waitingBytes = 0;

  /** Whether what has this connection ID belongs behind a datagram that waits: early data behind its Initial. */
  isAwaited(connectionId: string): boolean {
    return this.#waiting.has(connectionId);
  }

  /**
   * @param datagram kept until it is received
   * @returns whether it will be
   */
  take(datagram: Buffer, connectionId: string, receive: () => void): boolean {
    if (this.#waitingBytes + datagram.length > MAX_WAITING_BYTES) return false;
    this.#enter(datagram, connectionId);
    const isTaken = this.#turns.take(() => {
      this.#leave(datagram, connectionId);
      receive();
    });
    if (!isTaken) this.#leave(datagram, connectionId);
    return isTaken;
  }

  #enter(datagram: Buffer, connectionId: string): void {
    this.#waitingBytes += datagram.length;
    this.#waiting.set(connectionId, (this.#waiting.get(connectionId) ?? 0) + 1);
  }

  #leave(datagram: Buffer, connectionId: string): void {
    const left = (this.#waiting.get(connectionId) ?? 0) - 1;
    this.#waitingBytes -= datagram.length;
    if (left > 0) this.#waiting.set(connectionId, left);
    else this.#waiting.delete(connectionId);
  }
}
