/** One run of the mesh, from the certificates to the result. */
import { stat } from 'node:fs/promises';
import { writeDevCerts } from '../../src/certs/index.js';
import { Fleet } from './fleet.js';
import { fixed, inColumns, LABEL_COLUMNS, labelled, plural } from './format.js';
import { Link, Links } from './links.js';
import type { Target, TransferReport, WorkloadReport } from './protocol.js';
import { linkLines, linksByTransport, progressLine, transferLine } from './report.js';
import { countersOf, countsOf, failuresOf, type MeshResult } from './result.js';
import type { Screen } from './screen.js';

export interface MeshOptions {
  readonly nodes: number;
  readonly seconds: number;
  readonly transport: 'quic' | 'tcp' | 'auto';
  /** Calls in flight in each direction of each link. */
  readonly concurrency: number;
  /** Directory of the development certificates. */
  readonly certs: string;
  readonly file?: string;
}

/** No phase hangs longer than this. */
const PHASE_LIMIT_MS = 30_000;
/** Processes that start at the same time share the machine's cores. */
const START_LIMIT_MS_PER_NODE = 500;
const REDRAW_EVERY_MS = 500;
const PROGRESS_LINE_EVERY_MS = 2000;

/**
 * Runs a mesh to its end, and leaves no process behind however it ends.
 * @throws Error why there is no result: a node that failed or was lost, a phase that took too long, or the
 *   signal's reason
 */
export async function runMesh(
  options: MeshOptions,
  screen: Screen,
  signal: AbortSignal,
): Promise<MeshResult> {
  const { nodes, seconds, concurrency } = options;
  const nodeIds = Array.from({ length: nodes }, (_, at) => `n${at + 1}`);
  screen.print(...titleLines(options, screen));
  const certs = await bounded(makeCerts(options, nodeIds, screen), 'certificates', signal);

  await using fleet = new Fleet({ nodeIds, signal });
  const targets = await startNodes(fleet, certs, options, screen);
  const links = await formMesh(fleet, targets, screen);
  const reports = await runWorkload(fleet, links, options, screen);
  const transfer = await sendFile(fleet, nodeIds, options, screen);
  const closed = await fleet.close(PHASE_LIMIT_MS);
  return {
    nodes,
    seconds,
    inFlight: links.all.length * 2 * concurrency,
    links,
    counts: countsOf(reports, links),
    counters: countersOf(closed.map(({ counters }) => counters)),
    transfer,
    failures: [...failuresOf(reports, nodeIds), ...(transfer?.failures ?? [])],
  };
}

/** What `work` gives, unless it takes too long or the signal fires first. */
async function bounded<T>(work: Promise<T>, what: string, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  let timer: NodeJS.Timeout | undefined;
  const givenUp = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    const tooLong = new Error(`${what} were not done within ${PHASE_LIMIT_MS / 1000} s`);
    timer = setTimeout(() => reject(tooLong), PHASE_LIMIT_MS);
  });
  try {
    return await Promise.race([work, givenUp]);
  } finally {
    clearTimeout(timer);
  }
}

function titleLines({ nodes, seconds, transport }: MeshOptions, { style }: Screen): string[] {
  const over = transport === 'auto' ? 'quic, else tcp' : transport;
  const links = plural((nodes * (nodes - 1)) / 2, 'link');
  const plan = `${nodes} nodes, ${links} over ${over}, ${seconds} s of calls`;
  return ['', `  ${style.bold('quicmesh')}  ${plan}`, ''];
}

/** A node's own certificate, and the CA of all. */
type TlsByNode = Readonly<Record<string, { ca: string; cert: string; key: string }>>;

