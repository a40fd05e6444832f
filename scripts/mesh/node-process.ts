/** The program of one node: a process of its own, which does what the command tells it over IPC. */
import { createNode, type MeshNode, type TransportName } from '../../src/index.js';
import { sendFile } from './file-transfer.js';
import { serveStore } from './handlers.js';
import type { Answer, Answers, Command, CommandOf, Report, Target } from './protocol.js';
import { describe, met, Workload } from './workload.js';

const PROGRESS_EVERY_MS = 500;
const PINGS_PER_LINK = 15;

let started: MeshNode | undefined;

process.on('disconnect', orphaned);
if (!process.connected) orphaned();

process.on('message', async (command: Command) => {
  try {
    const answer = await carryOut(command);
    // Without the channel nothing keeps a closed node's process.
    report({ kind: 'answer', answer }, command.kind === 'close' ? disconnect : undefined);
  } catch (error) {
    report({ kind: 'failed', reason: describe(error) });
  }
});

async function carryOut(command: Command): Promise<Answer> {
  if (command.kind === 'start') return start(command);
  const node = started;
  if (node === undefined) throw new Error(`${command.kind} came before start`);
  switch (command.kind) {
    case 'connect':
      return { transports: await Promise.all(command.targets.map((peer) => dial(node, peer))) };
    case 'measure':
      return { rttMs: await measure(node, command.peers) };
    case 'run':
      return work(node, command);
    case 'transfer':
      return transfer(node, command);
    case 'close':
      await node.close();
      return { counters: node.counters.transports };
  }
}

async function start({ nodeId, tls, transports }: CommandOf<'start'>): Promise<Answers['start']> {
  started = await createNode({
    nodeId,
    cluster: 'mesh-demo',
    tls,
    transports,
    listen: { host: '127.0.0.1', port: 0 },
  });
  serveStore(started);
  if (started.address === undefined) throw new Error('node does not listen');
  return { port: started.address.port };
}

async function dial(node: MeshNode, target: Target): Promise<TransportName> {
  try {
    const { transport } = await node.connect(target);
    if (transport === undefined) throw new Error('the connection is gone again');
    return transport;
  } catch (error) {
    throw new Error(`${target.nodeId}: ${describe(error)}`);
  }
}

async function measure(node: MeshNode, peers: readonly string[]): Promise<number[]> {
  const medians: number[] = [];
  for (const nodeId of peers) {
    const peer = met(node, nodeId);
    const pings: number[] = [];
    while (pings.length < PINGS_PER_LINK) pings.push(await peer.ping());
    pings.sort((a, b) => a - b);
    medians.push(pings[Math.floor(PINGS_PER_LINK / 2)] as number);
  }
  return medians;
}

async function work(node: MeshNode, command: CommandOf<'run'>): Promise<Answers['run']> {
  const workload = new Workload(node, command);
  const timer = setInterval(() => {
    report({ kind: 'progress', peers: workload.takeProgress() });
  }, PROGRESS_EVERY_MS);
  try {
    return await workload.run();
  } finally {
    clearInterval(timer);
  }
}

async function transfer(
  node: MeshNode,
  { path, peers }: CommandOf<'transfer'>,
): Promise<Answers['transfer']> {
  let read = 0;
  let taken = 0;
  let reported = 0;
  const timer = setInterval(() => {
    // The command takes silence for a transfer that hangs.
    if (read > reported) report({ kind: 'transferProgress', bytes: taken });
    reported = read;
  }, PROGRESS_EVERY_MS);
  try {
    return await sendFile(node, path, peers, {
      onRead: (bytes) => {
        read += bytes;
      },
      onTaken: (bytes) => {
        taken += bytes;
      },
    });
  } finally {
    clearInterval(timer);
  }
}

/** Whoever started this process is gone, however it went: there is nobody left to be a node for. */
function orphaned(): void {
  process.exit(1);
}

function disconnect(): void {
  process.off('disconnect', orphaned);
  process.disconnect();
}

function report(message: Report, onSent: () => void = () => {}): void {
  process.send?.(message, onSent);
}
