/** The calls of one connection, in both directions. */

import type { ByteBudget } from '../../base/byte-budget.js';
import { MeshError } from '../../errors.js';
import type { PoolMember } from '../../pool/member.js';
import type { ConnectionClass } from '../../protocol/connection-class.js';
import type { FrameAgreement, FrameCodec } from '../../protocol/frame-codec.js';
import type { Capabilities, DataTransfer, Message } from '../../protocol/message.js';
import { priorityOf } from '../../protocol/priority.js';
import type {
  Connection,
  FrameStream,
  FrameStreamHandler,
  TransportName,
} from '../../transport/connection.js';
import { ArrivedCopies } from '../incoming/arrived-copies.js';
import type { CallHost, Handlers } from '../incoming/call-host.js';
import type { HandlerSlots } from '../incoming/handler-slots.js';
import { IncomingCall } from '../incoming/incoming-call.js';
import type { CallerHost } from '../outgoing/caller-host.js';
import type { Recovery } from '../outgoing/failed-call.js';
import type { AttemptOptions } from '../outgoing/latest-calls.js';
import type { MessageCopies } from '../outgoing/message-copies.js';
import { callOnce, sendOnce, trySendOnce } from '../outgoing/outgoing-call.js';
import type { PeerReader } from '../reading/peer-reader.js';
import { type Redundancy, redundancyRefusal } from '../redundancy.js';
import { ConnectionOpener } from '../stream-opener.js';
import { OpenTransfers } from '../transfers/open-transfers.js';
import {
  carryTransfer,
  openTransfer,
  type TransferOptions,
  type TransferProgress,
} from '../transfers/outgoing-transfer.js';
import type { ResumedTransfers } from '../transfers/resumed-transfers.js';
import {
  type CallCounters,
  type CallOptions,
  type CallRefusalListener,
  type HandledMessages,
  type HandlerFailureListener,
  type HandlerKind,
  type OneWayMessage,
  REPLY_TYPES,
  type ReplyTo,
  type RequestMessage,
  type TrySendOptions,
} from '../types.js';
import type { Authorize, AuthorizeFailureListener } from './authorize.js';
import { CallPermissions } from './call-permissions.js';
import { priorityRefusal, withPriority } from './call-priority.js';
import type { Budgets, PeerAccount } from './peer-account.js';
import { SessionDrain } from './session-drain.js';
import { SessionOpener } from './session-opener.js';

export interface CallSessionOptions {
  readonly connection: Connection;
  readonly peerNodeId: string;
  /** Capabilities that both sides have. Until the handshake is answered: this side's own. */
  readonly capabilities: Capabilities;
  /** What the connection is for: what the dialer wants until the handshake is answered, then what was agreed. Default calls. */
  readonly connectionClass?: ConnectionClass | undefined;
  /** Whether the handshake is answered. If not, {@link CallSession.agree} or `fail` must follow. */
  readonly agreed: boolean;
  readonly codec: FrameCodec;
  readonly handlers: Handlers;
  /** The peer's account, where it is known who the peer is. If not, {@link CallSession.join} must follow. */
  readonly account: PeerAccount | undefined;
  readonly transfers: ResumedTransfers;
  readonly onHandlerFailure: HandlerFailureListener;
  /** Decides which calls of the peer are allowed. Default: all are. */
  readonly authorize?: Authorize | undefined;
  readonly onAuthorizeFailure?: AuthorizeFailureListener | undefined;
  readonly onCallRefused: CallRefusalListener;
  /** How often calls are sent that do not say it themselves. Default 1. */
  readonly redundancy?: Redundancy | undefined;
}

/** What a handshake has settled for a session. */
export interface SessionAgreement extends FrameAgreement {
  readonly peerNodeId: string;
  readonly capabilities: Capabilities;
  readonly connectionClass: ConnectionClass;
}

const PING_OPTIONS = { timeoutMs: 60_000 };

/** All calls of one connection: those that this side makes, and those that the peer makes. */
export class CallSession implements CallHost, CallerHost, PoolMember {
  readonly connection: Connection;
  readonly codec: FrameCodec;
  readonly handlers: Handlers;
  readonly transfers: ResumedTransfers;
  readonly counters: CallCounters = {
    sent: 0,
    succeeded: 0,
    failed: 0,
    handled: 0,
    handlerErrors: 0,
    refused: 0,
    copiesSent: 0,
    copiesDropped: 0,
  };
  readonly openTransfers = new OpenTransfers();
  readonly opener: SessionOpener;
  readonly #permissions: CallPermissions;
  readonly #drain = new SessionDrain(this);
  readonly #onHandlerFailure: HandlerFailureListener;
  readonly #onCallRefused: CallRefusalListener;
  readonly #redundancy: Redundancy;
  #connectionClass: ConnectionClass;
  #account: PeerAccount | undefined;
  #budgets: Budgets | undefined;
  #incoming = 0;
  #outgoing = 0;
  /** Pings of the peer. They arrive as calls and do not count as activity. */
  #pings = 0;
  /** Whoever waits for the next call. */
  #sleepers: (() => void)[] | undefined;
  /** Most connections never see a call that comes twice. */
  #arrivedCopies: ArrivedCopies | undefined;
  #nextCopyId = 0;

