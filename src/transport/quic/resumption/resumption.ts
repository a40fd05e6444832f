/**
 * A dialer's part in resuming sessions: what its early data counts on, and the session that the peer gives for the next
 * time. RFC 9001, sections 4.5 and 4.6.
 */
import { MeshError } from '../../../errors.js';
import type { NativeConnection } from '../binding/native.js';

/**
 * Datagrams after which a session is looked for: it comes in the first or second that follows the handshake, if at all,
 * and every look costs a call into the binding.
 */
const LOOKS = 32;

/**
 * A dialer's part in resuming sessions: it checks what early data counted on, and takes the session that the peer gives
 * for the next time. RFC 9001, sections 4.5 and 4.6.
 */
export class Resumption {
  readonly #native: NativeConnection;
  /** The peer's limits when it gave the session that early data goes by. */
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
   * TLS is done. A peer that takes early data must grant as much as before (RFC 9000, section 7.4.1); one that refuses it
   * may grant less, and what was sent in vain is then beyond its limits when QUIC sends it again.
   * @throws MeshError StreamLimitExceeded: the connection is to be begun anew
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

  /** The session that the peer gave, once, if it has. */
  takeSession(): Uint8Array | undefined {
    this.#looksLeft -= 1;
    const session = this.#native.session();
    if (session === null) return undefined;
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

/** Those in force now: remembered ones before TLS is done, the peer's own after. */
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
