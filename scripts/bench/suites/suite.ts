/** What the runner asks of a suite, and what a suite reports. */
import type { TlsMaterial } from '../../../src/index.js';
import type { ContenderName } from '../contenders/registry.js';
import type { TargetSpec, Verdict } from '../targets.js';

export interface SuiteOptions {
  /** Fewer and shorter rounds: for a look, not for figures. */
  readonly quick: boolean;
  /** Rounds in place of the suite's own number. */
  readonly rounds?: number | undefined;
  /** Whether a contender takes part. */
  readonly takesPart: (name: ContenderName) => boolean;
  /** Whether one of the suite's works is wanted, by its key. */
  readonly wants: (work: string) => boolean;
  /** Whether it was asked for by its name: then quick runs have it, too. */
  readonly names: (work: string) => boolean;
  /** Network namespaces of the server and of the client. */
  readonly namespaces?: readonly [server: string, client: string] | undefined;
  /** Certificates of both sides. */
  readonly tls: { readonly server: TlsMaterial; readonly client: TlsMaterial };
  /** The program of the processes. */
  readonly program: string;
  /** What a fresh process runs that does nothing but its first call. */
  readonly firstReplyProgram: string;
  /** Where CPU profiles go, when they are wanted. */
  readonly profileDirectory?: string | undefined;
  readonly signal: AbortSignal;
  /** Tells people what goes on. */
  readonly tell: (text: string) => void;
}

export interface Suite {
  readonly name: string;
  readonly title: string;
  /** Keys and titles of what it measures, in order. */
  readonly works: Readonly<Record<string, string>>;
  readonly targets: readonly TargetSpec[];
  /** Measures. What a contender fails at is in the report; only what stops the suite as a whole is thrown. */
  run(options: SuiteOptions): Promise<SuiteFindings>;
}

export interface SuiteFindings {
  readonly tables: readonly FigureTable[];
  /** What a reader has to know: conditions, failures, what was left out and why. */
  readonly notes: readonly string[];
  /** What the suite ran under, where it can differ: tells runs apart, and which targets are meant. */
  readonly condition?: Condition | undefined;
}

export interface Condition {
  /** Part of the names of the report's files. */
  readonly key: string;
  readonly title: string;
}

/** One kind of figure of every contender. */
export interface FigureTable {
  /** Key of the work, and which of its figures this is. */
  readonly work: string;
  readonly title: string;
  readonly unit: string;
  readonly better: 'higher' | 'lower';
  /** Another unit that the medians are told in, besides: how much of `unit` is one of it. */
  readonly scale?: { readonly unit: string; readonly value: number } | undefined;
  /** Where the same is measured under several conditions: they become columns of one table. */
  readonly matrix?:
    | { readonly key: string; readonly title: string; readonly column: string }
    | undefined;
  readonly rows: readonly FigureRow[];
}

export interface FigureRow {
  readonly name: string;
  /** Of each round. */
  readonly samples: readonly number[];
  /** What the ratio to the limit is taken against: a row of this table. */
  readonly limit?: string | undefined;
  /** Why there are no figures, or fewer, or figures of less work. */
  readonly remark?: string | undefined;
}

export interface SuiteReport extends SuiteFindings {
  readonly suite: string;
  readonly title: string;
  readonly verdicts: readonly Verdict[];
}
