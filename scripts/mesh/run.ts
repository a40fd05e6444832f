/** One run of the mesh, from the certificates to the result. */
import { type WrittenDevCerts, writeDevCerts } from '../../src/certs/index.js';
import { CertFiles } from './cert-files.js';
import { Fleet } from './fleet.js';
import { fixed, inColumns, LABEL_COLUMNS, labelled, plural } from './format.js';
import { Link, Links } from './links.js';
import {
  type CommandFor,
  type MeshOptions,
  PHASE_LIMIT_MS,
  runRestarts,
  runRotation,
  runWorkload,
  sendFile,
} from './phases.js';
import { freePorts } from './ports.js';
import type { Target, TlsFiles } from './protocol.js';
import { linksByTransport } from './report.js';
import { countersOf, countsOf, failuresOf, type MeshResult, rotationFailuresOf } from './result.js';
import type { Screen } from './screen.js';

/** Processes that start at the same time share the machine's cores. */
const START_LIMIT_MS_PER_NODE = 500;

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
  const { nodes, concurrency, rate, rollingRestart, rotateCerts } = options;
  const nodeIds = Array.from({ length: nodes }, (_, at) => `n${at + 1}`);
  screen.print(...titleLines(options, screen));
  const certs = await bounded(makeCerts(options, nodeIds, screen), 'certificates', signal);
  await using files = rotateCerts ? await ownFiles(certs, nodeIds) : undefined;

  await using fleet = new Fleet({ nodeIds, signal });
  const filesOf = (nodeId: string): TlsFiles =>
    files?.of(nodeId) ?? { ca: certs.paths.ca, ...certs.paths.nodes[nodeId]! };
  const startCommand = await planStart(nodeIds, filesOf, options);
  const targets = await startNodes(fleet, startCommand, screen);
  const connectCommand = planConnect(targets, options);
  const links = await formMesh(fleet, targets, connectCommand, screen);
  const work = rollingRestart
    ? await runRestarts(fleet, links, { startCommand, connectCommand }, options, screen)
    : files !== undefined
      ? await runRotation(
          fleet,
          links,
          { files, before: certs, targets, transports: transportsOf(options) },
          options,
          screen,
        )
      : await runWorkload(fleet, links, options, screen);
  const { reports, restarts, rotation } = work;
  const transfer = await sendFile(fleet, nodeIds, options, screen);
  const closed = await fleet.close(PHASE_LIMIT_MS);
  return {
    nodes,
    seconds: work.seconds,
    load:
      rate === undefined
        ? { inFlight: links.all.length * 2 * concurrency }
        : { callsPerSecond: rate },
    links,
    counts: countsOf(reports, links.all.length + restarts.length * (nodes - 1)),
    counters: countersOf([...work.counters, ...closed.map(({ counters }) => counters)]),
    restarts,
    rotation,
    transfer,
    failures: [
      ...failuresOf(reports, work.reporters),
      ...rotationFailuresOf(rotation),
      ...(transfer?.failures ?? []),
    ],
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

function titleLines(options: MeshOptions, { style }: Screen): string[] {
  const { nodes, seconds, transport, rollingRestart, rotateCerts } = options;
  const over = transport === 'auto' ? 'quic, else tcp' : transport;
  const links = plural((nodes * (nodes - 1)) / 2, 'link');
  const work = rollingRestart
    ? `restarts ${seconds} s apart`
    : rotateCerts
      ? `other certificates every ${seconds} s`
      : `${seconds} s of calls`;
  const plan = `${nodes} nodes, ${links} over ${over}, ${work}`;
  return ['', `  ${style.bold('quicmesh')}  ${plan}`, ''];
}

async function makeCerts(
  { certs: directory }: MeshOptions,
  nodeIds: readonly string[],
  screen: Screen,
): Promise<WrittenDevCerts> {
  screen.redraw(labelled('certs', [`looking into ${directory} …`], screen.style));
  const certs = await writeDevCerts(directory, nodeIds);
  const { paths, written } = certs;
  const made = nodeIds.filter((nodeId) => written.includes(paths.nodes[nodeId]!.cert)).length;
  const caText = written.includes(paths.ca) ? 'a development CA and ' : '';
  const text =
    made === 0
      ? `found ${plural(nodeIds.length, 'valid certificate')} in ${directory}`
      : `made ${caText}${plural(made, 'certificate')} in ${directory}`;
  screen.print(...labelled('certs', [text], screen.style));
  return certs;
}

/** Those that are to be replaced are copies: others may use the directory. */
async function ownFiles(
  { ca, nodes }: WrittenDevCerts,
  nodeIds: readonly string[],
): Promise<CertFiles> {
  const files = await CertFiles.create();
  for (const nodeId of nodeIds) await files.write(nodeId, { ca, ...nodes[nodeId]! });
  return files;
}

function transportsOf({ transport }: MeshOptions): readonly ('quic' | 'tcp')[] {
  return transport === 'auto' ? ['quic', 'tcp'] : [transport];
}

/** Nodes that are restarted come back to their port. */
async function planStart(
  nodeIds: readonly string[],
  filesOf: (nodeId: string) => TlsFiles,
  options: MeshOptions,
): Promise<CommandFor<'start'>> {
  const transports = transportsOf(options);
  const ports = options.rollingRestart ? await freePorts(nodeIds.length) : [];
  return (nodeId) => ({
    kind: 'start',
    nodeId,
    tls: filesOf(nodeId),
    transports,
    port: ports[nodeIds.indexOf(nodeId)] ?? 0,
  });
}

/** Every node dials those after it in the list, calls then go both ways; where nodes are restarted, all others. */
function planConnect(
  targets: readonly Target[],
  { rollingRestart: retry }: MeshOptions,
): CommandFor<'connect'> {
  return (nodeId) => {
    const at = targets.findIndex((target) => target.nodeId === nodeId);
    const before = retry ? targets.slice(0, at) : [];
    return { kind: 'connect', targets: [...before, ...targets.slice(at + 1)], retry };
  };
}

async function startNodes(
  fleet: Fleet,
  startCommand: CommandFor<'start'>,
  screen: Screen,
): Promise<Target[]> {
  const { nodes } = fleet;
  screen.redraw(labelled('nodes', [`starting ${nodes.length} processes …`], screen.style));
  const started = await fleet.askAll(
    startCommand,
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

async function formMesh(
  fleet: Fleet,
  targets: readonly Target[],
  connectCommand: CommandFor<'connect'>,
  screen: Screen,
): Promise<Links> {
  const startMs = performance.now();
  const connected = await fleet.askAll(connectCommand, PHASE_LIMIT_MS);
  const formedInMs = performance.now() - startMs;

  const links: Link[] = [];
  for (const [at, { transports }] of connected.entries()) {
    const peers = targets.slice(at + 1).map(({ nodeId }) => nodeId);
    const from = targets[at]!.nodeId;
    // One node after the other, so that a ping meets nothing else under way.
    const { rttMs } = await fleet.ask(from, { kind: 'measure', peers }, PHASE_LIMIT_MS);
    const over = transports.slice(transports.length - peers.length);
    links.push(...peers.map((to, nth) => new Link(from, to, over[nth]!, rttMs[nth]!)));
  }
  const roundTrips = links.map(({ rttMs }) => rttMs).sort((a, b) => a - b);
  const rtt = fixed(roundTrips[Math.floor(roundTrips.length / 2)]);
  const text = `${linksByTransport(links)} in ${Math.round(formedInMs)} ms, round trip ${rtt} ms`;
  screen.print(...labelled('mesh', [text], screen.style), '');
  return new Links(links);
}