async function makeCerts(
  { certs: directory }: MeshOptions,
  nodeIds: readonly string[],
  screen: Screen,
): Promise<TlsByNode> {
  screen.redraw(labelled('certs', [`looking into ${directory} …`], screen.style));
  const { ca, nodes, paths, written } = await writeDevCerts(directory, nodeIds);
  const made = nodeIds.filter((nodeId) => written.includes(paths.nodes[nodeId]!.cert)).length;
  const caText = written.includes(paths.ca) ? 'a development CA and ' : '';
  const text =
    made === 0
      ? `found ${plural(nodeIds.length, 'valid certificate')} in ${directory}`
      : `made ${caText}${plural(made, 'certificate')} in ${directory}`;
  screen.print(...labelled('certs', [text], screen.style));
  return Object.fromEntries(nodeIds.map((nodeId) => [nodeId, { ca, ...nodes[nodeId]! }]));
}

async function startNodes(
  fleet: Fleet,
  certs: TlsByNode,
  { transport }: MeshOptions,
  screen: Screen,
): Promise<Target[]> {
  const transports = transport === 'auto' ? (['quic', 'tcp'] as const) : [transport];
  const { nodes } = fleet;
  screen.redraw(labelled('nodes', [`starting ${nodes.length} processes …`], screen.style));
  const started = await fleet.askAll(
    (nodeId) => ({ kind: 'start', nodeId, tls: certs[nodeId]!, transports }),
    PHASE_LIMIT_MS + nodes.length * START_LIMIT_MS_PER_NODE,
  );
  const idWidth = `n${nodes.length}`.length;
  const texts = nodes.map(
    ({ nodeId, pid }, at) => `${nodeId.padEnd(idWidth)}  pid ${pid}  port ${started[at]?.port}`,
  );
  screen.print(
    ...labelled('nodes', inColumns(texts, screen.columns - LABEL_COLUMNS), screen.style),
  );
  return nodes.map(({ nodeId }, at) => ({
    nodeId,
    host: '127.0.0.1',
    port: started[at]!.port,
  }));
}

/** Every node dials those after it in the list; calls then go both ways. */
async function formMesh(fleet: Fleet, targets: readonly Target[], screen: Screen): Promise<Links> {
  const startMs = performance.now();
  const connected = await fleet.askAll(
    (_, at) => ({ kind: 'connect', targets: targets.slice(at + 1) }),
    PHASE_LIMIT_MS,
  );
  const formedInMs = performance.now() - startMs;

  const links: Link[] = [];
  for (const [at, { transports }] of connected.entries()) {
    const peers = targets.slice(at + 1).map(({ nodeId }) => nodeId);
    const from = targets[at]!.nodeId;
    // One node after the other, so that a ping meets nothing else under way.
    const { rttMs } = await fleet.ask(from, { kind: 'measure', peers }, PHASE_LIMIT_MS);
    links.push(...peers.map((to, nth) => new Link(from, to, transports[nth]!, rttMs[nth]!)));
  }
  const roundTrips = links.map(({ rttMs }) => rttMs).sort((a, b) => a - b);
  const rtt = fixed(roundTrips[Math.floor(roundTrips.length / 2)]);
  const text = `${linksByTransport(links)} in ${Math.round(formedInMs)} ms, round trip ${rtt} ms`;
  screen.print(...labelled('mesh', [text], screen.style), '');
  return new Links(links);
}

async function runWorkload(
  fleet: Fleet,
  links: Links,
  { seconds, concurrency }: MeshOptions,
  screen: Screen,
): Promise<readonly WorkloadReport[]> {
  const { style } = screen;
  const startMs = performance.now();
  const elapsedSeconds = () => (performance.now() - startMs) / 1000;
  fleet.onProgress = (nodeId, progress) => {
    if (progress.kind !== 'progress') return;
    links.report(nodeId, progress.peers, performance.now(), startMs);
  };
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
        concurrency,
      }),
      seconds * 1000 + PHASE_LIMIT_MS,
    );
    for (const [at, { last }] of reports.entries()) {
      links.report(fleet.nodes[at]!.nodeId, last, performance.now(), startMs);
    }
    const average = ({ calls }: Link) => calls / seconds;
    if (screen.isLive) draw(average);
    else screen.print(...linkLines(links, average, MAX_PRINTED_LINKS, style));
    return reports;
  } finally {
    stopTicking();
    screen.keep();
  }
}

/** The first node streams the file to all others at once. */
async function sendFile(
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

const MAX_PRINTED_LINKS = 24;
