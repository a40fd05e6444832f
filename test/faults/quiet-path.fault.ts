/**
 * What nodes send over paths that swallow all of it, the large part of it, or one direction: little, whatever they were
 * doing. Datagrams are counted where they leave.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { MeshNode, Peer } from '../../src/index.js';
import type { ChaosSettings } from '../helpers/chaos-proxy/faults.js';
import { ChaosProxy } from '../helpers/chaos-proxy/proxy.js';
import { startNode, targetOf } from '../helpers/nodes.js';
import { until } from '../helpers/until.js';

const SECONDS = 10;
/** In a second and of one side, beyond what answers to datagrams that arrived. */
const MAX_PER_SECOND = 50;
/**
 * An acknowledgement may let out the smallest window, two units of 5,400 bytes, which are eight packets; and what it shows to be
 * lost is sent again.
 */
const FOR_EACH_ARRIVAL = 16;
/** Of TCP: a ping is no smaller. */
const PING_BYTES = 40;
/** What was under way when the path went silent is lost, and some of it sent again: not counted. */
const SETTLING_MS = 2000;

interface Fault {
  readonly settings: ChaosSettings;
  /** Those whose large datagrams arrive nowhere: the others may be busy. */
  readonly counted: readonly ('n1' | 'n2')[];
}

const BOTH = ['n1', 'n2'] as const;
const FAULTS: Readonly<Record<string, Fault>> = {
  'everything is lost': { settings: { blackHole: true }, counted: BOTH },
  'large datagrams are lost': { settings: { maxDatagramBytes: 1000 }, counted: BOTH },
  'large datagrams to the acceptor are lost': {
    settings: { toServer: { maxDatagramBytes: 1000 } },
    counted: ['n1'],
  },
  'large datagrams to the dialer are lost': {
    settings: { toClient: { maxDatagramBytes: 1000 } },
    counted: ['n2'],
  },
  'what goes to the acceptor is lost': {
    settings: { toServer: { blackHole: true } },
    counted: BOTH,
  },
  'what goes to the dialer is lost': { settings: { toClient: { blackHole: true } }, counted: BOTH },
};

interface Pair {
  readonly n1: MeshNode;
  readonly n2: MeshNode;
  readonly peer: Peer;
  readonly back: Peer;
}

/** What is under way when the path goes silent, and goes on as far as it can. */
const WORKS: Readonly<Record<string, (pair: Pair, isOver: () => boolean) => void>> = {
  rest() {},
  'a small call': ({ peer }, isOver) => void carryOn(() => echo(peer, 10), isOver),
  'calls by the dialer': ({ peer }, isOver) => void callOn(peer, isOver),
  'calls by the acceptor': ({ back }, isOver) => void callOn(back, isOver),
  'an upload': ({ peer }, isOver) => void carryOn(() => drain(peer, 'up', isOver), isOver),
  'a download': ({ peer }, isOver) => void carryOn(() => drain(peer, 'down', isOver), isOver),
};

for (const transport of ['quic', 'tcp'] as const) {
  for (const [name, fault] of Object.entries(FAULTS)) {
    // Segments of TCP are the system's.
    if (transport === 'tcp' && name.startsWith('large')) continue;
    test(`${transport}: little is sent where ${name}`, async (t) => {
      await Promise.all(
        Object.entries(WORKS)
          // What TCP's buffers take of bulk data says nothing of what is sent.
          .filter(([work]) => transport === 'quic' || work === 'rest' || work === 'a small call')
          .map(([work, begin]) => count(t, { transport, work, begin, ...fault })),
      );
    });
  }
}

interface Case extends Fault {
  readonly transport: 'quic' | 'tcp';
  readonly work: string;
  readonly begin: (pair: Pair, isOver: () => boolean) => void;
}

