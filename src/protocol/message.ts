/**
 * The 12 messages of wire version 1, as one discriminated union, and the table that checks them on arrival.
 * SPEC.md, "Messages".
 *
 * Byte strings are owned by whoever decoded the message. Those of more than 1 KiB share memory with what arrived with
 * them, so copy what is to be kept for long. A smaller one keeps at most 8 KiB alive.
 */
import { PRIORITIES, type Priority } from './priority.js';
import {
  anything,
  bool,
  bytes,
  type Field,
  type FieldsOf,
  listOf,
  oneOf,
  optional,
  record,
  text,
  uint,
} from './schema.js';

/** What a side can do and how much it takes. Travels in both handshake messages. */
export interface Capabilities {
  readonly query: boolean;
  readonly replication: boolean;
  readonly consensus: boolean;
  readonly dataTransfer: boolean;
  /** The number of streams that the other side may have open towards this one. */
  readonly maxStreams: number;
  /** Largest payload of a frame, in bytes before compression. */
  readonly maxMessageBytes: number;
  /** Compressions this side can read, best first. No compression is always possible, and is not listed. */
  readonly compressions: readonly string[];
  /** Whether frames after the handshake carry checksums. */
  readonly checksum: boolean;
  /** Whether this side runs calls once that come twice. Absent: it does not, or does not know. SPEC.md, "Redundancy". */
  readonly redundancy?: boolean;
}

/** The first message of a connection: who dials, and what that node can do. SPEC.md, "Handshake". */
export interface HandshakeRequest {
  readonly type: 'handshakeRequest';
  /** Wire versions the dialer speaks. */
  readonly versions: readonly number[];
  readonly nodeId: string;
  readonly cluster: string;
  readonly capabilities: Capabilities;
  /** Milliseconds since 1970, on the dialer's clock. */
  readonly timestampMs: number;
  /** 16 random bytes, never used twice. */
  readonly nonce: Uint8Array;
  readonly authToken?: string;
  /** What the dialer wants the connection for: `bulk`, or nothing for an ordinary one. SPEC.md, "Connection classes". */
  readonly connectionClass?: string;
  /** Any bytes, to fill packets of full size. An acceptance carries as many back. SPEC.md, "Full segments". */
  readonly pad?: Uint8Array;
}

/** The answer to it: what both sides use from now on, or why the dialer is refused. */
export interface HandshakeResponse {
  readonly type: 'handshakeResponse';
  readonly accepted: boolean;
  readonly nodeId: string;
  /** In a refusal: a code of SPEC.md, "Error codes", and a text for people. */
  readonly code?: string;
  readonly text?: string;
  /** In an acceptance: what was agreed. */
  readonly version?: number;
  readonly capabilities?: Capabilities;
  /** 16 random bytes that name the session in both sides' logs. */
  readonly sessionId?: Uint8Array;
  /** In an acceptance: the class of the request, where the acceptor knows it. */
  readonly connectionClass?: string;
  /** In an acceptance: as many bytes as the request had. */
  readonly pad?: Uint8Array;
}

/** Asks for a sign of life. */
export interface Ping {
  readonly type: 'ping';
  /** Comes back in the pong. At most 64 bytes. */
  readonly token?: Uint8Array;
  /** As in {@link QueryRequest}. */
  readonly copyId?: number;
}

/** The answer to a ping. */
export interface Pong {
  readonly type: 'pong';
  readonly token?: Uint8Array;
}

/** A query to a database, in whatever language it speaks. */
export interface QueryRequest {
  readonly type: 'queryRequest';
  readonly query: string;
  readonly parameters?: unknown;
  readonly database?: string;
  /** The time that was left for the call when it was sent, in milliseconds. */
  readonly timeoutMs?: number;
  /** The call does no harm when it runs more than once, so it may run before TLS is done. */
  readonly replaySafe?: boolean;
  /** The call's priority, where it is not the default of its type. */
  readonly priority?: Priority;
  /** A handler makes the call, and its own answer may wait for this call's. */
  readonly nested?: boolean;
  /** The call is sent twice, both times with this number. SPEC.md, "Redundancy". */
  readonly copyId?: number;
}

/** The answer to a query. */
export interface QueryResponse {
  readonly type: 'queryResponse';
  readonly result?: unknown;
}

/** One entry of a replicated log. */
export interface LogEntry {
  readonly index: number;
  readonly term: number;
  readonly data: Uint8Array;
}

/** Entries of a replicated log, from its leader to a follower. */
export interface ReplicationLog {
  readonly type: 'replicationLog';
  readonly group?: string;
  readonly term: number;
  readonly prevIndex: number;
  readonly commitIndex: number;
  readonly entries: readonly LogEntry[];
  readonly timeoutMs?: number;
  /** The sender wants no answer: the receiver just ends its side of the stream. */
  readonly oneWay?: boolean;
  /** As in {@link QueryRequest}. */
  readonly replaySafe?: boolean;
  /** As in {@link QueryRequest}. */
  readonly priority?: Priority;
  /** As in {@link QueryRequest}. */
  readonly nested?: boolean;
  /** As in {@link QueryRequest}. */
  readonly copyId?: number;
}

