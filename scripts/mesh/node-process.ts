/** The program of one node: a process of its own, which does what the command tells it over IPC. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createNode, type MeshNode, type TransportName } from '../../src/index.js';
import { sendFile } from './file-transfer.js';
import { type Received, serveStore } from './handlers.js';
import { NodeCerts } from './node-certs.js';
import type { Answer, Answers, Closed, Command, CommandOf, Report, Target } from './protocol.js';
import { describe, met, Workload } from './workload.js';

const PROGRESS_EVERY_MS = 500;
const PINGS_PER_LINK = 15;
const LOOK_AGAIN_MS = 5;

let started: MeshNode | undefined;
let certs: NodeCerts | undefined;
let unfollow = (): void => {};
let store: Received | undefined;
let workload: Workload | undefined;

process.on('disconnect', orphaned);
if (!process.connected) orphaned();

process.on('message', async (command: Command) => {
  const { kind: to } = command;
  try {
    const answer = await carryOut(command);
    // Without the channel nothing keeps a closed node's process.
    report({ kind: 'answer', to, answer }, to === 'close' ? disconnect : undefined);
  } catch (error) {
    report({ kind: 'failed', to, reason: describe(error) });
  }
});

async function carryOut(command: Command): Promise<Answer> {
  if (command.kind === 'load') return {};
  if (command.kind === 'start') return start(command);
  const node = started;
  if (node === undefined) throw new Error(`${command.kind} came before start`);
  switch (command.kind) {
    case 'connect':
      return { transports: await connect(node, command) };
    case 'meet':
      for (const nodeId of command.peers) await meet(node, nodeId);
      return {};
    case 'measure':
      return { rttMs: await measure(node, command.peers) };
    case 'run':
      return work(node, command);
    case 'stop':
      workload?.stop();
      return {};
    case 'tally':
      return workload?.takeTally() ?? { calls: 0, failed: 0, longestMs: 0 };
    case 'identity':
      if (certs === undefined) throw new Error('identity came before start');
      return certs.report(node);
    case 'lifeEnded':
      store?.forget(command.nodeId);
      workload?.lifeEnded(command.nodeId, command.received);
      return {};
    case 'transfer':
      return transfer(node, command);
    case 'close':
      return close(node);
  }
}

async function start(command: CommandOf<'start'>): Promise<Answers['start']> {
  const { nodeId, transports, port } = command;
  certs = new NodeCerts(command.tls);
  started = await createNode({
    nodeId,
    cluster: 'mesh-demo',
    tls: certs.read,
    transports,
    listen: { host: '127.0.0.1', port },
  });
  unfollow = certs.follow(started);
  store = serveStore(started);
  if (started.address === undefined) throw new Error('node does not listen');
  return { port: started.address.port };
}

async function close(node: MeshNode): Promise<Closed> {
  const startMs = performance.now();
  unfollow();
  await node.close();
  const closedInMs = performance.now() - startMs;
  return { counters: node.counters.transports, received: store?.received ?? {}, closedInMs };
}

function connect(
  node: MeshNode,
  { targets, retry }: CommandOf<'connect'>,
): Promise<TransportName[]> {
  return Promise.all(targets.map((peer) => dial(node, peer, retry)));
}

async function dial(node: MeshNode, target: Target, retry: boolean): Promise<TransportName> {
  try {
    const { transport } = await node.connect(target, { retry });
    if (transport === undefined) throw new Error('the connection is gone again');
    return transport;
  } catch (error) {
    throw new Error(`${target.nodeId}: ${describe(error)}`);
  }
}

/** Whoever asks has a limit for how long. */
async function meet(node: MeshNode, nodeId: string): Promise<void> {
  while (node.peer(nodeId)?.isConnected !== true) await sleep(LOOK_AGAIN_MS);
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
  const begun = new Workload(node, command);
  workload = begun;
  const timer = setInterval(() => {
    report({ kind: 'progress', peers: begun.takeProgress() });
  }, PROGRESS_EVERY_MS);
  try {
    return await begun.run();
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
