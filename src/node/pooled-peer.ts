/** The peer that a node hands out: its calls, over whichever connection of the pool is open. */
import { AsyncResource } from 'node:async_hooks';
import type { Carry } from '../calls/batching/batch.js';
import { type BatchOptions, MessageBatcher } from '../calls/batching/batcher.js';
import { OpenBatches } from '../calls/batching/open-batches.js';
import { ONE_WAY_TYPES, REQUEST_TYPES, TRANSFER_TYPES, typeRefusal } from '../calls/call-types.js';
import { nestingOfCalls } from '../calls/handling.js';
import type { Attempt } from '../calls/outgoing/call-again.js';
import { type Caller, callAgain, type RetryHost } from '../calls/outgoing/call-again.js';
import type { Recovery } from '../calls/outgoing/failed-call.js';
import { type AttemptOptions, LatestCalls } from '../calls/outgoing/latest-calls.js';
import type { MessageCopies } from '../calls/outgoing/message-copies.js';
import { RetryBudget, type RetryBudgetLimits } from '../calls/outgoing/retry-budget.js';
import type { RetryPolicy } from '../calls/outgoing/retry-policy.js';
import { CallQueue, type StartCall } from '../calls/session/call-queue.js';
import type { CallSession } from '../calls/session/session.js';
import { expectFailure } from '../calls/transfers/chunk-source.js';
import type { TransferOptions } from '../calls/transfers/outgoing-transfer.js';
import { openResumable } from '../calls/transfers/resumable-transfer.js';
import { checkCrc32 } from '../calls/transfers/transfer-checksum.js';
import type {
  CallOptions,
  OneWayMessage,
  ReplyTo,
  RequestMessage,
  RetryCounters,
  StreamCallOptions,
  TrySendOptions,
} from '../calls/types.js';
import { MeshError } from '../errors.js';
import type { MemberStateKind } from '../pool/member.js';
import type { PoolStatistics } from '../pool/options.js';
import type { ConnectionPool } from '../pool/pool.js';
import type { MessageCodec } from '../protocol/codec.js';
import type { DataTransfer, Message } from '../protocol/message.js';
import { priorityOf } from '../protocol/priority.js';
import type { MigrateOptions, TransportName } from '../transport/connection.js';
import type { BulkLane } from './bulk-lane.js';
import type { Peer, PeerConnection, TransferOpening } from './peer.js';

/** What a {@link PooledPeer} is made of. */
export interface PooledPeerOptions {
  readonly nodeId: string;
  readonly pool: ConnectionPool<CallSession>;
  /** The bulk connections of either side, where there were any. */
  readonly lane: () => BulkLane | undefined;
  /** Where this side's bulk transfers go. Default: the connections of `pool`. */
  readonly bulk: BulkWay | undefined;
  /** Encodes the messages of calls that wait, and holds them to this side's own limit. */
  readonly codec: MessageCodec;
  /** Copies of those messages. */
  readonly copies: MessageCopies;
  readonly retry: RetryPolicy & RetryBudgetLimits;
}

/** The way of bulk transfers. */
export interface BulkWay {
  /** Transfers from this size on go this way. */
  readonly thresholdBytes: number;
  readonly lane: () => BulkLane;
}

/** A peer whose calls go over the connections of a pool. See {@link Peer} for what its methods do. */
export class PooledPeer implements Peer {
  readonly nodeId: string;
  readonly #pool: ConnectionPool<CallSession>;
  readonly #queue: CallQueue;
  readonly #lane: () => BulkLane | undefined;
  readonly #bulk: BulkWay | undefined;
  readonly #bulkQueue: CallQueue | undefined;
  readonly #retry: RetryHost;
  readonly #requests: PeerCaller<Message>;
  readonly #sends: PeerCaller<void>;
  readonly #latest = new LatestCalls();
  readonly #batches: OpenBatches;