  constructor(options: CallSessionOptions) {
    const { connection } = options;
    this.connection = connection;
    this.#connectionClass = options.connectionClass ?? 'calls';
    this.codec = options.codec;
    this.handlers = options.handlers;
    this.transfers = options.transfers;
    this.opener = new SessionOpener(connection, options.agreed);
    this.#permissions = new CallPermissions(options);
    this.#onHandlerFailure = options.onHandlerFailure;
    this.#onCallRefused = options.onCallRefused;
    this.#redundancy = options.redundancy ?? 1;
    if (options.account !== undefined) this.join(options.account);
    void connection.closed.then((error) => {
      const lost = lostBeforeItLeft(error);
      this.#budgets?.send.failAll(lost);
      this.#budgets?.nested.failAll(lost);
      this.#budgets?.chunks.failAll(lost);
      this.#arrivedCopies?.clear();
    });
  }

  /**
   * From now on what the connection holds is on this account. To be called before the first call of either side; a second
   * time it changes nothing.
   */
  join(account: PeerAccount): void {
    if (this.#account !== undefined) return;
    this.#account = account;
    this.#budgets = account.connectionBudgets();
    this.connection.account = this.#budgets.held;
    this.codec.lane = account.reader.lane;
  }

  get slots(): HandlerSlots {
    return this.#joined(this.#account).slots;
  }

  get reader(): PeerReader {
    return this.#joined(this.#account).reader;
  }

  get copies(): MessageCopies {
    return this.#joined(this.#account).copies;
  }

  get sendBudget(): ByteBudget {
    return this.#joined(this.#budgets).send;
  }

  get nestedBudget(): ByteBudget {
    return this.#joined(this.#budgets).nested;
  }

  /** For transfers, in both directions. */
  get chunkBudget(): ByteBudget {
    return this.#joined(this.#budgets).chunks;
  }

  get receiveBudget(): ByteBudget {
    return this.#joined(this.#budgets).receive;
  }

  get nestedReceiveBudget(): ByteBudget {
    return this.#joined(this.#budgets).nestedReceive;
  }

  get unreadBudget(): ByteBudget {
    return this.#joined(this.#budgets).unread;
  }

  #joined<T>(part: T | undefined): T {
    if (part === undefined) throw new MeshError('InternalError', 'peer is not known yet');
    return part;
  }

  get peer(): { readonly nodeId: string } {
    return this.#permissions.peer;
  }

  /** What the connection is for. */
  get connectionClass(): ConnectionClass {
    return this.#connectionClass;
  }

  get transport(): TransportName {
    return this.connection.transport;
  }

  get isOpen(): boolean {
    const { state, isGoingAway } = this.connection;
    if (!this.isAgreed || state.kind !== 'open' || isGoingAway) return false;
    return !this.#drain.isDraining && !this.#awaitsDialer;
  }

  /** Whether the dialer of a bulk connection may not know yet that its path carries full segments. SPEC.md, "Full segments". */
  get #awaitsDialer(): boolean {
    if (this.#connectionClass === 'calls' || this.counters.handled > 0) return false;
    return this.connection.role === 'acceptor';
  }

  /** Whether the handshake is done. Before, only calls for which {@link takes} is true may be made. */
  get isAgreed(): boolean {
    return this.opener.isAgreed;
  }

  /** See {@link SessionOpener.takes}. */
  takes(call: { readonly bytes: number; readonly replaySafe: boolean }): boolean {
    return this.opener.takes(call);
  }

  /** Whether the connection ended before its handshake was done. */
  get isVain(): boolean {
    return this.opener.isVain;
  }

  /** The peer has accepted the handshake. */
  agree({ peerNodeId, capabilities, connectionClass, ...frames }: SessionAgreement): void {
    this.#connectionClass = connectionClass;
    this.#permissions.agree(peerNodeId, capabilities);
    this.codec.agree(frames);
    this.opener.agree();
  }

