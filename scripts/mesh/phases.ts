/** The phases of a run once the mesh is formed, as they are seen: calls, restarts, the file. */
import { stat } from 'node:fs/promises';
import type { Fleet } from './fleet.js';
import { plural } from './format.js';
import type { Link, Links } from './links.js';
import type {
  CommandOf,
  Pace,
  TransferReport,
  TransportCounters,
  WorkloadReport,
} from './protocol.js';
import {
  linkLines,
  progressLine,
  restartLine,
  restartLines,
  rotationLine,
  stepLines,
  transferLine,
} from './report.js';
import { type Restart, restartOneByOne } from './rolling-restart.js';
import { type Rotation, type RotationOptions, rotateCertificates } from './rotate-certs.js';
import type { Screen } from './screen.js';

export interface MeshOptions {
  readonly nodes: number;
  /** How long the calls go on; with rolling restart or rotation, before, between and after its steps. */
  readonly seconds: number;
  readonly rollingRestart: boolean;
  readonly rotateCerts: boolean;
  readonly transport: 'quic' | 'tcp' | 'auto';
  /** Calls in flight in each direction of each link, unless there is a rate. */
  readonly concurrency: number;
  /** Calls a second on all links together. */
  readonly rate?: number | undefined;
  /** Directory of the development certificates. */
  readonly certs: string;
  readonly file?: string;
}

/** The command for a node of that name. */
export type CommandFor<K extends 'start' | 'connect'> = (nodeId: string) => CommandOf<K>;

/** What the calls came to. */
export interface Work {
  readonly seconds: number;
  readonly reports: readonly WorkloadReport[];
  /** The nodes that the reports are of. */
  readonly reporters: readonly string[];
  readonly restarts: readonly Restart[];
  readonly rotation: Rotation | null;
  /** Of processes that have ended. */
  readonly counters: readonly TransportCounters[];
}

/** No phase hangs longer than this. */
export const PHASE_LIMIT_MS = 30_000;
const REDRAW_EVERY_MS = 500;
const PROGRESS_LINE_EVERY_MS = 2000;
const MAX_PRINTED_LINKS = 24;

/** Calls on all links, for some seconds. */
export async function runWorkload(
  fleet: Fleet,
  links: Links,
  options: MeshOptions,
  screen: Screen,
): Promise<Work> {
  const { seconds } = options;
  const { style } = screen;
  const startMs = performance.now();
  const elapsedSeconds = () => (performance.now() - startMs) / 1000;
  reportTo(links, fleet);
  const draw = (rateOf: (link: Link) => number) => {
    const table = linkLines(links, rateOf, screen.rows - 2, style);
    screen.redraw([...table, '', progressLine(elapsedSeconds(), seconds, links, style)]);
  };
  const stopTicking = tick(
    screen,
    () => draw(({ callsPerSecond }) => callsPerSecond),
    () => progressLine(elapsedSeconds(), seconds, links, style),
  );
  try {
    const reports = await fleet.askAll(
      (nodeId) => ({
        kind: 'run',
        peers: fleet.nodes.flatMap((node) => (node.nodeId === nodeId ? [] : [node.nodeId])),
        seconds,
        pace: paceOf(options),
      }),
      seconds * 1000 + PHASE_LIMIT_MS,
    );
    for (const [at, { last }] of reports.entries()) {
      links.report(fleet.nodes[at]!.nodeId, last, performance.now(), startMs);
    }
    const average = ({ calls }: Link) => calls / seconds;
    if (screen.isLive) draw(average);
    else screen.print(...linkLines(links, average, MAX_PRINTED_LINKS, style));
    const reporters = fleet.nodes.map(({ nodeId }) => nodeId);
    return { seconds, reports, reporters, restarts: [], rotation: null, counters: [] };
  } finally {
    stopTicking();
    screen.keep();
  }
}

