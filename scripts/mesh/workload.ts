/** The mixed workload of one node: calls of every type to every peer, for some seconds, counted and timed. */
import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { textOf } from '../../src/base/realms.js';
import { MeshError, type MeshNode, type Peer } from '../../src/index.js';
import { type Caller, type CallSpec, oneRound } from './calls.js';
import type { OneWayCounts } from './handlers.js';
import { LatencyCounts } from './latency.js';
import {
  type Pace,
  type PeerProgress,
  type Tally,
  type WorkloadReport,
  zeroCounts,
} from './protocol.js';

export interface WorkloadOptions {
  readonly peers: readonly string[];
  readonly seconds: number;
  readonly pace: Pace;
}

/** The calls to one peer. */
interface Lane {
  readonly peer: Peer;
  readonly latency: LatencyCounts;
  /** One-way messages that the transport took, for the process that the peer is now. */
  readonly oneWay: OneWayCounts;
  /** This node's log and term towards the peer. */
  readonly log: Caller['log'];
  /** Rows of the peer's store in use by callers. */
  rows: number;
  calls: number;
  failed: number;
}

export class Workload {
  readonly #node: MeshNode;
  readonly #options: WorkloadOptions;
  readonly #lanes: readonly Lane[];
  readonly #counts = zeroCounts();
  readonly #failures = new Map<string, number>();
  #longestMs = 0;
  #isStopped = false;

