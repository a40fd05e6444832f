/**
 * What the command and its node processes say to each other over Node's IPC channel, which is no part of the mesh:
 * the command asks, one question of a kind at a time, and the process answers; in between it reports progress.
 */
import type { DialTarget, MessageType, TransportName } from '../../src/index.js';
import type { OneWayCounts } from './handlers.js';
import type { SparseCounts } from './latency.js';

export type Command =
  /** Answered as soon as the process can take commands. */
  | { readonly kind: 'load' }
  | {
      readonly kind: 'start';
      readonly nodeId: string;
      readonly tls: TlsFiles;
      readonly transports: readonly ('quic' | 'tcp')[];
      /** 0: any that is free. */
      readonly port: number;
    }
  /** With `retry` until all are reached. */
  | { readonly kind: 'connect'; readonly targets: readonly Target[]; readonly retry: boolean }
  /** Waits until there is an open connection to each. */
  | { readonly kind: 'meet'; readonly peers: readonly string[] }
  | { readonly kind: 'measure'; readonly peers: readonly string[] }
  | {
      readonly kind: 'run';
      readonly peers: readonly string[];
      readonly seconds: number;
      readonly pace: Pace;
    }
  /** Ends `run` before its time. */
  | { readonly kind: 'stop' }
  | { readonly kind: 'tally' }
  | { readonly kind: 'identity' }
  /** A peer's process has ended in good order, and the next has not begun: what it got of this node's one-way messages. */
  | { readonly kind: 'lifeEnded'; readonly nodeId: string; readonly received: OneWayCounts }
  | { readonly kind: 'transfer'; readonly path: string; readonly peers: readonly string[] }
  | { readonly kind: 'close' };

/** Paths of PEM files, which the node watches. */
export interface TlsFiles {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** The certificates of one node, and of its peers. */
export interface IdentityReport {
  /** {@link digestOf} what is in force. */
  readonly inForce: string;
  /** Why they could not be used the last time. */
  readonly flaw: string | null;
  /** What the peer of each connection has shown; `role` is this node's. */
  readonly shown: readonly {
    readonly by: string;
    readonly role: 'dialer' | 'acceptor';
    readonly fingerprint256: string;
  }[];
}

/** To each peer: so many calls under way at any time, or so many a second, whatever becomes of those before. */
export type Pace = { readonly concurrency: number } | { readonly callsPerSecond: number };

/** A peer to dial. */
export type Target = DialTarget & { readonly nodeId: string };

/** What answers each command. */
export interface Answers {
  load: Record<string, never>;
  start: { readonly port: number };
  /** In the order of the targets. */
  connect: { readonly transports: readonly TransportName[] };
  /** In the order of the peers: the median of some pings, one after another. */
  measure: { readonly rttMs: readonly number[] };
  meet: Record<string, never>;
  run: WorkloadReport;
  stop: Record<string, never>;
  tally: Tally;
  identity: IdentityReport;
  lifeEnded: Record<string, never>;
  transfer: TransferReport;
  close: Closed;
}

export type CommandOf<K extends Command['kind']> = Extract<Command, { kind: K }>;
export type AnswerTo<C extends Command> = Answers[C['kind']];
export type Answer = Answers[Command['kind']];

export type Report =
  | { readonly kind: 'answer'; readonly to: Command['kind']; readonly answer: Answer }
  /** The command could not be carried out. */
  | { readonly kind: 'failed'; readonly to: Command['kind']; readonly reason: string }
  | { readonly kind: 'progress'; readonly peers: readonly PeerProgress[] }
  /** Bytes of the file handed to the transport so far, to all peers together. */
  | { readonly kind: 'transferProgress'; readonly bytes: number };

/** One node's calls to one peer. */
export interface PeerProgress {
  readonly nodeId: string;
  /** Since the start. */
  readonly calls: number;
  readonly failed: number;
  /** Since the last progress. */
  readonly latency: SparseCounts;
}

/** One node's calls to all peers. */
export interface Tally {
  /** Since the start. */
  readonly calls: number;
  readonly failed: number;
  /** Of those that were done since the last tally. */
  readonly longestMs: number;
}

/** What a node leaves behind. */
export interface Closed {
  readonly counters: TransportCounters;
  /** One-way messages that came to it, by sender. */
  readonly received: Readonly<Record<string, OneWayCounts>>;
  readonly closedInMs: number;
}

export interface CallCounts {
  sent: number;
  succeeded: number;
  failed: number;
}

/**
 * Counts by the type of message. A call counts under the message that asks and, where it has an answer of its own
 * type, once more under that: `sent` is then what was due, `succeeded` what came and was right. Calls that must
 * fail count under `error` alone.
 */
export type CountsByType = Record<MessageType, CallCounts>;

/** By transport; see MeshNode.counters. */
export type TransportCounters = Readonly<Record<string, Readonly<Record<string, number>>>>;

export interface WorkloadReport {
  readonly counts: CountsByType;
  readonly tally: Tally;
  /** What came after the last progress. */
  readonly last: readonly PeerProgress[];
  /** Some of what failed, for people. */
  readonly failures: readonly { readonly text: string; readonly count: number }[];
  /** Peers without an open connection at the end. */
  readonly down: readonly string[];
}

export interface TransferReport {
  readonly bytes: number;
  /** Of the file as the sender read it, in hex. */
  readonly sha256: string;
  /** Peers that computed the same from what they received. */
  readonly verifiedBy: readonly string[];
  readonly failures: readonly string[];
  readonly durationMs: number;
}

export function zeroCounts(): CountsByType {
  const zero = (): CallCounts => ({ sent: 0, succeeded: 0, failed: 0 });
  return {
    handshakeRequest: zero(),
    handshakeResponse: zero(),
    ping: zero(),
    pong: zero(),
    queryRequest: zero(),
    queryResponse: zero(),
    replicationLog: zero(),
    consensus: zero(),
    dataTransfer: zero(),
    request: zero(),
    response: zero(),
    error: zero(),
  };
}

export function addCounts(into: CountsByType, counts: CountsByType): void {
  for (const [type, row] of Object.entries(counts) as [MessageType, CallCounts][]) {
    into[type].sent += row.sent;
    into[type].succeeded += row.succeeded;
    into[type].failed += row.failed;
  }
}
