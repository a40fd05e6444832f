/** Accepts the peers of a node: listens, takes dialers through the handshake, and refuses those beyond the limits. */
import { isOffence, MeshError, toMeshError } from '../errors.js';
import { ReplayGuard } from '../protocol/replay-guard.js';
import type { NodeLog } from '../telemetry/logging.js';
import type { Connection, Listener, Refusal, SocketAddress } from '../transport/connection.js';
import { awaitHandshake } from '../transport/dialing/handshaker.js';
import type { TransportManager } from '../transport/dialing/manager.js';
import { dialableAddresses } from '../transport/local-addresses.js';
import type { Certificates } from './certificates.js';
import type { Negotiation } from './negotiation.js';
import type { NodeConfig } from './options/resolve.js';
import { ERRORS_TEXT, type PeerErrors } from './peer-errors.js';
import type { SessionFactory } from './session-factory.js';
import type { SessionRegistry } from './session-registry.js';

/** What an {@link Acceptor} is made of. */
export interface AcceptorOptions {
  readonly config: NodeConfig;
  readonly manager: TransportManager;
  readonly negotiation: Negotiation;
  readonly certificates: Certificates;
  readonly factory: SessionFactory;
  readonly sessions: SessionRegistry;
  readonly errors: PeerErrors;
  readonly log: NodeLog;
  /** Fires when the node closes. From then on it takes no more peers. */
  readonly stopping: AbortSignal;
  readonly onRefused: (refusal: Refusal) => void;
}

/** Owns the listener, and the guard that tells recorded handshakes from fresh ones. */
export class Acceptor {
  readonly #options: AcceptorOptions;
  readonly #replayGuard = new ReplayGuard();
  #listener: Listener | undefined;

  constructor(options: AcceptorOptions) {
    this.#options = options;
  }

  /** See `MeshNode.addresses`. */
  get addresses(): readonly SocketAddress[] {
    return this.#listener === undefined ? [] : dialableAddresses(this.#listener.address);
  }

  /** Does nothing for a node that only dials. */
  async start(): Promise<void> {
    const { config, manager, log, onRefused } = this.#options;
    if (config.listen === undefined) return;
    this.#listener = await manager.listen({
      ...config.listen,
      onConnection: (connection) => void this.#acceptPeer(connection),
      onRefused,
    });
    log.info(this.#listener.address, 'listening');
  }

  async close(): Promise<void> {
    await this.#listener?.close();
  }

  /** Runs the handshake with a peer that dialed, and registers its session or refuses it. */
  async #acceptPeer(connection: Connection): Promise<void> {
    const { config, negotiation, certificates, factory, sessions, errors, onRefused } =
      this.#options;
    certificates.watch(connection);
    try {
      await awaitHandshake(connection, {
        config: negotiation.handshakeConfig,
        codec: factory.codec,
        timeoutMs: config.timeouts.handshakeMs,
        replayGuard: this.#replayGuard,
        refusalOf: (nodeId) => this.#refusalOf(nodeId, connection),
        accepted: (negotiated) => {
          const session = factory.create(connection, negotiated.peerNodeId, negotiated);
          sessions.register(session);
          return session.accept;
        },
      });
    } catch (thrown) {
      const { transport, remoteAddress } = connection;
      const error = toMeshError(thrown);
      if (isOffence(error)) errors.noteConnection(connection.peerIdentity, performance.now());
      // A dialer that left because another of its transports was faster was not refused.
      if (error.code === 'ConnectionClosed' && error.side === 'remote') return;
      onRefused({ error, remoteAddress, transport });
    }
  }

  /** Why that node gets no further connection; `undefined` if it gets one. */
  #refusalOf(nodeId: string, { peerIdentity }: Connection): MeshError | undefined {
    const { config, sessions, errors, stopping } = this.#options;
    if (stopping.aborted) return new MeshError('GoingAway', 'node is closing');
    if (errors.isOver(peerIdentity, performance.now())) {
      return new MeshError('Overloaded', ERRORS_TEXT);
    }
    const { connections, connectionsPerPeer } = config.limits;
    const hasRoom = sessions.acceptedFrom(nodeId) < connectionsPerPeer;
    if (sessions.size < connections && hasRoom) return undefined;
    return new MeshError('ConnectionLimitExceeded', 'too many connections, of this node or in all');
  }
}
