/** One peer of a node, as the node sees it. */
import type { Alarms } from '../base/alarms.js';
import type { PeerAccount } from '../calls/session/peer-account.js';
import type { CallSession } from '../calls/session/session.js';
import type { MeshError } from '../errors.js';
import type { MemberChange } from '../pool/options.js';
import { ConnectionPool } from '../pool/pool.js';
import type { DialFailure } from '../pool/redialer.js';
import type { MessageCodec } from '../protocol/codec.js';
import type { Reports } from '../telemetry/reports.js';
import { DEFAULT_STREAM_LIMITS, type TransportName } from '../transport/connection.js';
import type { PeerTarget } from '../transport/dialing/discovery.js';
import type { NodeConfig } from './options/resolve.js';
import { PooledPeer } from './pooled-peer.js';

/** A peer whose name is known. */
export type NamedTarget = PeerTarget & { readonly nodeId: string };

/** What a link asks of a dial. */
export interface LinkDialOptions {
  readonly signal: AbortSignal;
  /** The round trip to the peer in milliseconds, where it is known. */
  readonly rttMs: number | undefined;
  /** Gets a session that may take some calls before the dial is done. */
  readonly offer: (session: CallSession) => void;
}

export interface LinkOptions {
  readonly nodeId: string;
  /** Whether this node closes its own connection when both nodes have dialed at once. */
  readonly yields: boolean;
  readonly config: NodeConfig;
  readonly codec: MessageCodec;
  readonly account: PeerAccount;
  readonly reports: Reports;
  /** Of all links: their pools share one timer. */
  readonly alarms: Alarms;
  readonly dial: (target: NamedTarget, options: LinkDialOptions) => Promise<CallSession>;
  /** Called when a connection or a dial has ended: the peer may be gone. */
  readonly onRest: () => void;
}

/** In keep-alive intervals. Longer than one, so that the transport asks a silent peer for a sign of life first. */
const IDLE_PATIENCE = 1.5;

/**
 * One peer of a node: the pool of its connections, the `Peer` that users hold, and how it is dialed. It reports what
 * becomes of its connections.
 */
export class Link {
  readonly nodeId: string;
  readonly pool: ConnectionPool<CallSession>;
  readonly peer: PooledPeer;
  /** What is held for this peer, and how many of its calls run. */
  readonly account: PeerAccount;
  readonly #options: LinkOptions;
  #transport: TransportName | undefined;
  #rttMs: number | undefined;

  constructor(options: LinkOptions) {
    const { nodeId, config, codec, account } = options;
    this.nodeId = nodeId;
    this.#options = options;
    this.account = account;
    this.pool = this.#createPool(options);
    this.peer = new PooledPeer({
      nodeId,
      pool: this.pool,
      codec: codec.withLimit(config.limits.messageBytes),
      copies: account.copies,
      retry: config.retry,
    });
  }

  /** Whether there is a connection, there may be one soon, or calls or bytes of the peer are still here. */
  get isInUse(): boolean {
    const { members, mayConnect, end } = this.pool;
    const { slots, usedBytes } = this.account;
    const isHolding = slots.taken > 0 || usedBytes > 0;
    return end !== undefined || members.length > 0 || mayConnect || isHolding;
  }

  /** Sets where the peer is dialed from now on. */
  reachBy(target: NamedTarget): void {
    const { dial } = this.#options;
    this.pool.dial = ({ signal, offer }) => dial(target, { signal, offer, rttMs: this.#rttMs });
  }

  /** Closes the link for good. What waits to be sent is sent now where that is possible, and fails where it is not. */
  close(error: MeshError): void {
    this.peer.flushBatches();
    this.pool.close(error);
  }

  #createPool({ config, yields, alarms }: LinkOptions): ConnectionPool<CallSession> {
    const { pool: limits, health, reconnect: backoff } = config;
    const { maxQueuedStreams, connectionWindowBytes } = DEFAULT_STREAM_LIMITS;
    return new ConnectionPool<CallSession>({
      limits,
      health: { ...health, idleIntervalMs: IDLE_PATIENCE * config.timeouts.keepAliveMs },
      backoff,
      waiters: {
        maxWaiters: maxQueuedStreams,
        maxWeight: config.limits.messageBytes + connectionWindowBytes,
      },
      alarms,
      yields: () => yields,
      onChange: (change) => this.#changed(change),
      onSuspicion: (session, isSuspect) => this.#suspected(session, isSuspect),
      onDialFailed: (error, failure) => this.#dialFailed(error, failure),
    });
  }

  #changed({ member, from, to }: MemberChange<CallSession>): void {
    this.#options.reports.connectionChanged(this.nodeId, member?.transport, from, to);
    this.#noteTransport();
    if (to.kind === 'closed' || to.kind === 'failed') this.#options.onRest();
  }

  #suspected(session: CallSession, isSuspect: boolean): void {
    this.#rttMs = session.connection.rttMs ?? this.#rttMs;
    this.#options.reports.suspected(session, isSuspect);
    this.#noteTransport();
  }

  /** Whoever waits for the dial learns of its failure anyway, so that is not reported. */
  #dialFailed(error: MeshError, { isAwaited, retryInMs }: DialFailure): void {
    if (isAwaited && retryInMs === undefined) return;
    this.#options.reports.dialFailed(this.nodeId, error, retryInMs);
  }

  /** The youngest healthy connection counts: when calls move, they move to that one. */
  #noteTransport(): void {
    const youngest = this.pool.wellMembers.at(-1);
    if (youngest === undefined) return;
    const before = this.#transport;
    this.#transport = youngest.transport;
    if (before === undefined || before === this.#transport) return;
    this.#options.reports.transportChanged(this.nodeId, before, this.#transport);
  }
}
