/** Makes the sessions of a node: calls over one connection, with what all connections of the node share. */
import type { Logger } from 'pino';
import { ByteBudget } from '../calls/byte-budget.js';
import type { Handlers } from '../calls/incoming/call-host.js';
import { MessageCopies } from '../calls/outgoing/message-copies.js';
import { CallSession, type SessionBudgets } from '../calls/session/session.js';
import { ResumedTransfers } from '../calls/transfers/resumed-transfers.js';
import { MessageCodec } from '../protocol/codec.js';
import { FrameCodec } from '../protocol/frame-codec.js';
import type { Negotiated } from '../protocol/handshake.js';
import { type Connection, MAX_PRE_HANDSHAKE_BYTES } from '../transport/connection.js';
import type { Negotiation } from './negotiation.js';
import type { NodeCounts } from './node-counts.js';
import type { NodeConfig } from './options/resolve.js';

/** What a {@link SessionFactory} is made of. */
export interface SessionFactoryOptions {
  readonly config: NodeConfig;
  readonly negotiation: Negotiation;
  readonly handlers: Handlers;
  readonly counts: NodeCounts;
  readonly log: Logger;
}

/** Owns what all sessions of a node share: codec, byte budgets, and transfers that may be resumed. */
export class SessionFactory {
  readonly codec = new MessageCodec();
  /** Copies of messages whose calls wait. */
  readonly copies: MessageCopies;
  readonly #options: SessionFactoryOptions;
  readonly #budgets: SessionBudgets;
  readonly #transfers = new ResumedTransfers();

  constructor(options: SessionFactoryOptions) {
    this.#options = options;
    const { connectionBytes, nodeBytes } = options.config.limits;
    this.copies = new MessageCopies(nodeBytes);
    this.#budgets = {
      connectionBytes,
      send: new ByteBudget(nodeBytes),
      nested: new ByteBudget(nodeBytes),
      chunks: new ByteBudget(nodeBytes),
      receive: new ByteBudget(nodeBytes),
      nestedReceive: new ByteBudget(nodeBytes),
      copies: this.copies,
    };
  }

  /** @param negotiated `undefined` before the handshake is answered */
  create(
    connection: Connection,
    peerNodeId: string,
    negotiated?: Negotiated | undefined,
  ): CallSession {
    const { config, negotiation, handlers, counts, log } = this.#options;
    const { thresholdBytes } = config.compression;
    const frames =
      negotiated === undefined
        ? { maxMessageBytes: MAX_PRE_HANDSHAKE_BYTES, algorithms: [] }
        : negotiation.agreementOf(negotiated);
    const session: CallSession = new CallSession({
      connection,
      peerNodeId,
      capabilities: negotiated?.capabilities ?? negotiation.handshakeConfig.capabilities,
      agreed: negotiated !== undefined,
      codec: new FrameCodec({ codec: this.codec, thresholdBytes, ...frames }),
      handlers,
      budgets: this.#budgets,
      transfers: this.#transfers,
      onHandlerFailure: (type, { code }) => {
        log.debug({ peer: session.peer.nodeId, type, code }, 'handler failed');
      },
      authorize: config.auth?.authorize,
      onAuthorizeFailure: ({ message }) => {
        log.error({ peer: session.peer.nodeId }, `authorize failed: ${message}`);
      },
      onCallRefused: () => {
        counts.refusals.calls += 1;
      },
    });
    return session;
  }
}
