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
import type { Redundancy } from './redundancy.js';

/** Messages that ask for an answer, and the type that answers each. */
export interface ReplyTypes {
  ping: 'pong';
  queryRequest: 'queryResponse';
  replicationLog: 'response';
  consensus: 'consensus';
  request: 'response';
}

/** Messages that begin a call with an answer. */
export type RequestMessage = Ping | QueryRequest | ReplicationLog | Consensus | Request;
/** The answer to a message of that type. */
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

/** The kinds of handlers, and the message that each is called with. */
export interface HandledMessages {
  query: QueryRequest;
  replicationLog: ReplicationLog;
  consensus: Consensus;
  dataTransfer: DataTransfer;
  request: Request;
}

/** A kind of call that a handler serves. */
export type HandlerKind = keyof HandledMessages;

/** Bytes in order, in pieces of any length. */
export type Bytes = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/** What a handler answers: the reply's fields without `type`, which is known. */
export interface HandlerResults {
  query: Omit<MessageOf<'queryResponse'>, 'type'>;
  /** `undefined` sends an empty acknowledgement. */
  replicationLog: Omit<MessageOf<'response'>, 'type'> | undefined | void;
  /** `undefined` is allowed only where the message came one-way. */
  consensus: Omit<Consensus, 'type'> | undefined | void;
  /** The bytes that go back, in order. `undefined` sends none. */
  dataTransfer: Bytes | undefined | void;
  request: Omit<MessageOf<'response'>, 'type'>;
}

/**
 * Serves one kind of call. It returns its answer, or a promise or any other thenable of it. What it throws reaches the
 * caller as a MeshError: a MeshError keeps its code, anything else becomes HandlerFailed. A stack never travels.
 */
export type Handler<K extends HandlerKind> = (
  request: HandledMessages[K],
  context: CallContext,
) => HandlerResults[K] | PromiseLike<HandlerResults[K]>;

/** What a handler knows of its call. */
export interface CallContext {
  /** The node that called, as its certificate and the handshake proved. */
  readonly peer: { readonly nodeId: string };
  readonly transport: TransportName;
  /** Fires when the caller gives up, its deadline passes, or the connection is lost. */
  readonly signal: AbortSignal;
  /** When the caller stops waiting, in milliseconds since 1970 on this clock; `undefined` when it set no limit. */
  readonly deadline: number | undefined;
  /**
   * Whether the call came as 0-RTT data and runs before the peer has proved that it is there now. An attacker could have
   * recorded such a call and held it back until now, but cannot make this node run it twice. Only calls that their caller
   * marked `replaySafe` run this early.
   */
  readonly early: boolean;
  /**
   * The caller's bytes, for `dataTransfer`; empty for every other kind. Reading paces the sender. It ends when all bytes
   * have come and their checksum was right.
   */
  readonly body: AsyncIterable<Uint8Array>;
  /**
   * Lets the chunks of `body` be used again: from now on a chunk, and all that shares its memory, is the handler's only until
   * it asks for the next one. Then other bytes may be written there. A loop that looks at each chunk, copies it or waits until
   * it is written need not keep it longer, and bulk data then costs V8 far fewer collections. Without this call chunks are
   * the handler's for good.
   */
  lendChunks(): void;
  /**
   * For a `dataTransfer` with `resume`: asks for the caller's bytes from `offset` on. To be called before `body` is read;
   * without it `body` begins at 0.
   * @param checksum CRC-32 of the bytes before `offset`, see `crc32`. It may be left out for offset 0, and where this node
   *   handed that many bytes of this transfer to a handler in the last 5 minutes and still knows their checksum
   * @throws MeshError InvalidArgument when the checksum is left out and not known, when `body` is read already, or when the
   *   call is no such transfer
   */
  resumeAt(offset: number, checksum?: number): void;
}

