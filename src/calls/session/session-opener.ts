/** Opens the streams of a session's calls: freely after the handshake, and within limits before. SPEC.md, "Pipelining". */
import type { MeshError } from '../../errors.js';
import type { Priority } from '../../protocol/priority.js';
import {
  type Connection,
  type FrameStream,
  MAX_PRE_HANDSHAKE_BYTES,
} from '../../transport/connection.js';
import { type CallHandler, ConnectionOpener, type StreamOpener } from '../stream-opener.js';
import { PreHandshakeStreams } from './pre-handshake-streams.js';

/** Room for the time left, which a message is given as it leaves. */
const TIMEOUT_BYTES = 32;

/** Knows whether the handshake is answered, and which calls may leave before it is. */
export class SessionOpener implements StreamOpener {
  readonly #connection: Connection;
  readonly #open: ConnectionOpener;
  /** Until the handshake is answered. */
  #preHandshake: PreHandshakeStreams | undefined;

  /** @param isAgreed whether the handshake is answered already */
  constructor(connection: Connection, isAgreed: boolean) {
    this.#connection = connection;
    this.#open = new ConnectionOpener(connection);
    this.#preHandshake = isAgreed ? undefined : new PreHandshakeStreams(connection);
  }

  /** Whether the handshake is done. Before, only calls for which {@link takes} is true may be made. */
  get isAgreed(): boolean {
    return this.#preHandshake === undefined;
  }

  /** Whether the connection has ended before its handshake was done. */
  get isVain(): boolean {
    const { kind } = this.#connection.state;
    return !this.isAgreed && (kind === 'closing' || kind === 'closed');
  }

  /**
   * Whether a call may leave now. Before the handshake is answered its message has to be small, and before TLS is done
   * the call has to be replay-safe.
   */
  takes(call: { readonly bytes: number; readonly replaySafe: boolean }): boolean {
    const { kind } = this.#connection.state;
    if (kind === 'closing' || kind === 'closed' || this.#connection.isGoingAway) return false;
    const preHandshake = this.#preHandshake;
    if (preHandshake === undefined) return true;
    if (!preHandshake.hasRoom || call.bytes > MAX_PRE_HANDSHAKE_BYTES - TIMEOUT_BYTES) return false;
    return kind === 'open' || (kind === 'early' && call.replaySafe);
  }

  openStream(handler: CallHandler, priority: Priority): FrameStream {
    return (this.#preHandshake ?? this.#open).openStream(handler, priority);
  }

  /** The peer has accepted the handshake: what has come back meanwhile is read. */
  agree(): void {
    const preHandshake = this.#preHandshake;
    this.#preHandshake = undefined;
    preHandshake?.release();
  }

  /** The handshake has failed. @param refused by the peer, which has run none of the calls */
  fail(error: MeshError, refused: boolean): void {
    this.#preHandshake?.fail(error, refused);
  }
}
