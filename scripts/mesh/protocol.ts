/**
 * What the command and its node processes say to each other over Node's IPC channel, which is no part of the mesh:
 * the command asks, one question at a time, and the process answers; in between it reports progress.
 */
import type { DialTarget, MessageType, TransportName } from '../../src/index.js';
import type { SparseCounts } from './latency.js';

export type Command =
  | {
      readonly kind: 'start';
      readonly nodeId: string;
      readonly tls: { readonly ca: string; readonly cert: string; readonly key: string };
      readonly transports: readonly ('quic' | 'tcp')[];
    }
  | { readonly kind: 'connect'; readonly targets: readonly Target[] }
  | { readonly kind: 'measure'; readonly peers: readonly string[] }
  | {
      readonly kind: 'run';
      readonly peers: readonly string[];
      readonly seconds: number;
      /** Calls in flight to each peer. */
      readonly concurrency: number;
    }
  | { readonly kind: 'transfer'; readonly path: string; readonly peers: readonly string[] }
  | { readonly kind: 'close' };

/** A peer to dial. */
export type Target = DialTarget & { readonly nodeId: string };

/** What answers each command. */
export interface Answers {
  start: { readonly port: number };
  /** In the order of the targets. */
  connect: { readonly transports: readonly TransportName[] };
  /** In the order of the peers: the median of some pings, one after another. */
  measure: { readonly rttMs: readonly number[] };
  run: WorkloadReport;
  transfer: TransferReport;
  close: { readonly counters: TransportCounters };
}

export type CommandOf<K extends Command['kind']> = Extract<Command, { kind: K }>;
export type AnswerTo<C extends Command> = Answers[C['kind']];
export type Answer = Answers[Command['kind']];

export type Report =
  | { readonly kind: 'answer'; readonly answer: Answer }
  /** The command could not be carried out. */
  | { readonly kind: 'failed'; readonly reason: string }
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
