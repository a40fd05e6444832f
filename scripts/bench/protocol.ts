/**
 * What the runner and its processes say to each other over Node's IPC channel, which is no part of what is
 * measured: the runner asks, one question at a time, and the process answers.
 */
import type { SocketAddress, TlsMaterial } from '../../src/index.js';
import type { History } from './contenders/contender.js';
import type { ContenderName } from './contenders/registry.js';

export interface Setting {
  readonly contender: ContenderName;
  /** The server's address. */
  readonly host: string;
  readonly tls: TlsMaterial;
  readonly maxDatagramBytes?: number | undefined;
}

export type Command =
  | ({ readonly kind: 'serve' } & Setting)
  /** Prepares the client's side; no connection yet. */
  | ({ readonly kind: 'prepare'; readonly port: number } & Setting)
  /** Opens connections, besides those that are open. */
  | { readonly kind: 'connect'; readonly count: number }
  | ({ readonly kind: 'echo' } & EchoLoad)
  | { readonly kind: 'upload'; readonly totalBytes: number }
  | ({ readonly kind: 'heartbeats' } & HeartbeatLoad)
  /** Opens as many connections more, then carries bulk up on each of them until the process ends. */
  | { readonly kind: 'saturate'; readonly count: number }
  /** A new connection, for one call. */
  | { readonly kind: 'firstReply'; readonly history: History; readonly payloadBytes: number }
  /** What the process takes of the machine, with or without what is garbage. */
  | { readonly kind: 'usage'; readonly collectGarbage: boolean }
  | { readonly kind: 'serveProbes'; readonly host: string }
  | { readonly kind: 'probe'; readonly host: string; readonly port: number; readonly count: number }
  | { readonly kind: 'servePings'; readonly host: string }
  | ({ readonly kind: 'ping'; readonly count: number } & PingTargets)
  /** Passes on what comes, over both protocols, so much later. */
  | { readonly kind: 'serveDelay'; readonly target: SocketAddress; readonly delayMs: number }
  | { readonly kind: 'startProfile' }
  | { readonly kind: 'stopProfile'; readonly path: string }
  | { readonly kind: 'close' };

/** Calls over the newest connection, as many at once all the time. */
export interface EchoLoad {
  readonly payloadBytes: number;
  readonly concurrency: number;
  readonly durationMs: number;
}

/** Small calls over the newest connection, at a steady rate. */
export interface HeartbeatLoad {
  readonly count: number;
  readonly perSecond: number;
  /** What else the connection carries meanwhile, as fast as it goes. */
  readonly bulk: 'none' | 'upload' | 'download';
  /** Whether each is sent in two copies. Default false. */
  readonly isTwice?: boolean | undefined;
}

export interface PingTargets {
  readonly udp: SocketAddress;
  readonly tcp: SocketAddress;
}

/** What answers each command. */
export interface Answers {
  serve: { readonly port: number };
  prepare: Done;
  connect: Done;
  echo: EchoFigures;
  upload: { readonly elapsedMs: number };
  heartbeats: HeartbeatFigures;
  saturate: Done;
  /** From the beginning of the dial. */
  firstReply: { readonly elapsedMs: number };
  usage: Usage;
  serveProbes: { readonly port: number };
  probe: LinkFigures;
  servePings: { readonly udpPort: number; readonly tcpPort: number };
  ping: RoundTrips;
  serveDelay: { readonly port: number };
  startProfile: Done;
  stopProfile: { readonly top: readonly ProfileLine[] };
  close: Done;
}

export type Done = Readonly<Record<string, never>>;

export interface EchoFigures {
  readonly calls: number;
  readonly elapsedMs: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

export interface HeartbeatFigures {
  readonly p50Us: number;
  readonly p99Us: number;
  readonly maxUs: number;
  /** Of the bulk data meanwhile. */
  readonly mbPerS: number;
}

export interface Usage {
  readonly residentBytes: number;
  /** Of user and system time since the process began. */
  readonly cpuMs: number;
  /** On a clock of the process's own. */
  readonly atMs: number;
}

/** What a link does to datagrams that go there and back. */
export interface LinkFigures {
  readonly rttMs: number;
  /** Lost on the way there or back, in percent. */
  readonly lostPercent: number;
}

/** Of each ping. */
export interface RoundTrips {
  readonly udpMs: readonly number[];
  readonly tcpMs: readonly number[];
}

export interface ProfileLine {
  readonly name: string;
  /** In percent of the time that the process was busy. */
  readonly selfPercent: number;
}

export type CommandOf<K extends Command['kind']> = Extract<Command, { kind: K }>;
export type AnswerTo<C extends Command> = Answers[C['kind']];
export type Answer = Answers[Command['kind']];

export type Report =
  | { readonly kind: 'answer'; readonly answer: Answer }
  /** The command could not be carried out. */
  | { readonly kind: 'failed'; readonly reason: string };
