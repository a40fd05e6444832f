/** Creates native connections for an endpoint: dialed ones, with a session to resume, and accepted ones. */
import type { Role, SocketAddress } from '../../connection.js';
import type { AcceptedInitial } from '../admission/initial-handler.js';
import type { ResetTokens } from '../admission/stateless-reset.js';
import {
  type NativeConfig,
  type NativeConnection,
  type NativeQuic,
  readNativeFailure,
} from '../binding/native.js';
import { nativeAddress } from '../paths/path.js';

/**
 * Gives the native configuration for a connection with this peer, with the certificates in force now.
 * @param role what this side is in it
 * @param takenBytes the largest datagram that the peer takes, where that is known
 */
export type ConfigFor = (
  role: Role,
  remote: SocketAddress,
  local: SocketAddress,
  takenBytes?: number,
) => NativeConfig;

export interface NativeConnectionsOptions {
  readonly native: NativeQuic;
  readonly configFor: ConfigFor;
  readonly resetTokens: ResetTokens;
}

export interface ConnectOptions {
  readonly connectionId: Buffer;
  readonly local: SocketAddress;
  readonly remote: SocketAddress;
  /** The TLS session of an earlier connection, to resume. */
  readonly session: Uint8Array | undefined;
  /** Checks the certificate chain that belongs to the session. @throws when it is not trusted any more */
  readonly verifyPeer: (chain: readonly Uint8Array[]) => unknown;
  /** The session cannot be used; the connection begins without it. */
  readonly sessionUnusable: () => void;
}

/** Creates the native connections of one endpoint. */
export class NativeConnections {
  readonly #options: NativeConnectionsOptions;

  constructor(options: NativeConnectionsOptions) {
    this.#options = options;
  }

  /**
   * Creates a dialed connection. A session is used only if its certificate is still trusted, because its early data goes to
   * whoever has the key of that certificate.
   */
  connect({ connectionId, local, remote, ...resumption }: ConnectOptions): NativeConnection {
    const { native, configFor } = this.#options;
    const { session, verifyPeer, sessionUnusable } = resumption;
    const config = configFor('dialer', remote, local);
    const [from, to] = [nativeAddress(local), nativeAddress(remote)];
    const connect = () => native.Connection.connect(null, connectionId, from, to, config);
    const fresh = connect();
    if (session === undefined) return fresh;
    try {
      fresh.setSession(session);
      verifyPeer(fresh.peerCertChain() ?? []);
      return fresh;
    } catch {
      sessionUnusable();
      return connect();
    }
  }

  /**
   * Creates an accepted connection.
   *
   * quiche 0.18.0 writes its transport parameters into 128 bytes, and refuses the connection when they do not fit. After a
   * Retry they contain the client's first connection ID, of up to 20 bytes. The only parameter that can be left out is the
   * stateless reset token: such a peer finds out by silence that this node was restarted.
   * @throws what the binding throws, such as for an address that it cannot read
   */
  accept(
    { connectionId, originalId, guard }: AcceptedInitial,
    localAddress: SocketAddress,
    remoteAddress: SocketAddress,
  ): NativeConnection {
    const { native, configFor, resetTokens } = this.#options;
    const config = configFor('acceptor', remoteAddress, localAddress, guard.takenBytes);
    const [local, remote] = [nativeAddress(localAddress), nativeAddress(remoteAddress)];
    const accept = (resetToken: bigint | null) => {
      // The binding reads the token from the configuration, which all connections share, during the call below.
      config.setStatelessResetToken(resetToken);
      return native.Connection.accept(connectionId, originalId, local, remote, config);
    };
    try {
      return accept(resetTokens.numberOf(connectionId));
    } catch (thrown) {
      if (readNativeFailure(thrown).name !== 'BufferTooShort') throw thrown;
      return accept(null);
    }
  }
}
