/** What a test and its node processes say to each other over Node's IPC channel, which is no part of the mesh. */
import type { NodeOptions, SocketAddress, TransportName } from '../../../src/index.js';
import type { NodeCredentials } from '../../helpers/certs.js';

/** Options of `createNode` that a test sets, beside those that every node of a test needs. */
export type FaultNodeOptions = Pick<NodeOptions, 'transports' | 'admission' | 'limits' | 'listen'>;

export interface Target extends SocketAddress {
  readonly nodeId: string;
}

export type ReplaySafeShare = 'all' | 'half' | 'none';

/** Calls at a steady rate, however long their answers take. */
export interface LoadOptions {
  /** Begins the id of every call, which no other call of the test may have. */
  readonly name: string;
  /** The peer, and how to dial it first where that is to be done. */
  readonly target: Target;
  readonly dial?: 'connect' | 'connectEarly' | undefined;
  /** When to begin, on the monotonic clock. Default: now. */
  readonly atMs?: number | undefined;
  readonly perSecond: number;
  /** Calls that are made at once at the beginning. Default 1. */
  readonly burst?: number | undefined;
  readonly timeoutMs: number;
  readonly replaySafe: ReplaySafeShare;
  /** Heartbeats, which are pings of the highest priority, in place of calls. */
  readonly heartbeats?: boolean | undefined;
}

/** How one call went. Times are on the monotonic clock, of the process that made it. */
export interface Outcome {
  readonly id: string;
  readonly isReplaySafe: boolean;
  readonly beganMs: number;
  /** `undefined` when it never settled. */
  settledMs?: number;
  /** Why it failed. */
  code?: string;
  maybeExecuted?: boolean;
}

/** Calls of every kind, with deadlines, cancellations and peers that misbehave. */
export interface RandomCallsOptions {
  readonly seed: number;
  readonly calls: number;
  /** So many at a time. */
  readonly concurrency: number;
}

export interface RandomCallsState {
  readonly begun: number;
  readonly answered: number;
  readonly failed: number;
  /** Those that had not settled long after their time. */
  readonly stuck: number;
  readonly failures: readonly (readonly [code: string, count: number])[];
  /** Of the open connections, by their own count: sent, and neither succeeded nor failed. */
  readonly unsettled: number;
}

/** An event of `node.status()`, and when it was seen. */
export interface SeenEvent {
  readonly atMs: number;
  readonly kind: string;
  readonly nodeId?: string | undefined;
  readonly transport?: string | undefined;
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  readonly code?: string | undefined;
}

export interface Link {
  readonly transport: TransportName;
  readonly role: string;
}

/** How many of each resource keep a process's event loop going, by kind. */
export type Handles = Readonly<Record<string, number>>;

/** Every command: what it takes and what answers it. */
export interface Commands {
  /** Starts the node, and lets it connect to others without waiting for that. */
  start: {
    readonly takes: {
      readonly tls: NodeCredentials;
      readonly port?: number | undefined;
      readonly options?: FaultNodeOptions | undefined;
      readonly connectTo?: readonly Target[] | undefined;
    };
    readonly gives: { readonly port: number | undefined; readonly atMs: number };
  };
  /** Connects, and with `retry` waits through failures. */
  connect: {
    readonly takes: { readonly target: Target; readonly retry?: boolean | undefined };
    readonly gives: { readonly tookMs: number; readonly transport: TransportName | undefined };
  };
  /** Connects and makes one call, as fast as it goes. */
  firstReply: {
    readonly takes: { readonly target: Target };
    readonly gives: { readonly tookMs: number; readonly transport: TransportName | undefined };
  };
  startLoad: { readonly takes: LoadOptions; readonly gives: undefined };
  /** No more calls; answers once all have settled, or should have by far. */
  stopLoad: { readonly takes: { readonly name: string }; readonly gives: readonly Outcome[] };
  startRandomCalls: {
    readonly takes: RandomCallsOptions & { readonly target: Target };
    readonly gives: undefined;
  };
  /** Of the calls that were started last. */
  randomCalls: { readonly takes: Record<string, never>; readonly gives: RandomCallsState };
  /** Offers so many bytes to a reader that reads none. */
  startStalledUpload: {
    readonly takes: { readonly target: Target; readonly bytes: number };
    readonly gives: undefined;
  };
  /** @returns what the transfer has asked for until then */
  stopStalledUpload: {
    readonly takes: Record<string, never>;
    readonly gives: { readonly pulledBytes: number };
  };
  /** Keeps the process busy from now on, or no more, with work that gives way every millisecond. */
  work: { readonly takes: { readonly isOn: boolean }; readonly gives: undefined };
  events: {
    readonly takes: { readonly sinceMs?: number | undefined };
    readonly gives: readonly SeenEvent[];
  };
  /** The connections for calls to a peer, as the node shows them. */
  links: { readonly takes: { readonly nodeId: string }; readonly gives: readonly Link[] };
  closePeer: { readonly takes: { readonly nodeId: string }; readonly gives: undefined };
  /** How often each call was executed here. */
  executions: {
    readonly takes: Record<string, never>;
    readonly gives: readonly (readonly [id: string, times: number])[];
  };
  usage: {
    readonly takes: Record<string, never>;
    readonly gives: {
      readonly rssBytes: number;
      /** After a collection of garbage. */
      readonly heapBytes: number;
      readonly handles: Handles;
    };
  };
  counters: {
    readonly takes: Record<string, never>;
    readonly gives: Readonly<Record<string, Readonly<Record<string, number>>>>;
  };
  close: { readonly takes: Record<string, never>; readonly gives: undefined };
}

export type CommandKind = keyof Commands;
export type Takes<K extends CommandKind> = Commands[K]['takes'];
export type Gives<K extends CommandKind> = Commands[K]['gives'];

/** A command for one of the nodes of a process. */
export type Command = {
  [K in CommandKind]: {
    readonly id: number;
    readonly nodeId: string;
    readonly kind: K;
    readonly takes: Takes<K>;
  };
}[CommandKind];

export type Report =
  | { readonly id: number; readonly gives: unknown }
  | { readonly id: number; readonly failed: string };