  /** The node must have met every peer. */
  constructor(node: MeshNode, options: WorkloadOptions) {
    this.#node = node;
    this.#options = options;
    this.#lanes = options.peers.map((nodeId) => ({
      peer: met(node, nodeId),
      latency: new LatencyCounts(),
      oneWay: { replicationLog: 0, consensus: 0 },
      log: { index: 0, term: 1 },
      rows: 0,
      calls: 0,
      failed: 0,
    }));
  }

  /** Calls until the time is over, or it is stopped, and the last answer is there. */
  async run(): Promise<WorkloadReport> {
    const endMs = performance.now() + this.#options.seconds * 1000;
    const { pace } = this.#options;
    await Promise.all(
      this.#lanes.flatMap((lane) =>
        'concurrency' in pace
          ? this.#work(lane, pace.concurrency, endMs)
          : [this.#keepPace(lane, pace.callsPerSecond, endMs)],
      ),
    );
    await Promise.all(this.#lanes.map((lane) => this.#accountForOneWay(lane)));
    return {
      counts: this.#counts,
      tally: this.takeTally(),
      last: this.takeProgress(),
      failures: [...this.#failures].map(([text, count]) => ({ text, count })),
      down: this.#lanes.flatMap(({ peer }) => (peer.isConnected ? [] : [peer.nodeId])),
    };
  }

  /** Makes no more calls. */
  stop(): void {
    this.#isStopped = true;
  }

  /** All calls so far, and the longest since the last time. */
  takeTally(): Tally {
    const longestMs = this.#longestMs;
    this.#longestMs = 0;
    const sumOf = (of: (lane: Lane) => number) =>
      this.#lanes.reduce((sum, lane) => sum + of(lane), 0);
    return { calls: sumOf(({ calls }) => calls), failed: sumOf(({ failed }) => failed), longestMs };
  }

  /**
   * A peer's process has ended in good order, and another will take its place: what the transport took of one-way
   * messages until now was for that process.
   */
  lifeEnded(nodeId: string, received: OneWayCounts): void {
    for (const lane of this.#lanes) {
      if (lane.peer.nodeId !== nodeId) continue;
      this.#compareOneWay(lane, received);
      lane.oneWay.replicationLog = 0;
      lane.oneWay.consensus = 0;
    }
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

  #work(lane: Lane, concurrency: number, endMs: number): Promise<void>[] {
    return Array.from({ length: concurrency }, () =>
      this.#callUntil(endMs, lane, this.#caller(lane)),
    );
  }

  /** Calls come when they are due, however many of those before still wait for an answer. */
  async #keepPace(lane: Lane, callsPerSecond: number, endMs: number): Promise<void> {
    const round = oneRound();
    const idle: Caller[] = [];
    const underWay = new Set<Promise<void>>();
    // Lanes begin at different times, or all of them would call at the same time.
    const beganMs = performance.now() - (Math.random() * 1000) / callsPerSecond;
    let at = randomInt(round.length);
    for (let made = 0; !this.#isOver(endMs); await sleep(PACE_MS)) {
      const due = Math.floor(((performance.now() - beganMs) / 1000) * callsPerSecond);
      for (; made < due && underWay.size < MAX_UNDER_WAY; made += 1, at += 1) {
        const caller = idle.pop() ?? this.#caller(lane);
        const call = this.#callOnce(lane, caller, round[at % round.length] as CallSpec).then(() => {
          underWay.delete(call);
          idle.push(caller);
        });
        underWay.add(call);
      }
    }
    await Promise.all(underWay);
  }

  /** One with a row of its own. */
  #caller(lane: Lane): Caller {
    const { peer, log } = lane;
    lane.rows += 1;
    return { nodeId: this.#node.nodeId, peer, key: `worker-${lane.rows}`, log };
  }

  #isOver(endMs: number): boolean {
    return this.#isStopped || performance.now() >= endMs;
  }

  async #callUntil(endMs: number, lane: Lane, caller: Caller): Promise<void> {
    const round = oneRound();
    // Workers begin at different places, or all of them would make the same call at the same time.
    for (let at = randomInt(round.length); !this.#isOver(endMs); at += 1) {
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
    } finally {
      this.#longestMs = Math.max(this.#longestMs, performance.now() - startMs);
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
    try {
      for (;;) {
        const reply = await peer.request({ type: 'request', method: 'received' });
        arrived = reply.body as OneWayCounts;
        if (ONE_WAY.every((type) => oneWay[type] === arrived[type])) return;
        if (performance.now() > deadlineMs) break;
        await sleep(20);
      }
    } catch (error) {
      this.#failed(lane, 'request', error);
    }
    this.#compareOneWay(lane, arrived);
  }

  #compareOneWay(lane: Lane, arrived: OneWayCounts): void {
    const { oneWay } = lane;
    for (const type of ONE_WAY) {
      const count = Math.abs(oneWay[type] - arrived[type]);
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
    const text = `${from}: ${describe(error)}${circumstances(error)}`;
    if (this.#failures.size >= MAX_FAILURE_TEXTS && !this.#failures.has(text)) return;
    this.#failures.set(text, (this.#failures.get(text) ?? 0) + count);
  }
}

/** A link that is down fails calls faster than anyone can count them. */
const PAUSE_AFTER_FAILURE_MS = 50;
const PACE_MS = 5;
/** To one peer, where calls come at a pace: those that are due beyond come later. */
const MAX_UNDER_WAY = 1000;
const ONE_WAY = ['replicationLog', 'consensus'] as const;
const ONE_WAY_LIMIT_MS = 5000;
const MAX_FAILURE_TEXTS = 20;

/** Who decided an error of a call, and what it leaves open. */
function circumstances(error: unknown): string {
  if (!(error instanceof MeshError)) return '';
  return ` (${error.side}${error.maybeExecuted ? ', maybe executed' : ''})`;
}

/** An error in one line, for people. */
export function describe(error: unknown): string {
  if (error instanceof MeshError) return `${error.code}: ${error.message}`;
  return textOf(error);
}

/** The peer of that name. @throws Error when the node has no open connection to it */
export function met(node: MeshNode, nodeId: string): Peer {
  const peer = node.peer(nodeId);
  if (peer?.isConnected === true) return peer;
  throw new Error(`${node.nodeId} has no open connection to ${nodeId}`);
}
