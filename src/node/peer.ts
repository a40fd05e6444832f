/** Another node, as long as anybody holds this: calls go over whichever connection to it is open. */
import { AsyncResource } from 'node:async_hooks';
import type { Carry } from '../calls/batching/batch.js';
import { type BatchOptions, MessageBatcher } from '../calls/batching/batcher.js';
import { OpenBatches } from '../calls/batching/open-batches.js';
import { ONE_WAY_TYPES, REQUEST_TYPES, TRANSFER_TYPES, typeRefusal } from '../calls/call-types.js';
import { nestingOfCalls } from '../calls/handling.js';
import { callAgain, type MakeAttempt, type RetryHost } from '../calls/outgoing/call-again.js';
import { type AttemptOptions, LatestCalls } from '../calls/outgoing/latest-calls.js';
import type { MessageCopies } from '../calls/outgoing/message-copies.js';
import { RetryBudget, type RetryBudgetLimits } from '../calls/outgoing/retry-budget.js';
import type { RetryPolicy } from '../calls/outgoing/retry-policy.js';
import { CallQueue, type StartCall } from '../calls/session/call-queue.js';
import type { CallSession } from '../calls/session/session.js';
import type { TransferOptions } from '../calls/transfers/outgoing-transfer.js';
import { openResumable } from '../calls/transfers/resumable-transfer.js';
import { checkCrc32 } from '../calls/transfers/transfer-checksum.js';
import type {
  CallCounters,
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
import type {
  MigrateOptions,
  Role,
  SocketAddress,
  TransportName,
} from '../transport/connection.js';

/** One connection of a peer, as `peer.connections` shows it. */
export interface PeerConnection {
  readonly transport: TransportName;
  readonly role: Role;
  readonly state: MemberStateKind;
  readonly remoteAddress: SocketAddress;
  /**
   * The largest datagram that the path has been found to carry from here, in bytes of UDP payload. `undefined` over TCP.
   * It grows once there is something large to send.
   */
  readonly datagramBytes: number | undefined;
  /** What the peer showed when the connection was made; it may have another by now. */
  readonly certificate: { readonly fingerprint256: string; readonly validToMs: number };
  readonly calls: Readonly<CallCounters>;
  /** Of frames, in bytes on the wire, before TLS. */
  readonly bytes: { readonly sent: number; readonly received: number };
}

/** What a transfer is. */
export interface TransferOpening
  extends Omit<
    DataTransfer,
    'type' | 'offset' | 'data' | 'checksum' | 'resume' | 'resumeAt' | 'nested'
  > {
  readonly type?: 'dataTransfer';
  readonly offset?: number;
}

export class Peer {
  readonly nodeId: string;
  readonly #pool: ConnectionPool<CallSession>;
  readonly #queue: CallQueue;
  readonly #retry: RetryHost;
  readonly #latest = new LatestCalls();
  readonly #batches: OpenBatches;

  /**
   * Peers are made by MeshNode.
   * @param codec holds the messages of calls that wait to this side's own limit
   * @param copies of those messages
   */
  constructor(
    nodeId: string,
    pool: ConnectionPool<CallSession>,
    codec: MessageCodec,
    copies: MessageCopies,
    retry: RetryPolicy & RetryBudgetLimits,
  ) {
    this.nodeId = nodeId;
    this.#pool = pool;
    this.#queue = new CallQueue(codec, copies, (call) => pool.wait(call));
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

  /** Whether there is a connection whose handshake is done. False while the peer is dialed, although calls may be made. */
  get isConnected(): boolean {
    return this.#pool.isOpen;
  }

  /** The transport that calls take now; `undefined` while there is no connection. */
  get transport(): TransportName | undefined {
    const { wellMembers, members } = this.#pool;
    return (wellMembers.at(-1) ?? members.find(({ isOpen }) => isOpen))?.transport;
  }

  get connections(): readonly PeerConnection[] {
    return this.#pool.members.map((session) => ({
      transport: session.transport,
      role: session.connection.role,
      state: this.#pool.stateOf(session),
      remoteAddress: session.connection.remoteAddress,
      datagramBytes: session.connection.datagramBytes,
      certificate: certificateOf(session),
      calls: { ...session.counters },
      bytes: {
        sent: session.connection.counters.bytesSent,
        received: session.connection.counters.bytesReceived,
      },
    }));
  }

  /** What the pool of connections to this peer has, and did. */
  get statistics(): PoolStatistics {
    return this.#pool.statistics;
  }

  /** Attempts after the first ones that calls to this peer made, and those that the budget denied them. */
  get retries(): Readonly<RetryCounters> {
    return { ...this.#retry.counters };
  }

  /**
   * Asks and waits for the answer. The message and its memory are the caller's again once this has returned; where a byte
   * string of 4 KiB or more was changed, a call that failed is not made again. Settles exactly once. When the connection is
   * lost, a call that had not left, or is `replaySafe`, goes by the next one, if there is time; see
   * {@link CallOptions.retry}.
   * @throws MeshError the handler's error or the peer's refusal (side `remote`); DeadlineExceeded; Cancelled; Superseded;
   *   ConnectionLost or ConnectionClosed, with `maybeExecuted` telling whether the call had left this node;
   *   InvalidArgument for a message that cannot be sent, or whose type begins no such call
   */
  request<M extends RequestMessage>(message: M, options: CallOptions = {}): Promise<ReplyTo<M>> {
    const refusal = typeRefusal(message, REQUEST_TYPES);
    if (refusal !== undefined) return Promise.reject(refusal);
    return this.#call(message, options, (session, its, left, recover) =>
      session.request(its as M, left, recover),
    );
  }

  /**
   * Sends without waiting for an answer: fulfils when the transport has taken the message under backpressure.
   * Whether it arrived is not known.
   */
  send(message: OneWayMessage, options: CallOptions = {}): Promise<void> {
    const refusal = typeRefusal(message, ONE_WAY_TYPES);
    if (refusal !== undefined) return Promise.reject(refusal);
    return this.#call(message, options, (session, its, left, recover) =>
      session.send(its as OneWayMessage, left, recover),
    );
  }

  /**
   * Sends without waiting for anything: false where the message would have to wait, for a connection, or for others on
   * their way to leave. After true, whether it arrived is not known.
   * @throws MeshError what would not be better later: CapabilityMissing, MessageTooLarge, InvalidArgument
   */
  trySend(message: OneWayMessage, options: TrySendOptions = {}): boolean {
    const refusal = typeRefusal(message, ONE_WAY_TYPES);
    if (refusal !== undefined) throw refusal;
    return this.#pool.select()?.trySend(message, options) ?? false;
  }

  /**
   * Opens a bulk transfer: `body` goes out, what the peer's handler yields comes back. Both directions are flow
   * controlled by bytes; leaving the loop early cancels the transfer.
   *
   * `offset` asks for the answer's bytes from there on; `priorChecksum`, CRC-32 of those before, lets the peer go on with
   * the checksum of the whole. With `resume` a lost connection interrupts the transfer, and does not end it.
   * @throws MeshError as `request`, and ChecksumMismatch when the bytes are not those that were sent, from the loop over
   *   the bytes; InvalidArgument at once
   */
  stream(transfer: TransferOpening, options: StreamCallOptions = {}): AsyncIterable<Uint8Array> {
    if (transfer?.type !== undefined || typeof transfer !== 'object') {
      const refusal = typeRefusal(transfer, TRANSFER_TYPES);
      if (refusal !== undefined) throw refusal;
    }
    const nested = nestingOfCalls() === undefined ? {} : { nested: true };
    const open: DataTransfer = { offset: 0, ...transfer, ...nested, type: 'dataTransfer' };
    checkTransfer(open, options);
    const own = withContext(options);
    if (own.resume === true) {
      if (!this.#retry.hasWay()) this.#checkMayConnect();
      return openResumable(this.#pool, this.#queue.capture(open), own);
    }
    const session = this.#pool.select();
    if (session !== undefined) return session.stream(open, own);
    this.#checkMayConnect();
    return this.#queue.stream(open, own);
  }

  /**
   * Gathers `replicationLog` and `appendEntries` messages to this peer, and sends those that continue each other as one.
   * @throws MeshError InvalidArgument for an option that is wrong
   */
  batch(options: BatchOptions = {}): MessageBatcher {
    const carry: Carry = (message, left) => this.request(message, left);
    return new MessageBatcher(carry, this.#batches, options);
  }

  /** Round-trip time of a ping, in milliseconds. */
  async ping(options: CallOptions = {}): Promise<number> {
    const startMs = performance.now();
    await this.request({ type: 'ping' }, options);
    return performance.now() - startMs;
  }

  /**
   * Moves the QUIC connections that this node dialed to another local address, by default a new port of the same host.
   * Calls under way go on. Fulfils when the new path is validated and in use.
   * @throws MeshError MigrationFailed, after which the old path stays in use; InvalidArgument for an address of
   *   another family; Cancelled
   */
  async migrate(options: MigrateOptions = {}): Promise<void> {
    const movable = this.#pool.members
      .map(({ connection }) => connection)
      .filter(({ migrate, role }) => migrate !== undefined && role === 'dialer');
    if (movable.length === 0) {
      const text = `there is no QUIC connection to ${this.nodeId} that this node dialed`;
      throw new MeshError('MigrationFailed', text);
    }
    for (const connection of movable) await connection.migrate?.(options);
  }

  /** Closes every connection to this peer, without waiting for calls. Neither side dials again by itself. */
  async close(): Promise<void> {
    this.#pool.release(new MeshError('ConnectionClosed', 'peer was closed by this side'));
    const closed = this.#pool.members.map(({ connection }) =>
      connection.close('NoError', 'peer closed'),
    );
    this.#batches.flush();
    await Promise.all(closed);
  }

  /** @internal Sends what waits in batches: the node is about to close. */
  flushBatches(): void {
    this.#batches.flush();
  }

  #call<T>(
    message: RequestMessage | OneWayMessage,
    options: CallOptions,
    start: StartCall<T>,
  ): Promise<T> {
    const { latestOnly } = options;
    if (latestOnly === undefined) return this.#callAgain(message, options, start);
    return this.#latest.call(latestOnly, options, (placed) =>
      this.#callAgain(message, placed, start),
    );
  }

  /** A handler's calls are told apart where they are made: attempts are made wherever there is a connection. */
  #placed(options: AttemptOptions): AttemptOptions {
    const nesting = nestingOfCalls();
    return nesting === undefined ? options : { ...options, nesting };
  }

  #callAgain<T>(
    message: RequestMessage | OneWayMessage,
    options: AttemptOptions,
    start: StartCall<T>,
  ): Promise<T> {
    const attempt: MakeAttempt<T> = (left, recover, kept: Message = message) => {
      const session = this.#pool.select();
      if (session !== undefined) {
        return { result: start(session, kept, left, recover), carrier: session };
      }
      this.#checkMayConnect();
      return this.#queue.call(kept, left, start, recover);
    };
    const isReplaySafe = options.replaySafe === true || message.type === 'ping';
    try {
      return callAgain(attempt, this.#placed(options), isReplaySafe, this.#retry);
    } catch (thrown) {
      return Promise.reject(thrown);
    }
  }

  /** @throws MeshError ConnectionLost, NodeClosed where no connection will come about */
  #checkMayConnect(): void {
    const { unavailableReason } = this.#pool;
    if (unavailableReason !== undefined) throw unavailableReason;
  }
}

/** With a body the transfer needs to know where it is to be pulled. */
function withContext(options: StreamCallOptions): TransferOptions {
  if (options.body === undefined) return options;
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

function certificateOf({ connection }: CallSession): PeerConnection['certificate'] {
  const { fingerprint256, validToMs } = connection.peerIdentity;
  return { fingerprint256, validToMs };
}