/** Raft's messages and their responses (Ongaro and Ousterhout, 2014, figures 2 and 13). */
export type RaftBody =
  | {
      readonly kind: 'requestVote';
      readonly term: number;
      readonly candidateId: string;
      readonly lastLogIndex: number;
      readonly lastLogTerm: number;
    }
  | { readonly kind: 'requestVoteResponse'; readonly term: number; readonly voteGranted: boolean }
  | {
      readonly kind: 'appendEntries';
      readonly term: number;
      readonly leaderId: string;
      readonly prevLogIndex: number;
      readonly prevLogTerm: number;
      readonly entries: readonly LogEntry[];
      readonly leaderCommit: number;
    }
  | {
      readonly kind: 'appendEntriesResponse';
      readonly term: number;
      readonly success: boolean;
      readonly matchIndex?: number;
    }
  | {
      readonly kind: 'installSnapshot';
      readonly term: number;
      readonly leaderId: string;
      readonly lastIncludedIndex: number;
      readonly lastIncludedTerm: number;
      readonly offset: number;
      readonly data: Uint8Array;
      readonly done: boolean;
    }
  | { readonly kind: 'installSnapshotResponse'; readonly term: number };

/** A message of the Raft protocol, and the answer to one. */
export interface Consensus {
  readonly type: 'consensus';
  /** The Raft group, where a node runs several. */
  readonly group?: string;
  readonly body: RaftBody;
  readonly timeoutMs?: number;
  /** As in {@link ReplicationLog}. */
  readonly oneWay?: boolean;
  /** As in {@link QueryRequest}. */
  readonly replaySafe?: boolean;
  /** As in {@link QueryRequest}. */
  readonly priority?: Priority;
  /** As in {@link QueryRequest}. */
  readonly nested?: boolean;
  /** As in {@link QueryRequest}. */
  readonly copyId?: number;
}

/**
 * Bulk data. The first message of a stream opens the transfer and says what it is; the chunks that follow,
 * in either direction, carry `data` at `offset`.
 */
export interface DataTransfer {
  readonly type: 'dataTransfer';
  readonly transferId: string;
  /** Position of `data` within the whole, in bytes. */
  readonly offset: number;
  readonly data?: Uint8Array;
  readonly name?: string;
  readonly totalBytes?: number;
  readonly metadata?: unknown;
  readonly timeoutMs?: number;
  /** As in {@link QueryRequest}. */
  readonly priority?: Priority;
  /** As in {@link QueryRequest}. */
  readonly nested?: boolean;
  /** In the last message of a direction: CRC-32 of all its bytes, from position 0 to `offset` and `data`. */
  readonly checksum?: number;
  /** In the first message: the transfer continues where it was interrupted. The opener sends no bytes before `resumeAt`. */
  readonly resume?: boolean;
  /** In one message of the answer to `resume`: the position from which the opener is to send its bytes. */
  readonly resumeAt?: number;
  /** CRC-32 of the bytes before: the answer's before `offset`, or with `resumeAt` the opener's before that position. */
  readonly priorChecksum?: number;
}

/** The answer to a call that failed. */
export interface ErrorMessage {
  readonly type: 'error';
  /** A code of SPEC.md, "Error codes". */
  readonly code: string;
  readonly text: string;
  readonly retryable?: boolean;
}

/** A call of the application's own. */
export interface Request {
  readonly type: 'request';
  readonly method: string;
  readonly body?: unknown;
  readonly timeoutMs?: number;
  /** As in {@link ReplicationLog}. */
  readonly oneWay?: boolean;
  /** As in {@link QueryRequest}. */
  readonly replaySafe?: boolean;
  /** As in {@link QueryRequest}. */
  readonly priority?: Priority;
  /** As in {@link QueryRequest}. */
  readonly nested?: boolean;
  /** As in {@link QueryRequest}. */
  readonly copyId?: number;
}

/** The answer to a request, and to a replication log. */
export interface Response {
  readonly type: 'response';
  readonly body?: unknown;
}

/** Every message of version 1. SPEC.md, "Messages". */
export type Message =
  | HandshakeRequest
  | HandshakeResponse
  | Ping
  | Pong
  | QueryRequest
  | QueryResponse
  | ReplicationLog
  | Consensus
  | DataTransfer
  | ErrorMessage
  | Request
  | Response;

/** The `type` of a message. */
export type MessageType = Message['type'];
/** The message with the given `type`. */
export type MessageOf<T extends MessageType> = Extract<Message, { type: T }>;

const MAX_ID_BYTES = 253;
const MAX_QUERY_BYTES = 1024 * 1024;
/** Fills packets of every size that links commonly carry, jumbo frames included. */
const MAX_PAD_BYTES = 16_384;
const MAX_PAYLOAD_BYTES = 0xffff_ffff;
/** The largest number of entries of a log in one message. Each is seven items of the payload's 131,072. */
export const MAX_ITEMS = 16_384;

