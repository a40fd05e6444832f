/** Restarts one node after the other in good order, while all others go on calling it. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Fleet } from './fleet.js';
import type { Links } from './links.js';
import type { CommandOf, Pace, Tally, TransportCounters, WorkloadReport } from './protocol.js';

/** What came of one restart; the calls are those of all nodes, from its beginning to the end of the pause after it. */
export interface Restart {
  readonly nodeId: string;
  /** Until its own calls had ended, and it had closed in good order. */
  readonly drainedInMs: number;
  /** From then until the next process listened. */
  readonly awayMs: number;
  /** From then until it was linked with all others. */
  readonly linksUpInMs: number;
  readonly calls: number;
  readonly failed: number;
  readonly longestMs: number;
}

export interface RollingRestartOptions {
  readonly links: Links;
  readonly pace: Pace;
  /** How long calls go on before, between and after the restarts. */
  readonly pauseMs: number;
  /** No step hangs longer than this. */
  readonly limitMs: number;
  readonly startCommand: (nodeId: string) => CommandOf<'start'>;
  readonly connectCommand: (nodeId: string) => CommandOf<'connect'>;
  readonly onBegin: (nodeId: string, nth: number) => void;
  readonly onDone: (restart: Restart) => void;
}

/** What came of the calls, process by process. */
export interface RollingRestartResult {
  readonly restarts: readonly Restart[];
  readonly lives: readonly { readonly nodeId: string; readonly report: WorkloadReport }[];
  /** Of the processes that are gone. */
  readonly counters: readonly TransportCounters[];
}

/** @throws Error as Fleet.ask */
export function restartOneByOne(
  fleet: Fleet,
  options: RollingRestartOptions,
): Promise<RollingRestartResult> {
  return new RollingRestart(fleet, options).run();
}

class RollingRestart {
  readonly #fleet: Fleet;
  readonly #options: RollingRestartOptions;
  readonly #nodeIds: readonly string[];
  readonly #runs = new Map<string, Promise<WorkloadReport>>();
  readonly #lives: { nodeId: string; report: WorkloadReport }[] = [];
  readonly #counters: TransportCounters[] = [];
  /** Of the lives, how many the last tally knew. */
  #talliedLives = 0;

  constructor(fleet: Fleet, options: RollingRestartOptions) {
    this.#fleet = fleet;
    this.#options = options;
    this.#nodeIds = fleet.nodes.map(({ nodeId }) => nodeId);
  }

  async run(): Promise<RollingRestartResult> {
    const { pauseMs, onBegin, onDone } = this.#options;
    const restarts: Restart[] = [];
    for (const nodeId of this.#nodeIds) this.#beginCalls(nodeId);
    await sleep(pauseMs);
    for (const [at, nodeId] of this.#nodeIds.entries()) {
      onBegin(nodeId, at + 1);
      const before = await this.#tally();
      const took = await this.#restart(nodeId);
      await sleep(pauseMs);
      const after = await this.#tally();
      const restart = {
        nodeId,
        ...took,
        calls: after.calls - before.calls,
        failed: after.failed - before.failed,
        longestMs: after.longestMs,
      };
      restarts.push(restart);
      onDone(restart);
    }
    await Promise.all(this.#nodeIds.map((nodeId) => this.#endCalls(nodeId)));
    return { restarts, lives: this.#lives, counters: this.#counters };
  }

  async #restart(nodeId: string): Promise<Pick<Restart, 'drainedInMs' | 'awayMs' | 'linksUpInMs'>> {
    const { limitMs, links, startCommand, connectCommand } = this.#options;
    const fleet = this.#fleet;
    const peers = this.#nodeIds.filter((other) => other !== nodeId);

    const replace = await fleet.prepare(nodeId, limitMs);
    const startMs = performance.now();
    await this.#endCalls(nodeId);
    const { received, counters } = await fleet.end(nodeId, limitMs);
    const closedMs = performance.now();
    this.#counters.push(counters);
    replace();
    // Before the next process takes anything: all that the transports took until now was for this one.
    await this.#askOthers(nodeId, (other) => ({
      kind: 'lifeEnded',
      nodeId,
      received: received[other] ?? { replicationLog: 0, consensus: 0 },
    }));

    // How long a process takes to load depends on what else the machine does: it has, and stays away for a set time.
    await sleep(closedMs + AWAY_MS - performance.now());
    await fleet.ask(nodeId, startCommand(nodeId), limitMs);
    const backMs = performance.now();
    const command = connectCommand(nodeId);
    const { transports } = await fleet.ask(nodeId, command, limitMs);
    await this.#askOthers(nodeId, () => ({ kind: 'meet', peers: [nodeId] }));
    const linkedMs = performance.now();
    for (const [at, peer] of peers.entries()) links.noteTransport(nodeId, peer, transports[at]!);
    links.beginAgain(nodeId, linkedMs);
    this.#beginCalls(nodeId);
    return {
      drainedInMs: closedMs - startMs,
      awayMs: backMs - closedMs,
      linksUpInMs: linkedMs - backMs,
    };
  }

  #beginCalls(nodeId: string): void {
    const { limitMs, pace } = this.#options;
    const peers = this.#nodeIds.filter((other) => other !== nodeId);
    const command = { kind: 'run', peers, seconds: MAX_SECONDS, pace } as const;
    const run = this.#fleet.ask(nodeId, command, MAX_SECONDS * 1000 + limitMs);
    // Whoever ends the calls hears of it.
    run.catch(() => {});
    this.#runs.set(nodeId, run);
  }

  async #endCalls(nodeId: string): Promise<void> {
    await this.#fleet.ask(nodeId, { kind: 'stop' }, this.#options.limitMs);
    const report = (await this.#runs.get(nodeId)) as WorkloadReport;
    const nowMs = performance.now();
    this.#options.links.report(nodeId, report.last, nowMs, nowMs);
    this.#lives.push({ nodeId, report });
  }

  async #askOthers(
    nodeId: string,
    commandFor: (other: string) => CommandOf<'lifeEnded'> | CommandOf<'meet'>,
  ): Promise<void> {
    const others = this.#fleet.nodes.filter((node) => node.nodeId !== nodeId);
    await this.#fleet.askAll(commandFor, this.#options.limitMs, others);
  }

  /** Of all processes, those that are gone among them. */
  async #tally(): Promise<Tally> {
    const command = { kind: 'tally' } as const;
    const running = await this.#fleet.askAll(() => command, this.#options.limitMs);
    const gone = this.#lives.map(({ report }) => report.tally);
    const since = [...running, ...gone.slice(this.#talliedLives)];
    this.#talliedLives = gone.length;
    const all = [...running, ...gone];
    return {
      calls: all.reduce((sum, { calls }) => sum + calls, 0),
      failed: all.reduce((sum, { failed }) => sum + failed, 0),
      longestMs: Math.max(...since.map(({ longestMs }) => longestMs)),
    };
  }
}

const AWAY_MS = 1000;
/** Whoever has so many nodes restarts them faster. */
const MAX_SECONDS = 3600;