/** How a call is made. */
export interface CallOptions {
  /** How long to wait for the answer. Default 10,000; `Infinity` waits as long as the connection lives. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /**
   * Whether the call does no harm when it runs more than once. Such a call may leave as 0-RTT data on a resumed
   * connection, which an attacker could record and send to the peer again, and it is sent again where it may have run. A
   * ping is always replay-safe. Default false.
   */
  readonly replaySafe?: boolean | undefined;
  /** When to make the call again after a failure; `false`: never. Default: the node's option `retry`. */
  readonly retry?: false | RetryOptions | undefined;
  /**
   * A key. A newer call to the same peer with the same key replaces this one while no byte of this one has left; this one
   * then fails with Superseded. For messages that a newer one makes worthless, such as heartbeats. A `send` with a key
   * fulfils when its first byte has left. Default: none.
   */
  readonly latestOnly?: string | undefined;
  /**
   * Which calls go first on a shared connection. The answer has the same priority. Default: by the message's type,
   * `control` for pings and consensus, `high` for replication logs, `bulk` for transfers, `normal` for all others.
   */
  readonly priority?: Priority | undefined;
  /**
   * How often the call is sent: 2 sends it on two QUIC streams, and the peer runs it once and answers on both, so that one lost
   * packet does not delay it. Only for messages of priority `control` of up to 1 KiB. It is sent once over TCP, where both
   * copies would wait for the same lost packet, and to peers that do not know of this. Default: the node's option
   * `redundancy`, which leaves out calls that cannot be sent twice.
   */
  readonly redundancy?: Redundancy | undefined;
}

/**
 * How often and when a failed call is made again. It is made again where its connection was lost or the peer answered with
 * one of `codes`, and only if it did not run or is `replaySafe`, and time is left.
 */
export interface RetryOptions {
  /** Attempts in all, the first included, 1 to 1000. Default 30. */
  readonly attempts?: number | undefined;
  /** The first pause is a random part of this; the bound doubles for each further pause. Default 20. */
  readonly minDelayMs?: number | undefined;
  /** The bound of a pause grows no further than this. Default 1000, or `minDelayMs` if that is more. */
  readonly maxDelayMs?: number | undefined;
  /** Codes of the peer's answer after which to try again, such as Overloaded. Default none. */
  readonly codes?: readonly MeshErrorCode[] | undefined;
}

/** Counts of retries to one peer. */
export interface RetryCounters {
  /** Attempts after the first ones. */
  attempts: number;
  /** Attempts that were not made because the retry budget was spent. */
  denied: number;
}

/** Options of a message that neither waits nor is sent again. */
export type TrySendOptions = Pick<
  CallOptions,
  'timeoutMs' | 'signal' | 'replaySafe' | 'priority' | 'redundancy'
>;

/** Options of a transfer. It never leaves before TLS is done, so it cannot be `replaySafe`. It is resumed, not retried. */
export interface StreamCallOptions
  extends Omit<CallOptions, 'replaySafe' | 'retry' | 'latestOnly' | 'redundancy'> {
  /**
   * Bytes to send with the transfer; the upload ends where they end. With `resume` this is a function that returns the
   * bytes from `offset` on, and it may be called again with other offsets.
   */
  readonly body?: Bytes | ((offset: number) => Bytes) | undefined;
  /**
   * Whether the transfer continues on the next connection when its own is lost, within `timeoutMs`. The peer's handler is
   * then called again with `offset`, and yields the bytes from there on. Default false.
   */
  readonly resume?: boolean | undefined;
  /**
   * Whether a chunk of the answer is the reader's only until it asks for the next one, as with {@link CallContext.lendChunks}.
   * Default false: chunks are the reader's for good.
   */
  readonly lendChunks?: boolean | undefined;
}

/** Calls on one connection, in counts. */
export interface CallCounters {
  sent: number;
  succeeded: number;
  failed: number;
  handled: number;
  handlerErrors: number;
  /** Calls of the peer that failed before a handler ran: malformed, out of place, too many. */
  refused: number;
  /** Second copies of calls of this side, see `redundancy` of {@link CallOptions}. */
  copiesSent: number;
  /** Copies of the peer's calls that were not run, because the call had come before. They do not count as handled. */
  copiesDropped: number;
}

/** Told of a call of the peer that was refused before a handler ran; for the node's counters. */
export type CallRefusalListener = (error: MeshError) => void;

/** Told of a handler that failed; for the node's log. */
export type HandlerFailureListener = (kind: Message['type'], error: MeshError) => void;
