/**
 * A flood of forged first packets, as fast as one process sends them: the node makes no connection of them, stays as small as
 * it was, and goes on to answer its peers, of whose packets the system drops none.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { Child } from '../../scripts/children/child.js';
import type { Peer } from '../../src/index.js';
import { startNode } from '../helpers/nodes.js';
import type { FloodCommand, FloodReport } from './helpers/initial-flooder.js';
import { RemoteNode } from './helpers/remote-node.js';

const FLOODER = fileURLToPath(new URL('helpers/initial-flooder.ts', import.meta.url));
const FLOOD_MS = 5000;
/** Calls at a time. */
const LANES = 4;
/** Twice what is to be expected of a process's memory, which never stands still. Connections would take 200 MB. */
const MAX_GROWTH_BYTES = 16_000_000;
const LOOKS = 40;
/** How much fewer calls may be answered, at the very least: what is left depends on who else has the processor. */
const MAX_SLOWDOWN = 40;

interface Calls {
  readonly perSecond: number;
  readonly p99Ms: number;
  readonly failed: number;
}

test('forged first packets as fast as one process sends them', async (t) => {
  t.timeout(120_000);
  const options = { transports: ['quic'] } as const;
  const n2 = await RemoteNode.start(t, 'n2', { options });
  const n1 = await startNode(t, 'n1', { ...options, cluster: 'faults', listen: undefined });
  const peer = await n1.connect(n2.target);
  let stopWarmUp = false;
  const warmUp = callUntil(peer, () => stopWarmUp);
  await new Promise((resolve) => setTimeout(resolve, 2000));
  stopWarmUp = true;
  await warmUp;

  // The control: the same packets, as fast, at a port where nobody is. So both times the machine is as busy.
  const idle = await callDuring(peer, () => flood(t, { host: '127.0.0.1', port: 9 }));
  const before = await n2.ask('usage', {});
  const beside = await callDuring(peer, () => flood(t, n2.target));
  const drops = dropsAt(n2.target.port);
  // What garbage takes for a while is no memory that the flood holds.
  let growthBytes = Number.POSITIVE_INFINITY;
  for (let look = 0; look < LOOKS && growthBytes >= MAX_GROWTH_BYTES; look += 1) {
    const { rssBytes } = await n2.ask('usage', {});
    growthBytes = Math.min(growthBytes, rssBytes - before.rssBytes);
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  const { quic } = await n2.ask('counters', {});
  const readShare = (quic?.datagramsReceived ?? 0) / beside.flood.sent;
  t.log(JSON.stringify({ idle, beside, growthBytes, readShare, drops, quic }));

  t.true((quic?.droppedWithoutKnock ?? 0) > 5000);
  // What floods the shared queue keeps nothing of a peer out, so that its connection and its calls live through it.
  if (process.platform === 'linux') {
    t.true(drops.ofShared > 0);
    t.is(drops.ofPeers, 0);
    // Once, it may be lost for want of processor time.
    t.true((quic?.accepted ?? 0) <= 2);
    t.true(beside.calls.failed <= LANES);
    t.true(beside.calls.perSecond * MAX_SLOWDOWN > idle.calls.perSecond);
  }
  t.is(quic?.refused, 0);
  t.true(growthBytes < MAX_GROWTH_BYTES, `${growthBytes} bytes`);
  t.true(beside.calls.perSecond > 0);
  t.true((await n1.connect(n2.target)).isConnected);
});

/** Datagrams that the system dropped in front of the sockets at a port, since they were opened. */
function dropsAt(port: number): { readonly ofPeers: number; readonly ofShared: number } {
  const drops = { ofPeers: 0, ofShared: 0 };
  if (process.platform !== 'linux') return drops;
  for (const line of readFileSync('/proc/net/udp', 'utf8').split('\n').slice(1)) {
    const [, local = '', remote = '', ...rest] = line.trim().split(/\s+/);
    if (Number.parseInt(local.split(':')[1] ?? '', 16) !== port) continue;
    drops[remote.endsWith(':0000') ? 'ofShared' : 'ofPeers'] += Number(rest.at(-1));
  }
  return drops;
}

async function callDuring(peer: Peer, attack: () => Promise<FloodReport>) {
  let isOver = false;
  const attacked = attack().then((report) => {
    isOver = true;
    return report;
  });
  const calls = await callUntil(peer, () => isOver);
  return { calls, flood: await attacked };
}

async function callUntil(peer: Peer, isOver: () => boolean): Promise<Calls> {
  const tookMs: number[] = [];
  let failed = 0;
  const beganMs = performance.now();
  const lane = async () => {
    while (!isOver()) {
      const callMs = performance.now();
      try {
        await peer.request({ type: 'queryRequest', query: 'still there' });
        tookMs.push(performance.now() - callMs);
      } catch {
        failed += 1;
      }
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  tookMs.sort((a, b) => a - b);
  const perSecond = (1000 * tookMs.length) / (performance.now() - beganMs);
  return { perSecond, p99Ms: tookMs[Math.floor(tookMs.length * 0.99)] ?? 0, failed };
}

function flood(
  t: Parameters<typeof startNode>[0],
  target: FloodCommand['target'],
): Promise<FloodReport> {
  return new Promise((resolve, reject) => {
    const child = new Child({
      program: FLOODER,
      onMessage: (message) => {
        resolve(message as FloodReport);
        child.kill();
      },
    });
    t.teardown(() => child.kill());
    void child.gone.then(({ code }) => reject(new Error(`the flood ended with ${code}`)));
    child.tell({ target, forMs: FLOOD_MS } satisfies FloodCommand);
  });
}