async function count(t: ExecutionContext, { transport, work, begin, ...fault }: Case) {
  const options = {
    transports: [transport],
    quic: { maxDatagramBytes: 1350 },
    bulk: { transport: 'same' },
  } as const;
  const n2 = await startNode(t, 'n2', options);
  const n1 = await startNode(t, 'n1', options);
  for (const node of [n1, n2]) serve(node);
  const proxy = await ChaosProxy.start({ target: targetOf(n2), faults: { delayMs: 5 } });
  t.teardown(() => proxy.close());
  const peer = await n1.connect({ ...proxy.address, nodeId: 'n2' });
  await peer.ping();
  await until(() => n2.peer('n1') !== undefined);
  let isOver = false;
  begin({ n1, n2, peer, back: n2.peer('n1') as Peer }, () => isOver);
  // Its congestion windows are open by then.
  await sleep(500);
  proxy.change(fault.settings);
  await sleep(SETTLING_MS);
  for (let second = 0; second < SECONDS; second += 1) {
    const before = [trafficOf(n1, transport), trafficOf(n2, transport)];
    await sleep(1000);
    const after = [trafficOf(n1, transport), trafficOf(n2, transport)];
    for (const [side, { nodeId }] of [n1, n2].entries()) {
      if (!fault.counted.includes(nodeId as 'n1' | 'n2')) continue;
      const [was, is] = [before[side] as Traffic, after[side] as Traffic];
      const [sent, received] = [is.sent - was.sent, is.received - was.received];
      const limit = MAX_PER_SECOND + FOR_EACH_ARRIVAL * Math.max(0, received);
      t.true(sent <= limit, `${work}: ${nodeId} sent ${sent}, received ${received}`);
    }
  }
  isOver = true;
  await Promise.all([n1.close(), n2.close()]);
}

function serve(node: MeshNode): void {
  node.handle('request', ({ body }) => ({ body }));
  node.handle('dataTransfer', async function* ({ transferId }, { body }) {
    if (transferId === 'up') for await (const _ of body);
    for (let i = 0; transferId === 'down' && i < 10_000; i += 1) yield Buffer.alloc(60_000);
  });
}

/** Small calls and large ones, a few at a time, for as long as there is to be something. */
async function callOn(peer: Peer, isOver: () => boolean): Promise<void> {
  const lane = (bytes: number) => carryOn(() => echo(peer, bytes), isOver);
  await Promise.all([lane(10), lane(10), lane(5000), lane(100_000)]);
}

async function echo(peer: Peer, bytes: number): Promise<void> {
  const body = Buffer.alloc(bytes);
  await peer.request({ type: 'request', method: 'echo', body }, { timeoutMs: 3000 });
}

async function drain(peer: Peer, transferId: string, isOver: () => boolean): Promise<void> {
  const body = transferId === 'up' ? chunks(isOver) : undefined;
  for await (const _ of peer.stream({ transferId }, { body })) if (isOver()) return;
}

function* chunks(isOver: () => boolean): Generator<Buffer> {
  while (!isOver()) yield Buffer.alloc(60_000);
}

/** Again and again: what fails is tried anew, as an application would. */
async function carryOn(step: () => Promise<void>, isOver: () => boolean): Promise<void> {
  while (!isOver()) await step().catch(() => sleep(100));
}

interface Traffic {
  readonly sent: number;
  readonly received: number;
}

/** Datagrams of QUIC; over TCP what sessions wrote and read, in as many packets as it could make of pings. */
function trafficOf(node: MeshNode, transport: 'quic' | 'tcp'): Traffic {
  if (transport === 'quic') {
    const { datagramsSent = 0, datagramsReceived = 0 } = node.counters.transports.quic ?? {};
    return { sent: datagramsSent, received: datagramsReceived };
  }
  const bytes = (node.peer(node.nodeId === 'n1' ? 'n2' : 'n1')?.connections ?? []).map(
    (connection) => connection.bytes,
  );
  const packets = (sum: number, more: number) => sum + Math.ceil(more / PING_BYTES);
  return {
    sent: bytes.map(({ sent }) => sent).reduce(packets, 0),
    received: bytes.map(({ received }) => received).reduce(packets, 0),
  };
}
