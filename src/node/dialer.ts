/** Dials the peers of a node: limits, the signals that end a dial, and what becomes of a handshake that succeeds. */
import { AsyncResource } from 'node:async_hooks';
import { joinSignals } from '../base/abortable.js';
import type { CallSession } from '../calls/session/session.js';
import { MeshError } from '../errors.js';
import type { ConnectionClass } from '../protocol/connection-class.js';
import type { TransportName } from '../transport/connection.js';
import type { PeerTarget } from '../transport/dialing/discovery.js';
import type { TransportManager } from '../transport/dialing/manager.js';
import type { BulkRoutes } from './bulk-routes.js';
import type { Certificates } from './certificates.js';
import { dialBulk } from './dial-bulk.js';
import { type DialingOptions, dialPeer } from './dial-peer.js';
import type { Negotiation } from './negotiation.js';
import type { NodeConfig } from './options/resolve.js';
import type { Renewal } from './renewal.js';
import type { SessionFactory } from './session-factory.js';
import type { SessionRegistry } from './session-registry.js';

/** What a {@link Dialer} is made of. */
export interface DialerOptions {
  readonly config: NodeConfig;
  readonly manager: TransportManager;
  readonly negotiation: Negotiation;
  readonly certificates: Certificates;
  readonly factory: SessionFactory;
  readonly sessions: SessionRegistry;
  readonly renewal: Renewal;
  readonly bulkRoutes: BulkRoutes;
  /** Fires when the node closes, and ends every dial. */
  readonly stopping: AbortSignal;
}

/** How a node dials. */
export interface NodeDialOptions {
  readonly signal?: AbortSignal | undefined;
  /** Gets a session that may take some calls before the dial is done. */
  readonly offer?: ((session: CallSession) => void) | undefined;
  /** The round trip to the peer in milliseconds, where it is known. */
  readonly rttMs?: number | undefined;
  /** Dials only over transports that are preferred to this one. */
  readonly betterThan?: TransportName | undefined;
  /** What the connection is for. Default calls. */
  readonly connectionClass?: ConnectionClass | undefined;
  /** Whether the limits of the peer's pool do not count the connection. */
  readonly isPinned?: boolean | undefined;
}

/** Counts the dials under way; their connections are registered as soon as the peer has accepted the handshake. */
export class Dialer {
  readonly #options: DialerOptions;
  /** The async context that the node was created in. */
  readonly #home = new AsyncResource('quicmesh.Dialer');
  #dials = 0;

  constructor(options: DialerOptions) {
    this.#options = options;
  }

  /**
   * Dials in the node's own async context, not in that of whoever wants the peer. Sockets and timers call back in the
   * context that they were made in, and handlers run there, for as long as the connection lives.
   * @throws MeshError as `connect`, and ConnectionLimitExceeded; CapabilityMissing for a peer without connections of that class
   */
  dial(target: PeerTarget, options: NodeDialOptions): Promise<CallSession> {
    return this.#home.runInAsyncScope(() => this.#dial(target, options));
  }

  async #dial(target: PeerTarget, options: NodeDialOptions): Promise<CallSession> {
    const { config, manager, negotiation, factory, certificates } = this.#options;
    const { sessions, bulkRoutes, stopping } = this.#options;
    const { signal, offer = () => {}, rttMs, betterThan, isPinned } = options;
    const { connectionClass = 'calls' } = options;
    const { limits, timeouts } = config;
    if (sessions.size + this.#dials >= limits.connections) {
      throw new MeshError('ConnectionLimitExceeded', `node has ${limits.connections} connections`);
    }
    const ends = joinSignals(signal, stopping);
    this.#dials += 1;
    const { cert } = certificates.inForce;
    try {
      const dialing: DialingOptions = {
        manager,
        config: () => ({ ...negotiation.handshakeConfig, connectionClass }),
        codec: factory.codec,
        connectTimeoutMs: timeouts.connectMs,
        handshakeTimeoutMs: () => timeouts.handshakeMs,
        betterThan,
        rttMs,
        offer,
        createSession: (connection) => {
          certificates.watch(connection);
          return factory.create(connection, target.nodeId ?? '', undefined, connectionClass);
        },
        accepted: (session, negotiated) => {
          if (negotiated.connectionClass !== connectionClass) throw withoutClass(connectionClass);
          session.agree(negotiation.agreementOf(negotiated));
          this.#renewInTime(session, target, cert);
          sessions.register(session, isPinned);
          return session.accept;
        },
      };
      const { nodeId } = target;
      if (connectionClass !== 'bulk' || nodeId === undefined) {
        return await dialPeer(target, ends.signal, dialing);
      }
      return await dialBulk({ ...target, nodeId }, ends.signal, bulkRoutes, dialing);
    } finally {
      ends.release();
      this.#dials -= 1;
    }
  }

  /**
   * @param cert this node's certificate when the dial began. If it has another one by now, the peer has to see that one
   */
  #renewInTime(session: CallSession, target: PeerTarget, cert: string): void {
    const { certificates, renewal } = this.#options;
    const isOld = cert !== certificates.inForce.cert;
    renewal.watch(session, target, isOld && certificates.governs(session.connection));
  }
}

/** To a peer that does not know the class, the connection is one for calls, which nobody has asked for. */
function withoutClass(connectionClass: ConnectionClass): MeshError {
  return new MeshError('CapabilityMissing', `peer has no connections of class ${connectionClass}`);
}
