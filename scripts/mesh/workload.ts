/** The mixed workload of one node: calls of every type to every peer, for some seconds, counted and timed. */
import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { MeshError, type MeshNode, type Peer } from '../../src/index.js';
import { type Caller, type CallSpec, oneRound } from './calls.js';
import type { OneWayCounts } from './handlers.js';
import { LatencyCounts } from './latency.js';
import { type PeerProgress, type WorkloadReport, zeroCounts } from './protocol.js';

export interface WorkloadOptions {
  readonly peers: readonly string[];
  readonly seconds: number;
  /** Calls in flight to each peer. */
  readonly concurrency: number;
}

/** The calls to one peer. */
interface Lane {
  readonly peer: Peer;
  readonly latency: LatencyCounts;
  /** One-way messages that the transport took. */
  readonly oneWay: OneWayCounts;
  calls: number;
  failed: number;
}

export class Workload {
  readonly #node: MeshNode;
  readonly #options: WorkloadOptions;
  readonly #lanes: readonly Lane[];
  readonly #counts = zeroCounts();
  readonly #failures = new Map<string, number>();

  /** The node must have met every peer. */
  constructor(node: MeshNode, options: WorkloadOptions) {
    this.#node = node;
    this.#options = options;
    this.#lanes = options.peers.map((nodeId) => ({
      peer: met(node, nodeId),
      latency: new LatencyCounts(),
      oneWay: { replicationLog: 0, consensus: 0 },
      calls: 0,
      failed: 0,
    }));
  }

  /** Calls until the time is over and the last answer is there. */
  async run(): Promise<WorkloadReport> {
    const endMs = performance.now() + this.#options.seconds * 1000;
    await Promise.all(this.#lanes.flatMap((lane) => this.#work(lane, endMs)));
    await Promise.all(this.#lanes.map((lane) => this.#accountForOneWay(lane)));
    return {
      counts: this.#counts,
      last: this.takeProgress(),
      failures: [...this.#failures].map(([text, count]) => ({ text, count })),
      down: this.#lanes.flatMap(({ peer }) => (peer.isConnected ? [] : [peer.nodeId])),
    };
  }

  /** How far it is; latencies since the last time. */
  takeProgress(): readonly PeerProgress[] {
    return this.#lanes.map(({ peer, calls, failed, latency }) => ({
      nodeId: peer.nodeId,
      calls,
      failed,
      latency: latency.take(),
    }));
  }

  #work(lane: Lane, endMs: number): Promise<void>[] {
    const log = { index: 0, term: 1 };
    return Array.from({ length: this.#options.concurrency }, (_, nth) =>
      this.#callUntil(endMs, lane, {
        nodeId: this.#node.nodeId,
        peer: lane.peer,
        key: `worker-${nth}`,
        log,
      }),
    );
  }

  async #callUntil(endMs: number, lane: Lane, caller: Caller): Promise<void> {
    const round = oneRound();
    // Workers begin at different places, or all of them would make the same call at the same time.
    for (let at = randomInt(round.length); performance.now() < endMs; at += 1) {
      const worked = await this.#callOnce(lane, caller, round[at % round.length] as CallSpec);
      if (!worked) await sleep(PAUSE_AFTER_FAILURE_MS);
    }
  }

  async #callOnce(lane: Lane, caller: Caller, spec: CallSpec): Promise<boolean> {
    const { type, answer } = spec;
    const rows = answer === undefined || answer === type ? [type] : [type, answer];
    for (const row of rows) this.#counts[row].sent += 1;
    lane.calls += 1;
    const startMs = performance.now();
    try {
      await spec.make(caller);
    } catch (error) {
      for (const row of rows) this.#counts[row].failed += 1;
      this.#failed(lane, type, error);
      return false;
    }
    for (const row of rows) this.#counts[row].succeeded += 1;
    if (answer === undefined) lane.oneWay[type as keyof OneWayCounts] += 1;
    else if (type !== 'dataTransfer') lane.latency.recordMs(performance.now() - startMs);
    return true;
  }

  /** A one-way call that succeeded has been sent, no more: asks the peer whether it came. */
  async #accountForOneWay(lane: Lane): Promise<void> {
    const { peer, oneWay } = lane;
    const deadlineMs = performance.now() + ONE_WAY_LIMIT_MS;
    let arrived: OneWayCounts = { replicationLog: 0, consensus: 0 };
    const missing = (type: keyof OneWayCounts) => oneWay[type] - arrived[type];
    try {
      for (;;) {
        const reply = await peer.request({ type: 'request', method: 'received' });
        arrived = reply.body as OneWayCounts;
        if (missing('replicationLog') === 0 && missing('consensus') === 0) return;
        if (performance.now() > deadlineMs) break;
        await sleep(20);
      }
    } catch (error) {
      this.#failed(lane, 'request', error);
    }
    for (const type of ['replicationLog', 'consensus'] as const) {
      const count = Math.abs(missing(type));
      if (count === 0) continue;
      this.#counts[type].succeeded -= count;
      this.#counts[type].failed += count;
      const text = `one-way: ${oneWay[type]} were sent, ${arrived[type]} arrived`;
      this.#failed(lane, type, new Error(text), count);
    }
  }

  #failed(lane: Lane, type: string, error: unknown, count = 1): void {
    lane.failed += count;
    const from = `${this.#node.nodeId} → ${lane.peer.nodeId} ${type}`;
    const text = `${from}: ${describe(error)}`;
    if (this.#failures.size >= MAX_FAILURE_TEXTS && !this.#failures.has(text)) return;
    this.#failures.set(text, (this.#failures.get(text) ?? 0) + count);
  }
}

/** A link that is down fails calls faster than anyone can count them. */
const PAUSE_AFTER_FAILURE_MS = 50;
const ONE_WAY_LIMIT_MS = 5000;
const MAX_FAILURE_TEXTS = 20;

/** An error in one line, for people. */
export function describe(error: unknown): string {
  if (error instanceof MeshError) return `${error.code}: ${error.message}`;
  return error instanceof Error ? error.message : String(error);
}

/** The peer of that name. @throws Error when the node has no open connection to it */
export function met(node: MeshNode, nodeId: string): Peer {
  const peer = node.peer(nodeId);
  if (peer?.isConnected === true) return peer;
  throw new Error(`${node.nodeId} has no open connection to ${nodeId}`);
}
