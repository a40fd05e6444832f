/** The kinds of calls: what is asked, what is answered, who handles it. */
import type { MeshError, MeshErrorCode } from '../errors.js';
import type {
  Consensus,
  DataTransfer,
  Message,
  MessageOf,
  Ping,
  QueryRequest,
  ReplicationLog,
  Request,
} from '../protocol/message.js';
import type { Priority } from '../protocol/priority.js';
import type { TransportName } from '../transport/connection.js';

/** Messages that ask for an answer, and the type that answers each. */
export interface ReplyTypes {
  ping: 'pong';
  queryRequest: 'queryResponse';
  replicationLog: 'response';
  consensus: 'consensus';
  request: 'response';
}

export type RequestMessage = Ping | QueryRequest | ReplicationLog | Consensus | Request;
export type ReplyTo<M extends RequestMessage> = MessageOf<ReplyTypes[M['type']]>;
/** Messages that may be sent without waiting for an answer. */
export type OneWayMessage = ReplicationLog | Consensus | Request;

export const REPLY_TYPES: Readonly<ReplyTypes> = {
  ping: 'pong',
  queryRequest: 'queryResponse',
  replicationLog: 'response',
  consensus: 'consensus',
  request: 'response',
};

/** What a handler is called for, and the message that it is called with. */
export interface HandledMessages {
  query: QueryRequest;
  replicationLog: ReplicationLog;
  consensus: Consensus;
  dataTransfer: DataTransfer;
  request: Request;
}

export type HandlerKind = keyof HandledMessages;

/** Bytes in order, in pieces of any length. */
export type Bytes = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/** What a handler answers: the reply's fields without `type`, which is known. */
export interface HandlerResults {
  query: Omit<MessageOf<'queryResponse'>, 'type'>;
  /** Nothing is an empty acknowledgement. */
  replicationLog: Omit<MessageOf<'response'>, 'type'> | undefined | void;
  /** Nothing only where the message came one-way. */
  consensus: Omit<Consensus, 'type'> | undefined | void;
  /** The bytes that go back, in order; nothing sends none. */
  dataTransfer: Bytes | undefined | void;
  request: Omit<MessageOf<'response'>, 'type'>;
}

/**
 * Serves one kind of call. It may answer at once or by a promise, or whatever else `await` waits for; what it throws reaches the caller as a
 * MeshError: a MeshError keeps its code, anything else becomes HandlerFailed. A stack never travels.
 */
export type Handler<K extends HandlerKind> = (
  request: HandledMessages[K],
  context: CallContext,
) => HandlerResults[K] | PromiseLike<HandlerResults[K]>;

/** What a handler knows of its call. */
export interface CallContext {
  /** The node that called, as certificate and handshake proved. */
  readonly peer: { readonly nodeId: string };
  readonly transport: TransportName;
  /** Fires when the caller gives up, its deadline passes, or the connection is lost. */
  readonly signal: AbortSignal;
  /** When the caller stops waiting, in milliseconds since 1970 on this clock; `undefined` when it set no limit. */
  readonly deadline: number | undefined;
  /**
   * Whether the call came as 0-RTT data, and is run before the peer has shown that it is there now: an attacker could
   * have recorded it in the peer's name, though not sent it to this node twice. Only calls that the caller said are
   * `replaySafe` are run so.
   */
  readonly early: boolean;
  /**
   * The caller's bytes, for `dataTransfer`; empty for every other kind. Reading paces the sender. Ends when all have
   * come, and been found to be what was sent.
   */
  readonly body: AsyncIterable<Uint8Array>;
  /**
   * For a `dataTransfer` with `resume`: asks for the caller's bytes from `offset` on, before `body` is read. Without it
   * `body` begins at 0.
   * @param checksum CRC-32 of the bytes before, see `crc32`. It may be left out for 0, and where this node has handed
   *   so many bytes of this transfer to a handler in the last 5 minutes, and still knows
   * @throws MeshError InvalidArgument where it is not known; when `body` is read already, or the call is no such transfer
   */
  resumeAt(offset: number, checksum?: number): void;
}

/** How a call is made. */
export interface CallOptions {
  /** Until when an answer is wanted. Default 10,000; `Infinity` waits as long as the connection lives. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /**
   * Whether the call does no harm where it is run more than once. Such a call may leave as 0-RTT data on a resumed
   * connection, which an attacker could record and send to the peer again, and a dial that fails may repeat it by
   * another transport. A ping always is. Default false.
   */
  readonly replaySafe?: boolean | undefined;
  /** When it is made again where it failed; `false`: never. Default: the node's option `retry`. */
  readonly retry?: false | RetryOptions | undefined;
  /**
   * A key. A newer call to the same peer with the same key takes this one's place, as long as no byte of it has left:
   * this one then fails with Superseded. For what is worthless once there is a newer one, such as heartbeats. A `send`
   * fulfils when its first byte has left. Default: none.
   */
  readonly latestOnly?: string | undefined;
  /**
   * What goes first where calls share a connection, with the answer at the same class. Default: that of the message's
   * type: `control` for pings and consensus, `high` for replication logs, `bulk` for transfers, else `normal`.
   */
  readonly priority?: Priority | undefined;
}

/**
 * When a call that failed is made again: if its connection was lost, or the peer answered with one of `codes`; and only
 * if it was not run, or is `replaySafe`, and there is time.
 */
export interface RetryOptions {
  /** In all, the first included, 1 to 1000. Default 30. */
  readonly attempts?: number | undefined;
  /** The first pause is of a random length up to so much, each further one up to twice as much. Default 20. */
  readonly minDelayMs?: number | undefined;
  /** Default 1000, or `minDelayMs` if that is more. */
  readonly maxDelayMs?: number | undefined;
  /** Codes of the peer's answer that are worth another attempt, such as Overloaded. Default none. */
  readonly codes?: readonly MeshErrorCode[] | undefined;
}

/** What became of calls to one peer that failed and could be made again, in counts. */
export interface RetryCounters {
  /** Attempts after the first ones. */
  attempts: number;
  /** Not made because the budget was spent. */
  denied: number;
}

/** Of what does not wait, and is not made again. */
export type TrySendOptions = Pick<CallOptions, 'timeoutMs' | 'signal' | 'replaySafe' | 'priority'>;

/** A transfer never leaves before TLS is done: it cannot be `replaySafe`. It is not made again, but may be resumed. */
export interface StreamCallOptions
  extends Omit<CallOptions, 'replaySafe' | 'retry' | 'latestOnly'> {
  /**
   * Bytes to send with the transfer. An upload ends when it does. With `resume` a function, which gives the bytes from
   * `offset` on and may be called again for other offsets.
   */
  readonly body?: Bytes | ((offset: number) => Bytes) | undefined;
  /**
   * Whether the transfer goes on over the next connection when its own is lost, in the time that `timeoutMs` leaves.
   * The peer's handler is then called again, with `offset`, and yields what comes from there. Default false.
   */
  readonly resume?: boolean | undefined;
}

/** Calls on one connection, in counts. */
export interface CallCounters {
  sent: number;
  succeeded: number;
  failed: number;
  handled: number;
  handlerErrors: number;
  /** Of the peer, answered with an error that is no handler's: malformed, out of place, too many. */
  refused: number;
}

/** A call of the peer was answered with an error that is no handler's; for the node's counters. */
export type CallRefusalListener = () => void;

/** A handler failed; for the node's log. */
export type HandlerFailureListener = (kind: Message['type'], error: MeshError) => void;
