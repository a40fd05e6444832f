/** Large transfers leave the connection that carries calls. */
import test, { type ExecutionContext } from 'ava';
import type { MeshNode, NodeOptions, Peer } from '../../src/index.js';
import { ChaosProxy } from '../helpers/chaos-proxy/proxy.js';
import { startNode, TEST_TRANSPORTS, targetOf } from '../helpers/nodes.js';
import { until } from '../helpers/until.js';

const MIB = 1024 * 1024;
const LONG = { connectMs: 50_000, handshakeMs: 50_000 } as const;
/** However busy the machine is, the preferred transport wins, and nobody is taken for dead. */
const PATIENT = {
  timeouts: { ...LONG, fallbackDelayMs: 50_000 },
  health: { intervalMs: 10_000 },
} as const;
const CHUNK = Buffer.alloc(64 * 1024, 7);

function* body(bytes: number): Generator<Buffer> {
  for (let sent = 0; sent < bytes; sent += CHUNK.length) yield CHUNK;
}

/** Counts what comes, and sends as much back. */
function handleTransfers(node: MeshNode): void {
  node.handle('dataTransfer', async function* (message, { body: incoming }) {
    let bytes = 0;
    for await (const chunk of incoming) bytes += chunk.length;
    yield* body(message.name === 'back' ? bytes : CHUNK.length);
  });
  node.handle('query', () => ({ result: [] }));
}

interface Pair {
  readonly n1: MeshNode;
  readonly n2: MeshNode;
  /** n2, as n1 has it. */
  readonly peer: Peer;
}

async function start(
  t: ExecutionContext,
  dialer: Partial<NodeOptions> = {},
  acceptor: Partial<NodeOptions> = {},
): Promise<Pair> {
  const n1 = await startNode(t, 'n1', { listen: undefined, ...PATIENT, ...dialer });
  const n2 = await startNode(t, 'n2', { ...PATIENT, ...acceptor });
  handleTransfers(n1);
  handleTransfers(n2);
  return { n1, n2, peer: await n1.connect(targetOf(n2)) };
}

async function transfer(peer: Peer, options: { totalBytes?: number; back?: boolean } = {}) {
  const { totalBytes, back = false } = options;
  const name = back ? 'back' : 'there';
  let bytes = 0;
  for await (const chunk of peer.stream(
    { transferId: 't', name, ...(totalBytes === undefined ? {} : { totalBytes }) },
    { body: body(totalBytes ?? MIB) },
  )) {
    bytes += chunk.length;
  }
  return bytes;
}

function classesOf({ connections }: Peer): string[] {
  return connections.map(({ connectionClass, transport }) => `${connectionClass} ${transport}`);
}

function bytesOf({ connections }: Peer, its: 'calls' | 'bulk'): number {
  const [found] = connections.filter(({ connectionClass }) => connectionClass === its);
  return (found?.bytes.sent ?? 0) + (found?.bytes.received ?? 0);
}

function peerOf(node: MeshNode, nodeId: string): Peer {
  const peer = node.peer(nodeId);
  if (peer === undefined) throw new Error(`${node.nodeId} does not know ${nodeId}`);
  return peer;
}

test('a large transfer goes over TCP, by a connection of its own', async (t) => {
  const { n2, peer } = await start(t);
  t.is(await transfer(peer, { totalBytes: 4 * MIB, back: true }), 4 * MIB);
  t.deepEqual(classesOf(peer), ['calls quic', 'bulk tcp']);
  t.deepEqual(classesOf(peerOf(n2, 'n1')), ['calls quic', 'bulk tcp']);
  t.true(bytesOf(peer, 'bulk') > 8 * MIB);
  t.true(bytesOf(peer, 'calls') < MIB);
  t.is(peer.transport, 'quic');
  await peer.request({ type: 'queryRequest', query: 'select 1' });
  t.is(peer.bulkStatistics?.dialed, 1);
  t.is(peerOf(n2, 'n1').bulkStatistics?.accepted, 1);
});

