/** Nodes with names of their own that come and go: what a node keeps of them does not grow with their number. */
import test, { type ExecutionContext } from 'ava';
import { createNode, type MeshNode, type NodeOptions } from '../../src/index.js';
import { MAX_GONE_PEERS } from '../../src/node/known-peers.js';
import { certNamed, nodeCert } from '../helpers/certs.js';
import { MemoryHub, MemoryTransport } from '../helpers/memory-transport.js';
import { startNode, TEST_TRANSPORTS, targetOf } from '../helpers/nodes.js';
import { until } from '../helpers/until.js';

const PATIENT = {
  timeouts: { connectMs: 60_000, handshakeMs: 60_000 },
  logger: 'silent',
} as const;

/** A node that comes, asks once, and goes. */
async function visit(options: NodeOptions, n1: MeshNode): Promise<void> {
  const visitor = await createNode({ ...PATIENT, ...options });
  const peer = await visitor.connect(targetOf(n1));
  await peer.request({ type: 'request', method: 'm' }, { timeoutMs: 60_000 });
  await visitor.close();
}

/** Runs as many as there are, a few at a time. */
async function visitAll(count: number, visitAs: (i: number) => Promise<void>): Promise<void> {
  const left = Array.from({ length: count }, (_, i) => i).values();
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      for (const i of left) await visitAs(i);
    }),
  );
}

async function startVisited(t: ExecutionContext, options: Partial<NodeOptions>) {
  const n1 = await startNode(t, 'n1', { ...PATIENT, ...options });
  n1.handle('request', () => ({ body: 'hello' }));
  return n1;
}

for (const transport of TEST_TRANSPORTS) {
  test(`${transport}: more nodes come and go than a node remembers, which it does not forget while it has or dials them`, async (t) => {
    const transports = [transport];
    const n1 = await startVisited(t, { transports });
    const staying = await startNode(t, 'n2', { ...PATIENT, transports });
    await staying.connect(targetOf(n1));
    const dialed = await startNode(t, 'n3', { ...PATIENT, transports });
    await n1.connect(targetOf(dialed));
    await dialed.close();
    const count = MAX_GONE_PEERS + 20;
    const names = Array.from({ length: count }, (_, i) => `job-${i}`);
    // One certificate that may be any of them.
    const tls = await certNamed('job', { extraHosts: names });
    await visitAll(count, (i) =>
      visit({ nodeId: `job-${i}`, cluster: 'test', tls, transports }, n1),
    );
    await until(() => n1.peers.length === MAX_GONE_PEERS + 2);
    t.true(n1.peer('n2')?.isConnected);
    t.not(n1.peer('n3'), undefined, 'it is dialed, for ever');
    t.true(n1.counters.handshakes.accepted >= count);
  });
}

async function inMemory(t: ExecutionContext) {
  const hub = new MemoryHub();
  // A transport that is brought along has no certificates, and node ids that it is told.
  const tls = await nodeCert('n1');
  const transports = (nodeId: string) => [new MemoryTransport({ hub, nodeIds: [nodeId] })];
  const n1 = await startVisited(t, { tls, transports: transports('n1') });
  const as = (nodeId: string) => ({
    nodeId,
    cluster: 'test',
    tls,
    transports: transports(nodeId),
    ...PATIENT,
  });
  return { n1, as };
}

test('of very many that come and go a node lists those that went last', async (t) => {
  const { n1, as } = await inMemory(t);
  const count = 400;
  await visitAll(count, (i) => visit(as(`job-${i}`), n1));
  await until(() => n1.peers.length === MAX_GONE_PEERS);
  t.is(n1.counters.handshakes.accepted, count);
});

test('a peer that somebody holds is the same when its node is back, however many came in between', async (t) => {
  const { n1, as } = await inMemory(t);
  const first = await createNode(as('held'));
  t.teardown(() => first.close());
  await first.connect(targetOf(n1));
  await until(() => n1.peer('held')?.isConnected === true);
  const held = n1.peer('held');
  await first.close();
  await visitAll(MAX_GONE_PEERS + 20, (i) => visit(as(`job-${i}`), n1));
  t.is(n1.peer('held'), undefined);
  t.false(held?.isConnected);
  const call = held?.request({ type: 'ping' });
  t.like(await t.throwsAsync(async () => call), { code: 'ConnectionLost' });
  const second = await createNode(as('HELD'));
  t.teardown(() => second.close());
  await second.connect(targetOf(n1));
  await until(() => held?.isConnected === true);
  t.is(n1.peer('held'), held);
  t.like(await held?.request({ type: 'ping' }), { type: 'pong' });
  await second.close();
  await visitAll(MAX_GONE_PEERS + 20, (i) => visit(as(`job-${i}`), n1));
  t.is(n1.peer('held'), undefined);
  await n1.close();
  const late = held?.request({ type: 'ping' });
  t.like(await t.throwsAsync(async () => late), { code: 'NodeClosed' });
});

test('nodes that were dialed in vain are forgotten as well, and dialed again when they are asked for', async (t) => {
  const { n1, as } = await inMemory(t);
  for (let i = 0; i < MAX_GONE_PEERS + 20; i += 1) {
    await t.throwsAsync(n1.connect({ nodeId: `n-${i}`, host: '127.0.0.1', port: 60_000 }));
  }
  t.is(n1.peers.length, MAX_GONE_PEERS);
  const late = await createNode({ ...as('n-0'), listen: { host: '127.0.0.1', port: 0 } });
  t.teardown(() => late.close());
  t.is(n1.peer('n-0'), undefined);
  t.true((await n1.connect(targetOf(late))).isConnected);
});