/** Calls on all links, while one node after the other restarts. */
export async function runRestarts(
  fleet: Fleet,
  links: Links,
  commands: { startCommand: CommandFor<'start'>; connectCommand: CommandFor<'connect'> },
  options: MeshOptions,
  screen: Screen,
): Promise<Work> {
  const { style } = screen;
  const { nodes, seconds: pauseSeconds } = options;
  const startMs = performance.now();
  reportTo(links, fleet);
  let current: { readonly nodeId?: string; readonly nth: number } = { nth: 0 };
  const line = () => restartLine(current.nodeId, current.nth, nodes, links, style);
  const stopTicking = tick(screen, () => screen.redraw([line()]), line);
  try {
    const { lives, restarts, counters } = await restartOneByOne(fleet, {
      ...commands,
      links,
      pace: paceOf(options),
      pauseMs: pauseSeconds * 1000,
      limitMs: PHASE_LIMIT_MS,
      onBegin: (nodeId, nth) => {
        current = { nodeId, nth };
      },
      onDone: (restart) => {
        current = { nth: current.nth };
        screen.print(...restartLines(restart, style));
      },
    });
    const seconds = (performance.now() - startMs) / 1000;
    screen.print('', ...linkLines(links, ({ calls }) => calls / seconds, MAX_PRINTED_LINKS, style));
    const reports = lives.map(({ report }) => report);
    const reporters = lives.map(({ nodeId }) => nodeId);
    return { seconds, reports, reporters, restarts, rotation: null, counters };
  } finally {
    stopTicking();
    screen.keep();
  }
}

/** Calls on all links, while certificates and CA are replaced. */
export async function runRotation(
  fleet: Fleet,
  links: Links,
  plan: Pick<RotationOptions, 'files' | 'before' | 'targets' | 'transports'>,
  options: MeshOptions,
  screen: Screen,
): Promise<Work> {
  const { style } = screen;
  const startMs = performance.now();
  reportTo(links, fleet);
  let current = { title: 'calls begin', nth: 0, steps: 1 };
  const line = () => rotationLine(current, links, style);
  const stopTicking = tick(screen, () => screen.redraw([line()]), line);
  try {
    const { rotation, reports } = await rotateCertificates(fleet, {
      ...plan,
      pace: paceOf(options),
      pauseMs: options.seconds * 1000,
      limitMs: PHASE_LIMIT_MS,
      onBegin: (title, nth, steps) => {
        current = { title, nth, steps };
      },
      onDone: (step) => screen.print(...stepLines(step, style)),
    });
    const nowMs = performance.now();
    const reporters = fleet.nodes.map(({ nodeId }) => nodeId);
    for (const [at, { last }] of reports.entries()) {
      links.report(reporters[at] as string, last, nowMs, startMs);
    }
    const seconds = (nowMs - startMs) / 1000;
    screen.print('', ...linkLines(links, ({ calls }) => calls / seconds, MAX_PRINTED_LINKS, style));
    return { seconds, reports, reporters, restarts: [], rotation, counters: [] };
  } finally {
    stopTicking();
    screen.keep();
  }
}

function paceOf({ nodes, concurrency, rate }: MeshOptions): Pace {
  return rate === undefined ? { concurrency } : { callsPerSecond: rate / (nodes * (nodes - 1)) };
}

function reportTo(links: Links, fleet: Fleet): void {
  const startMs = performance.now();
  fleet.onProgress = (nodeId, progress) => {
    if (progress.kind !== 'progress') return;
    links.report(nodeId, progress.peers, performance.now(), startMs);
  };
}

/** The first node streams the file to all others at once. */
export async function sendFile(
  fleet: Fleet,
  [sender, ...receivers]: readonly string[],
  { file }: MeshOptions,
  screen: Screen,
): Promise<TransferReport | null> {
  if (file === undefined || sender === undefined) return null;
  const totalBytes = (await stat(file)).size * receivers.length;
  let sent = 0;
  fleet.onProgress = (_, progress) => {
    if (progress.kind === 'transferProgress') sent = progress.bytes;
  };
  const line = () => transferLine(sent, totalBytes, screen.style);
  screen.print('', `  ${sender} sends ${file} to ${plural(receivers.length, 'node')}`);
  const stopTicking = tick(screen, () => screen.redraw([line()]), line);
  try {
    const command = { kind: 'transfer', path: file, peers: receivers } as const;
    const report = await fleet.ask(sender, command, PHASE_LIMIT_MS);
    sent = report.bytes * report.verifiedBy.length;
    screen.redraw([line()]);
    return report;
  } finally {
    stopTicking();
    screen.keep();
  }
}

/** Draws now and twice a second, or where there is no terminal prints a line now and then; until told to stop. */
function tick(screen: Screen, draw: () => void, line: () => string): () => void {
  draw();
  const timer = screen.isLive
    ? setInterval(draw, REDRAW_EVERY_MS)
    : setInterval(() => screen.print(line()), PROGRESS_LINE_EVERY_MS);
  return () => clearInterval(timer);
}