const timeoutMs = optional(uint);
const oneWay = optional(bool);
const replaySafe = optional(bool);
const priority = optional(oneOf(...PRIORITIES));
const nested = optional(bool);
const copyId = optional(uint);
const group = optional(text(MAX_ID_BYTES));
const logEntry = record<LogEntry>({ index: uint, term: uint, data: bytes(0, MAX_PAYLOAD_BYTES) });

/** Only number and length are checked here. Each name is checked when compressions are negotiated. */
const capabilities = record<Capabilities>({
  query: bool,
  replication: bool,
  consensus: bool,
  dataTransfer: bool,
  maxStreams: uint,
  maxMessageBytes: uint,
  compressions: listOf(text(16), 8),
  checksum: bool,
  redundancy: optional(bool),
});

type RaftKind = RaftBody['kind'];
const RAFT_FIELDS: { [K in RaftKind]: FieldsOf<Omit<Extract<RaftBody, { kind: K }>, 'kind'>> } = {
  requestVote: {
    term: uint,
    candidateId: text(MAX_ID_BYTES),
    lastLogIndex: uint,
    lastLogTerm: uint,
  },
  requestVoteResponse: { term: uint, voteGranted: bool },
  appendEntries: {
    term: uint,
    leaderId: text(MAX_ID_BYTES),
    prevLogIndex: uint,
    prevLogTerm: uint,
    entries: listOf(logEntry, MAX_ITEMS),
    leaderCommit: uint,
  },
  appendEntriesResponse: { term: uint, success: bool, matchIndex: optional(uint) },
  installSnapshot: {
    term: uint,
    leaderId: text(MAX_ID_BYTES),
    lastIncludedIndex: uint,
    lastIncludedTerm: uint,
    offset: uint,
    data: bytes(0, MAX_PAYLOAD_BYTES),
    done: bool,
  },
  installSnapshotResponse: { term: uint },
};

/** A map whose `kind` says which further fields it has. */
function variant(table: Readonly<Record<string, Field>>): Field {
  const kindField = oneOf(...Object.keys(table));
  const head = record<{ kind: string }>({ kind: kindField });
  return {
    kind: 'map',
    optional: false,
    read(value, path) {
      const { kind } = head.read(value, path) as { kind: string };
      return table[kind]?.read(value, path);
    },
    widen: (value) => table[(value as { kind: string }).kind]?.widen(value) ?? value,
  };
}

const raftBody = variant(
  Object.fromEntries(Object.entries(RAFT_FIELDS).map(([kind, fields]) => [kind, record(fields)])),
);

/** Every message's fields besides `type`. */
export const MESSAGE_FIELDS: { [T in MessageType]: FieldsOf<Omit<MessageOf<T>, 'type'>> } = {
  handshakeRequest: {
    versions: listOf(uint, 16),
    nodeId: text(MAX_ID_BYTES),
    cluster: text(MAX_ID_BYTES),
    capabilities,
    timestampMs: uint,
    nonce: bytes(16, 16),
    authToken: optional(text(4096)),
    connectionClass: optional(text(16)),
    pad: optional(bytes(0, MAX_PAD_BYTES)),
  },
  handshakeResponse: {
    accepted: bool,
    nodeId: text(MAX_ID_BYTES),
    code: optional(text(64)),
    text: optional(text(1024)),
    version: optional(uint),
    capabilities: optional(capabilities),
    sessionId: optional(bytes(16, 16)),
    connectionClass: optional(text(16)),
    pad: optional(bytes(0, MAX_PAD_BYTES)),
  },
  ping: { token: optional(bytes(0, 64)), copyId },
  pong: { token: optional(bytes(0, 64)) },
  queryRequest: {
    query: text(MAX_QUERY_BYTES),
    parameters: optional(anything),
    database: optional(text(MAX_ID_BYTES)),
    timeoutMs,
    replaySafe,
    priority,
    nested,
    copyId,
  },
  queryResponse: { result: optional(anything) },
  replicationLog: {
    group,
    term: uint,
    prevIndex: uint,
    commitIndex: uint,
    entries: listOf(logEntry, MAX_ITEMS),
    timeoutMs,
    oneWay,
    replaySafe,
    priority,
    nested,
    copyId,
  },
  consensus: { group, body: raftBody, timeoutMs, oneWay, replaySafe, priority, nested, copyId },
  dataTransfer: {
    transferId: text(256),
    offset: uint,
    data: optional(bytes(0, MAX_PAYLOAD_BYTES)),
    name: optional(text(1024)),
    totalBytes: optional(uint),
    metadata: optional(anything),
    timeoutMs,
    priority,
    nested,
    checksum: optional(uint),
    resume: optional(bool),
    resumeAt: optional(uint),
    priorChecksum: optional(uint),
  },
  error: { code: text(64), text: text(1024), retryable: optional(bool) },
  request: {
    method: text(256),
    body: optional(anything),
    timeoutMs,
    oneWay,
    replaySafe,
    priority,
    nested,
    copyId,
  },
  response: { body: optional(anything) },
};
