/**
 * A dialer's part in resuming TLS sessions: the limits that its early data relies on, and the session that the peer gives for
 * the next connection. RFC 9001, sections 4.5 and 4.6.
 */
import { MeshError } from '../../../errors.js';
import type { NativeConnection } from '../binding/native.js';

/**
 * The number of datagrams after which a session is looked for. It comes in the first or second one after the handshake, if at
 * all, and every look costs a call into the binding.
 */
const LOOKS = 32;

/**
 * A dialer's part in resuming sessions: it checks what early data counted on, and takes the session that the peer gives
 * for the next time. RFC 9001, sections 4.5 and 4.6.
 */
export class Resumption {
  readonly #native: NativeConnection;
  /** The peer's limits when it gave the session. Early data is sent within them. */
  #remembered: PeerLimits | undefined;
  #looksLeft = 0;

  constructor(native: NativeConnection) {
    this.#native = native;
  }

  /** Early data is about to be sent. */
  beginEarly(): void {
    this.#remembered = readPeerLimits(this.#native);
  }

  /**
   * TLS is done. A peer that accepts early data must grant at least the limits of before (RFC 9000, section 7.4.1). One that
   * refuses it may grant less, and then QUIC would send the early data again beyond those limits.
   * @throws MeshError StreamLimitExceeded: the connection has to be dialed again
   */
  established(): void {
    this.#looksLeft = LOOKS;
    const before = this.#remembered;
    if (before === undefined) return;
    const now = readPeerLimits(this.#native);
    const isLess = (Object.keys(before) as (keyof PeerLimits)[]).some(
      (limit) => now[limit] < before[limit],
    );
    if (isLess) throw new MeshError('StreamLimitExceeded', 'the peer grants less than it did');
  }

  get isLooking(): boolean {
    return this.#looksLeft > 0;
  }

  /** Takes the session that the peer gave, if it has come. It is returned once. */
  takeSession(): Uint8Array | undefined {
    this.#looksLeft -= 1;
    const session = this.#native.session();
    if (session === null) {
      // Noise of others must not use up the looks.
      if (this.#looksLeft === 0 && this.#native.stats().recv < LOOKS) this.#looksLeft = LOOKS;
      return undefined;
    }
    this.#looksLeft = 0;
    return session;
  }
}

interface PeerLimits {
  readonly streams: number;
  readonly controlStreams: number;
  readonly connectionBytes: number;
  readonly streamBytes: number;
  readonly controlStreamBytes: number;
}

/** The limits in force: before TLS is done those of the session, afterwards the peer's present ones. */
function readPeerLimits(native: NativeConnection): PeerLimits {
  const stats = native.stats();
  return {
    streams: stats.peerInitialMaxStreamsBidi,
    controlStreams: stats.peerInitialMaxStreamsUni,
    connectionBytes: stats.peerInitialMaxData,
    streamBytes: stats.peerInitialMaxStreamDataBidiRemote,
    controlStreamBytes: stats.peerInitialMaxStreamDataUni,
  };
}