  constructor({ nodeId, pool, lane, bulk, codec, copies, retry }: PooledPeerOptions) {
    this.nodeId = nodeId;
    this.#pool = pool;
    this.#queue = new CallQueue(codec, copies, (call) => pool.wait(call));
    this.#requests = new PeerCaller(pool, this.#queue, startRequest);
    this.#sends = new PeerCaller(pool, this.#queue, startSend);
    this.#lane = lane;
    this.#bulk = bulk;
    if (bulk !== undefined) {
      this.#bulkQueue = new CallQueue(codec, copies, (call) => bulk.lane().wait(call));
    }
    this.#batches = new OpenBatches(() => pool.end);
    this.#retry = {
      policy: retry,
      budget: new RetryBudget(retry),
      counters: { attempts: 0, denied: 0 },
      random: Math.random,
      hasWay: () => pool.isOpen || pool.mayConnect,
      released: () => pool.released,
    };
  }

  get isConnected(): boolean {
    return this.#pool.isOpen;
  }

  get transport(): TransportName | undefined {
    const { wellMembers, members } = this.#pool;
    return (wellMembers.at(-1) ?? members.find(({ isOpen }) => isOpen))?.transport;
  }

  get connections(): readonly PeerConnection[] {
    return this.#pools.flatMap((pool) =>
      pool.members.map((session) => describe(session, pool.stateOf(session))),
    );
  }

  get statistics(): PoolStatistics {
    return this.#pool.statistics;
  }

  get bulkStatistics(): PoolStatistics | undefined {
    return this.#lane()?.pool.statistics;
  }

  get retries(): Readonly<RetryCounters> {
    return { ...this.#retry.counters };
  }

  request<M extends RequestMessage>(message: M, options: CallOptions = {}): Promise<ReplyTo<M>> {
    const refusal = typeRefusal(message, REQUEST_TYPES);
    if (refusal !== undefined) return Promise.reject(refusal);
    return this.#call(this.#requests, message, options) as Promise<ReplyTo<M>>;
  }

  send(message: OneWayMessage, options: CallOptions = {}): Promise<void> {
    const refusal = typeRefusal(message, ONE_WAY_TYPES);
    if (refusal !== undefined) return Promise.reject(refusal);
    return this.#call(this.#sends, message, options);
  }

  trySend(message: OneWayMessage, options: TrySendOptions = {}): boolean {
    const refusal = typeRefusal(message, ONE_WAY_TYPES);
    if (refusal !== undefined) throw refusal;
    return this.#pool.select()?.trySend(message, options) ?? false;
  }

  stream(transfer: TransferOpening, options: StreamCallOptions = {}): AsyncIterable<Uint8Array> {
    if (transfer?.type !== undefined || typeof transfer !== 'object') {
      const refusal = typeRefusal(transfer, TRANSFER_TYPES);
      if (refusal !== undefined) throw refusal;
    }
    const nested = nestingOfCalls() === undefined ? {} : { nested: true };
    const open: DataTransfer = { offset: 0, ...transfer, ...nested, type: 'dataTransfer' };
    checkTransfer(open, options);
    const own = withContext(options);
    const lane = this.#laneOf(open, options);
    if (own.resume === true) {
      if (!this.#retry.hasWay()) checkMayConnect(this.#pool);
      return openResumable(lane ?? this.#pool, this.#queue.capture(open), own);
    }
    const session = (lane ?? this.#pool).select();
    if (session !== undefined) return session.stream(open, own);
    if (lane?.isOpen !== true) checkMayConnect(this.#pool);
    return ((lane && this.#bulkQueue) ?? this.#queue).stream(open, own);
  }

  batch(options: BatchOptions = {}): MessageBatcher {
    const carry: Carry = (message, left) => this.request(message, left);
    return new MessageBatcher(carry, this.#batches, options);
  }

  async ping(options: CallOptions = {}): Promise<number> {
    const startMs = performance.now();
    await this.request({ type: 'ping' }, options);
    return performance.now() - startMs;
  }

  async migrate(options: MigrateOptions = {}): Promise<void> {
    const movable = this.#pools
      .flatMap(({ members }) => members)
      .map(({ connection }) => connection)
      .filter(({ migrate, role }) => migrate !== undefined && role === 'dialer');
    if (movable.length === 0) {
      const text = `there is no QUIC connection to ${this.nodeId} that this node dialed`;
      throw new MeshError('MigrationFailed', text);
    }
    for (const connection of movable) await connection.migrate?.(options);
  }

  async close(): Promise<void> {
    const error = new MeshError('ConnectionClosed', 'peer was closed by this side');
    const closed = this.#pools.flatMap((pool) => {
      pool.release(error);
      return pool.members.map(({ connection }) => connection.close('NoError', 'peer closed'));
    });
    this.#batches.flush();
    await Promise.all(closed);
  }

  /** Sends what waits in batches. For a node that is about to close. */
  flushBatches(): void {
    this.#batches.flush();
  }

  get #pools(): readonly ConnectionPool<CallSession>[] {
    const lane = this.#lane();
    return lane === undefined ? [this.#pool] : [this.#pool, lane.pool];
  }

  /** The way of a transfer that is to leave the connection for calls. */
  #laneOf(open: DataTransfer, { priority }: StreamCallOptions): BulkLane | undefined {
    if (this.#bulk === undefined || (priority ?? priorityOf(open)) !== 'bulk') return undefined;
    const { totalBytes = Number.POSITIVE_INFINITY } = open;
    return totalBytes >= this.#bulk.thresholdBytes ? this.#bulk.lane() : undefined;
  }

  #call<T>(
    caller: PeerCaller<T>,
    message: RequestMessage | OneWayMessage,
    options: CallOptions,
  ): Promise<T> {
    const { latestOnly } = options;
    if (latestOnly === undefined) return this.#callAgain(caller, message, options);
    return this.#latest.call(latestOnly, options, (placed) =>
      this.#callAgain(caller, message, placed),
    );
  }

  /** Notes here whether a handler makes the call: its attempts may begin later, in another async context. */
  #placed(options: AttemptOptions): AttemptOptions {
    const nesting = nestingOfCalls();
    return nesting === undefined ? options : { ...options, nesting };
  }

  #callAgain<T>(
    caller: PeerCaller<T>,
    message: RequestMessage | OneWayMessage,
    options: AttemptOptions,
  ): Promise<T> {
    const isReplaySafe = options.replaySafe === true || message.type === 'ping';
    try {
      return callAgain(caller, message, this.#placed(options), isReplaySafe, this.#retry);
    } catch (thrown) {
      return Promise.reject(thrown);
    }
  }
}

/** Makes calls of one kind over a peer's connections. One for all of them: thousands of calls may be under way. */
class PeerCaller<T> implements Caller<T> {
  readonly #pool: ConnectionPool<CallSession>;
  readonly #queue: CallQueue;
  readonly #start: StartCall<T>;

  constructor(pool: ConnectionPool<CallSession>, queue: CallQueue, start: StartCall<T>) {
    this.#pool = pool;
    this.#queue = queue;
    this.#start = start;
  }

  attempt(message: Message, options: AttemptOptions, recovery?: Recovery<T>): Attempt<T> {
    const session = this.#pool.select();
    if (session !== undefined) {
      return { result: this.#start(session, message, options, recovery), carrier: session };
    }
    checkMayConnect(this.#pool);
    return this.#queue.call(message, options, this.#start, recovery);
  }
}

const startRequest: StartCall<Message> = (session, message, options, recovery) =>
  session.request(
    message as RequestMessage,
    options,
    recovery as Recovery<ReplyTo<RequestMessage>>,
  );

const startSend: StartCall<void> = (session, message, options, recovery) =>
  session.send(message as OneWayMessage, options, recovery);

/** @throws MeshError ConnectionLost or NodeClosed if there will be no connection */
function checkMayConnect({ unavailableReason }: ConnectionPool<CallSession>): void {
  if (unavailableReason !== undefined) throw unavailableReason;
}

/** A body is pulled in the async context of whoever opened the transfer. */
function withContext(options: StreamCallOptions): TransferOptions {
  const { body } = options;
  if (body === undefined) return options;
  if (typeof body === 'object' && body !== null) expectFailure(body);
  return { ...options, context: new AsyncResource('quicmesh.Transfer') };
}

/** @throws MeshError InvalidArgument */
function checkTransfer({ priorChecksum }: DataTransfer, options: StreamCallOptions): void {
  const { body, resume = false } = options;
  if (priorChecksum !== undefined) checkCrc32(priorChecksum);
  if (body === undefined || (typeof body === 'function') === resume) return;
  throw new MeshError(
    'InvalidArgument',
    resume
      ? 'a transfer that is resumed needs its body as a function of the offset'
      : 'a body that is a function is for transfers with resume',
  );
}

function describe(session: CallSession, state: MemberStateKind): PeerConnection {
  const { connection, counters, connectionClass } = session;
  const { transport, role, remoteAddress, datagramBytes, peerIdentity } = connection;
  const { fingerprint256, validToMs } = peerIdentity;
  const { bytesSent: sent, bytesReceived: received } = connection.counters;
  return {
    transport,
    connectionClass,
    role,
    state,
    remoteAddress,
    datagramBytes,
    certificate: { fingerprint256, validToMs },
    calls: { ...counters },
    bytes: { sent, received },
  };
}