  /**
   * The handshake has failed: calls made meanwhile fail with that error.
   * @param refused by the peer, which has run none of them
   */
  fail(error: MeshError, refused: boolean): void {
    this.opener.fail(error, refused);
  }

  // ---- PoolMember ---------------------------------------------------------------------------------------

  get load(): number {
    return this.#outgoing + this.#incoming;
  }

  get isAwaiting(): boolean {
    return this.#outgoing > 0;
  }

  get activity(): number {
    const { sent, handled, copiesDropped } = this.counters;
    return sent + handled + copiesDropped - this.#pings;
  }

  whenActive(wake: () => void): void {
    if (this.#sleepers === undefined) this.#sleepers = [wake];
    else this.#sleepers.push(wake);
  }

  #wakeSleepers(sleepers: readonly (() => void)[]): void {
    this.#sleepers = undefined;
    for (const wake of sleepers) wake();
  }

  ping(): boolean {
    const { connection } = this;
    if (connection.probe !== undefined) {
      connection.probe();
      return true;
    }
    if (!connection.hasStreamRoom || connection.isGoingAway) return false;
    const opener = new ConnectionOpener(connection);
    // The result does not matter: any byte of the peer shows that it lives, and the connection notes when one came.
    const { codec, reader, sendBudget, nestedBudget, copies } = this;
    const host: CallerHost = {
      opener,
      codec,
      reader,
      sendBudget,
      nestedBudget,
      copies,
      copySent() {},
      callSettled() {},
    };
    callOnce(host, { type: 'ping' }, 'pong', PING_OPTIONS).catch(() => {});
    return true;
  }

  /** Receives the streams that the peer opens: the connection's `onStream`. */
  readonly accept = (stream: FrameStream): FrameStreamHandler => {
    this.#incoming += 1;
    this.counters.handled += 1;
    if (this.#sleepers !== undefined) this.#wakeSleepers(this.#sleepers);
    return new IncomingCall(this, stream);
  };

  /** See Peer.request. */
  request<M extends RequestMessage>(
    message: M,
    options: AttemptOptions,
    recovery?: Recovery<ReplyTo<M>>,
  ): Promise<ReplyTo<M>> {
    const refusal = this.#refusal(message, options);
    if (refusal !== undefined) return Promise.reject(refusal);
    this.#begin();
    const type = REPLY_TYPES[message.type];
    const marked = this.#marked(message, options);
    const reply = callOnce(this, marked, type, options, recovery as Recovery<Message>);
    return reply as Promise<ReplyTo<M>>;
  }

  /** See Peer.send. */
  send(message: OneWayMessage, options: AttemptOptions, recovery?: Recovery<void>): Promise<void> {
    const refusal = this.#refusal(message, options);
    if (refusal !== undefined) return Promise.reject(refusal);
    this.#begin();
    return sendOnce(this, this.#marked({ ...message, oneWay: true }, options), options, recovery);
  }

  /** See Peer.trySend. */
  trySend(message: OneWayMessage, options: TrySendOptions): boolean {
    const refusal = this.#refusal(message, options);
    if (refusal?.retryable === false && refusal.code !== 'NodeClosed') throw refusal;
    if (refusal !== undefined || !this.connection.hasStreamRoom) return false;
    const marked = this.#marked({ ...message, oneWay: true }, options);
    if (!this.sendBudget.hasRoomFor(priorityOf(marked) === 'control')) return false;
    this.#begin();
    return trySendOnce(this, marked, options);
  }

  /** See Peer.stream. */
  stream(open: DataTransfer, options: TransferOptions): AsyncIterable<Uint8Array> {
    const refusal = this.#refusal(open, options);
    if (refusal !== undefined) throw refusal;
    this.#begin();
    const marked = withPriority(open, options.priority);
    return openTransfer(this, marked, options, (failure) =>
      this.callSettled(failure === undefined),
    );
  }

  /**
   * Makes one attempt at a transfer that may continue on another session.
   * @throws MeshError what it failed with
   */
  carry(open: DataTransfer, options: TransferOptions, progress: TransferProgress): Promise<void> {
    const refusal = this.#refusal(open, options);
    if (refusal !== undefined) return Promise.reject(refusal);
    this.#begin();
    const marked = withPriority(open, options.priority);
    return new Promise((resolve, reject) => {
      carryTransfer(this, marked, options, progress, (failure) => {
        this.callSettled(failure === undefined);
        if (failure === undefined) resolve();
        else reject(failure);
      });
    });
  }

  /**
   * Makes no new calls, tells the peer to make none, and waits until those under way are done on both sides, or until
   * `timeoutMs` is over. Calls that the peer had already sent are served. A transfer that nobody has begun to read ends at
   * once, and one whose bytes are not taken for a while ends then.
   */
  drain(timeoutMs: number): Promise<void> {
    return this.#drain.drain(timeoutMs);
  }

  /**
   * Leaves new calls of both sides to another connection, and still serves those that the peer made before it knew. Then
   * closes the connection; where the peer went away first, the peer closes it. Calls under way end by their own deadlines.
   * After the last of them a peer that does not go away too is waited for 5 s, and one that does but whose streams do not
   * end is waited for a minute.
   */
  retire(reason: string): Promise<void> {
    return this.#drain.retire(reason);
  }

  /** Adds what the peer has to know of the call. One that leaves before TLS is done is replay-safe, and has to say so. */
  #marked<M extends RequestMessage>(message: M, options: AttemptOptions): M {
    const prioritized = withPriority(message, options.priority);
    const numbered = this.#numbered(prioritized, options.redundancy ?? this.#redundancy);
    if (message.type === 'ping') return numbered;
    const marked = options.nesting === undefined ? numbered : { ...numbered, nested: true };
    return this.isEarly ? { ...marked, replaySafe: true } : marked;
  }

  /** Gives a call that is to be sent twice the number of both copies. One that an earlier attempt had, or a caller, goes. */
  #numbered<M extends RequestMessage>(message: M, redundancy: Redundancy): M {
    if (redundancy === 2 && priorityOf(message) === 'control' && this.#sendsTwice) {
      const copyId = this.#nextCopyId;
      this.#nextCopyId += 1;
      return { ...message, copyId };
    }
    return message.copyId === undefined ? message : { ...message, copyId: undefined };
  }

