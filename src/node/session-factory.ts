/** Makes the sessions of a node: calls over one connection, with what all connections of the node share. */
import type { Handlers } from '../calls/incoming/call-host.js';
import { NodeAccount, PeerAccount } from '../calls/session/peer-account.js';
import { CallSession } from '../calls/session/session.js';
import { ResumedTransfers } from '../calls/transfers/resumed-transfers.js';
import type { MeshErrorCode } from '../errors.js';
import { MessageCodec } from '../protocol/codec.js';
import type { ConnectionClass } from '../protocol/connection-class.js';
import { FrameCodec } from '../protocol/frame-codec.js';
import type { Negotiated } from '../protocol/handshake.js';
import type { NodeLog } from '../telemetry/logging.js';
import type { Reports } from '../telemetry/reports.js';
import { type Connection, MAX_PRE_HANDSHAKE_BYTES } from '../transport/connection.js';
import type { Negotiation } from './negotiation.js';
import type { NodeCounts } from './node-counts.js';
import type { NodeConfig } from './options/resolve.js';
import { ERRORS_TEXT, type PeerErrors } from './peer-errors.js';

/** What a {@link SessionFactory} is made of. */
export interface SessionFactoryOptions {
  readonly config: NodeConfig;
  readonly negotiation: Negotiation;
  readonly handlers: Handlers;
  readonly counts: NodeCounts;
  readonly log: NodeLog;
  readonly reports: Reports;
  readonly errors: PeerErrors;
  /** The account of the peer of that name. */
  readonly accountOf: (nodeId: string) => PeerAccount;
}

/** Owns what all sessions of a node share: codec, the node's account, and transfers that may be resumed. */
export class SessionFactory {
  readonly codec = new MessageCodec();
  readonly #options: SessionFactoryOptions;
  readonly #account: NodeAccount;
  readonly #transfers = new ResumedTransfers();

  constructor(options: SessionFactoryOptions) {
    this.#options = options;
    this.#account = new NodeAccount(options.config.limits);
  }

  /** The account of another peer. */
  newAccount(): PeerAccount {
    return new PeerAccount(this.#account, this.#options.config.limits);
  }

  /**
   * @param connectionClass what this node dials the connection for; a connection of the peer is for what was negotiated
   * @param peerNodeId '' where the dialer does not know whom it has dialed
   * @param negotiated `undefined` before the handshake is answered
   */
  create(
    connection: Connection,
    peerNodeId: string,
    negotiated?: Negotiated | undefined,
    connectionClass: ConnectionClass = 'calls',
  ): CallSession {
    const { config, negotiation, handlers, counts, log, reports, errors, accountOf } =
      this.#options;
    const { thresholdBytes } = config.compression;
    const frames =
      negotiated === undefined
        ? { maxMessageBytes: MAX_PRE_HANDSHAKE_BYTES, algorithms: [] }
        : negotiation.agreementOf(negotiated);
    const session: CallSession = new CallSession({
      connection,
      peerNodeId,
      capabilities: negotiated?.capabilities ?? negotiation.handshakeConfig.capabilities,
      connectionClass: negotiated?.connectionClass ?? connectionClass,
      agreed: negotiated !== undefined,
      codec: new FrameCodec({ codec: this.codec, thresholdBytes, ...frames }),
      handlers,
      account: peerNodeId === '' ? undefined : accountOf(peerNodeId),
      transfers: this.#transfers,
      onHandlerFailure: (type, { code }) => {
        log.debug({ peer: session.peer.nodeId, type, code }, 'handler failed');
      },
      redundancy: config.redundancy,
      authorize: config.auth?.authorize,
      onAuthorizeFailure: ({ message }) => {
        reports.authFailed('authorize', session.peer.nodeId, message);
      },
      onCallRefused: ({ code }) => {
        counts.refusals.calls += 1;
        if (
          !UNREADABLE.has(code) ||
          !errors.noteMessage(connection.peerIdentity, performance.now())
        ) {
          return;
        }
        void connection.close('Overloaded', ERRORS_TEXT);
      },
    });
    return session;
  }
}

/** Calls of a peer in good faith are not refused with these. */
const UNREADABLE: ReadonlySet<MeshErrorCode> = new Set([
  'MalformedMessage',
  'MessageTooLarge',
  'UnexpectedMessage',
]);
