/** One peer of a node, as the node sees it. */
import type { Alarms } from '../base/alarms.js';
import type { PeerAccount } from '../calls/session/peer-account.js';
import type { CallSession } from '../calls/session/session.js';
import { isLoss, type MeshError } from '../errors.js';
import type { MemberChange, PoolLimits, PoolOptions } from '../pool/options.js';
import { ConnectionPool } from '../pool/pool.js';
import type { DialFailure } from '../pool/redialer.js';
import type { MessageCodec } from '../protocol/codec.js';
import type { ConnectionClass } from '../protocol/connection-class.js';
import type { Reports } from '../telemetry/reports.js';
import { DEFAULT_STREAM_LIMITS, type TransportName } from '../transport/connection.js';
import type { PeerTarget } from '../transport/dialing/discovery.js';
import { BulkLane } from './bulk-lane.js';
import type { BulkRoutes } from './bulk-routes.js';
import type { NodeConfig } from './options/resolve.js';
import { PooledPeer } from './pooled-peer.js';

/** A peer whose name is known. */
export type NamedTarget = PeerTarget & { readonly nodeId: string };

/** What a link asks of a dial. */
export interface LinkDialOptions {
  readonly signal: AbortSignal;
  readonly connectionClass: ConnectionClass;
  /** The round trip to the peer in milliseconds, where it is known. */
  readonly rttMs: number | undefined;
  /** Gets a session that may take some calls before the dial is done. */
  readonly offer?: ((session: CallSession) => void) | undefined;
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
  /** Of all links. */
  readonly bulkRoutes: BulkRoutes;
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
  #lane: BulkLane | undefined;
  #target: NamedTarget | undefined;
  #transport: TransportName | undefined;
  #rttMs: number | undefined;

  constructor(options: LinkOptions) {
    const { nodeId, config, codec, account } = options;
    this.nodeId = nodeId;
    this.#options = options;
    this.account = account;
    this.pool = this.#createPool(config.pool, {
      onChange: (change) => this.#changed(change),
      onSuspicion: (session, isSuspect) => this.#suspected(session, isSuspect),
      onDialFailed: (error, failure) => this.#dialFailed(error, failure),
    });
    const { transport, thresholdBytes } = config.bulk;
    this.peer = new PooledPeer({
      nodeId,
      pool: this.pool,
      lane: () => this.#lane,
      bulk: transport === 'same' ? undefined : { thresholdBytes, lane: () => this.lane },
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
    const isBulk = this.#lane !== undefined && isConnecting(this.#lane.pool);
    return end !== undefined || members.length > 0 || mayConnect || isBulk || isHolding;
  }

  /** Where bulk transfers go. Made when the first of either side needs it. */
  get lane(): BulkLane {
    this.#lane ??= this.#createLane();
    return this.#lane;
  }

  /** The pool for connections of that class. */
  poolOf({ connectionClass }: CallSession): ConnectionPool<CallSession> {
    return connectionClass === 'bulk' ? this.lane.pool : this.pool;
  }

  /** Sets where the peer is dialed from now on. */
  reachBy(target: NamedTarget): void {
    const { dial } = this.#options;
    this.#target = target;
    this.pool.dial = ({ signal, offer }) =>
      dial(target, { signal, offer, rttMs: this.#rttMs, connectionClass: 'calls' });
    if (this.#lane !== undefined) this.#reachLaneBy(this.#lane, target);
  }

  /** Closes the link for good. What waits to be sent is sent now where that is possible, and fails where it is not. */
  close(error: MeshError): void {
    this.peer.flushBatches();
    this.pool.close(error);
    this.#lane?.pool.close(error);
  }

  #createLane(): BulkLane {
    const { config, reports, bulkRoutes, onRest } = this.#options;
    const { idleMs } = config.bulk;
    const pool = this.#createPool(
      { ...config.pool, min: 0, max: 1, idleMs },
      {
        onDemand: true,
        onChange: (change) => {
          const { member, from, to } = change;
          reports.connectionChanged(this.nodeId, 'bulk', member?.transport, from, to);
          this.#judgeRoute(change);
          if (to.kind === 'closed' || to.kind === 'failed') onRest();
        },
        onSuspicion: (session, isSuspect) => reports.suspected(session, isSuspect),
        onDialFailed: (error) => reports.bulkDialFailed(this.nodeId, error),
      },
    );
    const lane = new BulkLane(pool, this.pool, {
      hasRoute: () => bulkRoutes.to(this.nodeId, performance.now()).length > 0,
      patienceMs: config.timeouts.connectMs,
    });
    const { end } = this.pool;
    if (end !== undefined) pool.close(end);
    if (this.#target !== undefined) this.#reachLaneBy(lane, this.#target);
    return lane;
  }

  #reachLaneBy({ pool }: BulkLane, target: NamedTarget): void {
    const { dial } = this.#options;
    // Nothing leaves early by it: until the handshake is answered, the peer may take it for a connection for calls.
    pool.dial = ({ signal }) => {
      const rttMs = this.pool.wellMembers.at(-1)?.connection.rttMs ?? this.#rttMs;
      return dial(target, { signal, rttMs, connectionClass: 'bulk' });
    };
  }

  /**
   * A bulk connection that is lost in the midst of transfers, while calls still reach the peer, speaks against its transport: the
   * next one takes another. Where the peer itself is gone, that is not known yet, and the other transport serves as well.
   */
  #judgeRoute({ member, from, to }: MemberChange<CallSession>): void {
    if (member === undefined) return;
    const { transport, connection } = member;
    const { bulkRoutes, config } = this.#options;
    if (to.kind === 'closed') {
      const { bytesSent, bytesReceived } = connection.counters;
      if (bytesSent + bytesReceived < config.bulk.thresholdBytes) return;
      bulkRoutes.served(this.nodeId, transport);
    } else if (to.kind === 'failed' && from === 'active' && isLoss(to.error.code)) {
      if (this.pool.wellMembers.length === 0) return;
      bulkRoutes.failed(this.nodeId, transport, performance.now());
      this.#lane?.rerouted();
    }
  }

  #createPool(
    limits: PoolLimits,
    its: Pick<PoolOptions<CallSession>, 'onDemand' | 'onChange' | 'onSuspicion' | 'onDialFailed'>,
  ): ConnectionPool<CallSession> {
    const { config, yields, alarms } = this.#options;
    const { health, reconnect: backoff } = config;
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
      ...its,
    });
  }

  #changed({ member, from, to }: MemberChange<CallSession>): void {
    this.#options.reports.connectionChanged(this.nodeId, 'calls', member?.transport, from, to);
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

function isConnecting({ members, mayConnect }: ConnectionPool<CallSession>): boolean {
  return members.length > 0 || mayConnect;
}