for (const transport of TEST_TRANSPORTS) {
  test(`${transport} only: a large transfer has a connection of its own all the same`, async (t) => {
    const { peer } = await start(t, { transports: [transport] });
    await transfer(peer);
    t.deepEqual(classesOf(peer), [`calls ${transport}`, `bulk ${transport}`]);
  });

  test(`bulk.transport ${transport}: it goes by that`, async (t) => {
    const { peer } = await start(t, { bulk: { transport } });
    await transfer(peer);
    t.deepEqual(classesOf(peer), ['calls quic', `bulk ${transport}`]);
  });

  test(`a peer that is there over ${transport} only is reached over that`, async (t) => {
    const { peer } = await start(t, { timeouts: LONG }, { transports: [transport] });
    await transfer(peer);
    t.deepEqual(classesOf(peer), [`calls ${transport}`, `bulk ${transport}`]);
  });
}

test('small ones, those of another priority, and all where that is asked for stay with the calls', async (t) => {
  const { peer } = await start(t);
  await transfer(peer, { totalBytes: MIB - 1 });
  for await (const _ of peer.stream({ transferId: 'u' }, { body: body(MIB), priority: 'normal' }));
  t.deepEqual(classesOf(peer), ['calls quic']);
  t.is(peer.bulkStatistics, undefined);
  const same = await start(t, { bulk: { transport: 'same' } });
  await transfer(same.peer);
  t.deepEqual(classesOf(same.peer), ['calls quic']);
});

test('the side that was dialed uses the connection that there is, and the one for calls before', async (t) => {
  const { n2, peer } = await start(t);
  const back = peerOf(n2, 'n1');
  await transfer(back);
  t.deepEqual(classesOf(back), ['calls quic']);
  await transfer(peer);
  const before = bytesOf(back, 'bulk');
  await transfer(back, { totalBytes: 2 * MIB });
  t.deepEqual(classesOf(back), ['calls quic', 'bulk tcp']);
  t.true(bytesOf(back, 'bulk') - before > 2 * MIB);
});

test('an idle one is closed by whoever dialed it, and dialed again for the next transfer', async (t) => {
  const { n2, peer } = await start(t, {
    bulk: { idleMs: 100 },
    health: { intervalMs: 1000 },
  });
  await transfer(peer);
  await until(() => peer.connections.length === 1);
  await until(() => peerOf(n2, 'n1').connections.length === 1);
  t.is(peer.bulkStatistics?.retired, 1);
  t.is(peer.bulkStatistics?.lost, 0);
  await transfer(peer);
  t.is(peer.bulkStatistics?.dialed, 2);
  t.is(peer.statistics.dialed, 1);
});

test('where the peer takes no more connections, transfers stay with the calls', async (t) => {
  const { peer } = await start(t, {}, { limits: { connectionsPerPeer: 1 } });
  for (let i = 0; i < 3; i += 1) t.is(await transfer(peer), CHUNK.length);
  t.deepEqual(classesOf(peer), ['calls quic']);
  const dials = peer.bulkStatistics?.dialsFailed ?? 0;
  t.true(dials >= 1);
  t.true(peer.isConnected);
});

test('a transfer that resumes goes on where its connection is lost, and calls are not', async (t) => {
  const n2 = await startNode(t, 'n2');
  const proxy = await ChaosProxy.start({ target: targetOf(n2) });
  t.teardown(() => proxy.close());
  const n1 = await startNode(t, 'n1', { listen: undefined, ...PATIENT });
  const peer = await n1.connect({ ...proxy.address, nodeId: 'n2' });
  let received = 0;
  n2.handle('dataTransfer', async function* (_, { body: incoming }) {
    for await (const chunk of incoming) received += chunk.length;
    yield CHUNK;
  });
  let interrupted = false;
  const from = async function* (offset: number): AsyncGenerator<Buffer> {
    for (let at = offset; at < 32 * MIB; at += CHUNK.length) {
      if (received > MIB && !interrupted) {
        interrupted = true;
        t.deepEqual(classesOf(peer), ['calls quic', 'bulk tcp']);
        proxy.reset();
      }
      yield CHUNK;
    }
  };
  const transfer = { transferId: 'r', totalBytes: 32 * MIB };
  for await (const _ of peer.stream(transfer, { resume: true, body: from }));
  t.true(interrupted);
  t.true(received >= 32 * MIB);
  t.is(peer.bulkStatistics?.lost, 1);
  t.is(peer.statistics.lost, 0);
  t.deepEqual(classesOf(peer), ['calls quic', 'bulk quic'], 'TCP is avoided for a while');
});

test('closing the peer closes it too', async (t) => {
  const { n2, peer } = await start(t);
  await transfer(peer);
  await peer.close();
  await until(() => peerOf(n2, 'n1').connections.length === 0);
  t.deepEqual(peer.connections, []);
});