  /**
   * Whether a second copy is worth sending: the peer runs it once, it does not wait for another stream to end, and a packet that
   * is lost does not hold up both.
   */
  get #sendsTwice(): boolean {
    if (!this.isAgreed || this.transport !== 'quic') return false;
    return this.#permissions.hasRedundancy && this.connection.hasStreamRoom;
  }

  // ---- CallerHost ---------------------------------------------------------------------------------------

  copySent(): void {
    this.counters.copiesSent += 1;
  }

  callSettled(succeeded: boolean): void {
    this.#outgoing -= 1;
    if (succeeded) this.counters.succeeded += 1;
    else this.counters.failed += 1;
    this.#drain.callEnded();
  }

  // ---- CallHost -----------------------------------------------------------------------------------------

  capabilityRefusal(type: Message['type']): MeshError | undefined {
    return this.#permissions.capabilityRefusal(type);
  }

  authorizationRefusal(message: HandledMessages[HandlerKind]): MeshError | undefined {
    return this.#permissions.authorizationRefusal(message);
  }

  get isEarly(): boolean {
    return this.connection.state.kind === 'early';
  }

  whenOpen(proceed: () => void): void {
    void this.connection.opened.then((opened) => {
      if (opened) proceed();
    });
  }

  violated(error: MeshError): void {
    void this.connection.close(error.code, error.message);
  }

  get arrivedCopies(): ArrivedCopies {
    this.#arrivedCopies ??= new ArrivedCopies();
    return this.#arrivedCopies;
  }

  copyDropped(): void {
    this.counters.handled -= 1;
    this.counters.copiesDropped += 1;
  }

  pinged(): void {
    this.#pings += 1;
  }

  handlerFailed(kind: Message['type'], error: MeshError): void {
    this.counters.handlerErrors += 1;
    this.#onHandlerFailure(kind, error);
  }

  callRefused(error: MeshError): void {
    this.counters.refused += 1;
    this.#onCallRefused(error);
  }

  finished(): void {
    this.#incoming -= 1;
    this.#drain.callEnded();
  }

  #refusal(
    message: RequestMessage | DataTransfer,
    { priority, redundancy }: Pick<CallOptions, 'priority' | 'redundancy'>,
  ): MeshError | undefined {
    if (this.#drain.isDraining) return new MeshError('NodeClosed', 'node is closing');
    const refusal = priorityRefusal(message, priority) ?? this.capabilityRefusal(message.type);
    if (redundancy === undefined || refusal !== undefined) return refusal;
    return redundancyRefusal(redundancy, priority ?? priorityOf(message));
  }

  #begin(): void {
    this.#outgoing += 1;
    this.counters.sent += 1;
    if (this.#sleepers !== undefined) this.#wakeSleepers(this.#sleepers);
  }
}

/** The failure of calls that waited for room: they were never sent. */
function lostBeforeItLeft({ code, message, side }: MeshError): MeshError {
  return new MeshError(code === 'NoError' ? 'ConnectionClosed' : code, message, { side });
}
