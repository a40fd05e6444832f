/** The links of the mesh and what their two ends report of their calls. */
import type { TransportName } from '../../src/index.js';
import { LatencyCounts } from './latency.js';
import type { PeerProgress } from './protocol.js';

/** One link; `from` dialed. */
export class Link {
  readonly from: string;
  readonly to: string;
  readonly transport: TransportName;
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
    return sum(this.#ends.values(), ({ calls }) => calls);
  }

  get failed(): number {
    return sum(this.#ends.values(), ({ failed }) => failed);
  }

  /** Calls a second between each end's last two reports. */
  get callsPerSecond(): number {
    return sum(this.#ends.values(), ({ callsPerSecond }) => callsPerSecond);
  }

  report(caller: string, progress: PeerProgress, nowMs: number, startMs: number): void {
    const before = this.#ends.get(caller) ?? {
      calls: 0,
      failed: 0,
      callsPerSecond: 0,
      atMs: startMs,
    };
    const { calls, failed, latency } = progress;
    const callsPerSecond = ((calls - before.calls) * 1000) / Math.max(1, nowMs - before.atMs);
    this.#ends.set(caller, { calls, failed, callsPerSecond, atMs: nowMs });
    this.latency.add(latency);
  }
}

interface End {
  readonly calls: number;
  readonly failed: number;
  readonly callsPerSecond: number;
  readonly atMs: number;
}

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
