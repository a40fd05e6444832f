/** The links of the mesh and what their two ends report of their calls. */
import type { TransportName } from '../../src/index.js';
import { LatencyCounts } from './latency.js';
import type { PeerProgress } from './protocol.js';

/** One link; where not both sides dial, `from` did. */
export class Link {
  readonly from: string;
  readonly to: string;
  transport: TransportName;
  readonly rttMs: number;
  /** Answered calls of both directions. */
  readonly latency = new LatencyCounts();
  readonly #ends = new Map<string, End>();

  constructor(from: string, to: string, transport: TransportName, rttMs: number) {
    this.from = from;
    this.to = to;
    this.transport = transport;
    this.rttMs = rttMs;
  }

  get calls(): number {
    return sum(this.#ends.values(), ({ calls, earlier }) => calls + earlier.calls);
  }

  get failed(): number {
    return sum(this.#ends.values(), ({ failed, earlier }) => failed + earlier.failed);
  }

  /** Calls a second between each end's last two reports. */
  get callsPerSecond(): number {
    return sum(this.#ends.values(), ({ callsPerSecond }) => callsPerSecond);
  }

  report(caller: string, progress: PeerProgress, nowMs: number, startMs: number): void {
    const before = this.#ends.get(caller) ?? { ...NOTHING, atMs: startMs };
    const { calls, failed, latency } = progress;
    const callsPerSecond = ((calls - before.calls) * 1000) / Math.max(1, nowMs - before.atMs);
    this.#ends.set(caller, { ...before, calls, failed, callsPerSecond, atMs: nowMs });
    this.latency.add(latency);
  }

  /** That end counts from 0 again. */
  beginAgain(caller: string, nowMs: number): void {
    const end = this.#ends.get(caller);
    if (end === undefined) return;
    const calls = end.calls + end.earlier.calls;
    const failed = end.failed + end.earlier.failed;
    this.#ends.set(caller, { ...NOTHING, earlier: { calls, failed }, atMs: nowMs });
  }
}

interface End {
  readonly calls: number;
  readonly failed: number;
  /** Of processes before the one that is this end now. */
  readonly earlier: { readonly calls: number; readonly failed: number };
  readonly callsPerSecond: number;
  readonly atMs: number;
}

const NOTHING = { calls: 0, failed: 0, earlier: { calls: 0, failed: 0 }, callsPerSecond: 0 };

export class Links {
  readonly all: readonly Link[];
  readonly #byPair = new Map<string, Link>();

  constructor(links: readonly Link[]) {
    this.all = links;
    for (const link of links) {
      this.#byPair.set(pairOf(link.from, link.to), link);
      this.#byPair.set(pairOf(link.to, link.from), link);
    }
  }

  get calls(): number {
    return sum(this.all, ({ calls }) => calls);
  }

  get failed(): number {
    return sum(this.all, ({ failed }) => failed);
  }

  /** Answered calls on all links. */
  get latency(): LatencyCounts {
    const merged = new LatencyCounts();
    for (const { latency } of this.all) merged.add(latency.sparse());
    return merged;
  }

  /** That node is another process from now on. */
  beginAgain(nodeId: string, nowMs: number): void {
    for (const link of this.all) {
      if (link.from === nodeId || link.to === nodeId) link.beginAgain(nodeId, nowMs);
    }
  }

  /** What carries a link may change with its processes. */
  noteTransport(a: string, b: string, transport: TransportName): void {
    const link = this.#byPair.get(pairOf(a, b));
    if (link !== undefined) link.transport = transport;
  }

  report(caller: string, peers: readonly PeerProgress[], nowMs: number, startMs: number): void {
    for (const progress of peers) {
      this.#byPair.get(pairOf(caller, progress.nodeId))?.report(caller, progress, nowMs, startMs);
    }
  }
}

/** `|` is in no node id. */
function pairOf(a: string, b: string): string {
  return `${a}|${b}`;
}

function sum<T>(items: Iterable<T>, of: (item: T) => number): number {
  let total = 0;
  for (const item of items) total += of(item);
  return total;
}
