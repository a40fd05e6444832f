/**
 * The last bytes of the peer's credit for the whole connection, which only the control stream may use. Pure.
 *
 * Without them a connection could block for good. A sender that has used up the credit gets more only once the peer has
 * read. But a peer that has moved reads nothing until the lost bytes are sent to its new address, which happens only after
 * it has proved that address by answering a request on the control stream. Nor could a call be given up that nobody reads.
 *
 * The binding does not tell this credit, only how much it takes now, which the congestion window bounds as well. So this
 * keeps a lower bound of the credit, and the binding is asked again when that is used up. Nodes of quicmesh give each other
 * unlimited credit (SPEC.md, "Credit"), so they never ask.
 */

/** Room for a few proofs and notices. */
const MAX_RESERVE_BYTES = 1024;
/** At most this share of a window: a peer that grants again once three quarters are used must still get that far. */
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
  /** A lower bound of the connection's credit, counted from its beginning. */
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
    // A window of 0 belongs to a kind of stream that the peer does not allow.
    const smallest = Math.min(...windows.filter((window) => window > 0));
    this.bytes = Math.min(MAX_RESERVE_BYTES, Math.floor(smallest / RESERVE_SHARE));
  }

  /**
   * Bytes that other streams may hand over, by what is known: {@link learn} may raise that.
   * @param handedBytes so far, on all streams together
   * @param wantedBytes the most that the caller has to hand over
   */
  room(handedBytes: number, wantedBytes: number): number {
    return Math.max(0, Math.min(wantedBytes, this.#knownBytes - this.bytes - handedBytes));
  }

  /** QUIC would take so many more bytes now, on some stream. */
  learn(handedBytes: number, capacityBytes: number): void {
    this.#knownBytes = Math.max(this.#knownBytes, handedBytes + capacityBytes);
  }
}
