/**
 * The last bytes of the peer's credit for the connection as a whole, which the control stream has for itself. Pure.
 *
 * Whoever has used up that credit gets no more until the peer has read; and where the peer has moved, and what was under
 * way is lost, it reads nothing until it is sent there again, which it is not before it has proved where it is, by an
 * answer to a request on the control stream. Nor could a call be given up that nobody reads.
 *
 * The binding does not tell this credit, only how much may be handed over now, which the congestion window bounds too. So
 * there is a least that is known of it, and the binding is asked when that is used up. Nodes give each other credit
 * without end (SPEC.md, "Credit"), and are never asked.
 */

/** Some proofs and notices. */
const MAX_RESERVE_BYTES = 1024;
/** Of a window: whoever grants at three quarters of it, at the latest, is never kept from granting. */
const RESERVE_SHARE = 16;

/** What the peer's transport parameters say (RFC 9000, section 18.2). */
export interface PeerWindows {
  readonly peerInitialMaxData: number;
  readonly peerInitialMaxStreamDataBidiLocal: number;
  readonly peerInitialMaxStreamDataBidiRemote: number;
}

/**
 * Keeps the last bytes of the peer's credit for the control stream: without them neither a proof of an address nor a
 * notice that gives up a call could leave. Pure. SPEC.md, "Credit".
 */
export class ControlReserve {
  readonly bytes: number;
  /** The connection's credit is no less: in all, from the beginning on. */
  #knownBytes: number;

  constructor({
    peerInitialMaxData,
    peerInitialMaxStreamDataBidiLocal,
    peerInitialMaxStreamDataBidiRemote,
  }: PeerWindows) {
    this.#knownBytes = peerInitialMaxData;
    const windows = [
      peerInitialMaxData,
      peerInitialMaxStreamDataBidiLocal,
      peerInitialMaxStreamDataBidiRemote,
    ];
    // A window of 0 is that of streams which there are none of.
    const smallest = Math.min(...windows.filter((window) => window > 0));
    this.bytes = Math.min(MAX_RESERVE_BYTES, Math.floor(smallest / RESERVE_SHARE));
  }

  /**
   * Bytes that may be handed over on other streams, as far as is known: {@link learn} may tell of more.
   * @param handedBytes in all so far, on all streams
   * @param wantedBytes beyond which nobody asks
   */
  room(handedBytes: number, wantedBytes: number): number {
    return Math.max(0, Math.min(wantedBytes, this.#knownBytes - this.bytes - handedBytes));
  }

  /** QUIC takes so many bytes now, by some stream's account. */
  learn(handedBytes: number, capacityBytes: number): void {
    this.#knownBytes = Math.max(this.#knownBytes, handedBytes + capacityBytes);
  }
}
