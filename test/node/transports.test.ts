/** Transports that a node is given as objects, and the one in memory that tests give it. */
import test, { type ExecutionContext } from 'ava';
import { createNode, type MeshNode, type NodeOptions } from '../../src/index.js';
import { TcpTransport, type Transport } from '../../src/transport/index.js';
import { EventLog } from '../helpers/calling.js';
import { nodeCert, otherCaCert } from '../helpers/certs.js';
import { MemoryHub, MemoryTransport } from '../helpers/memory-transport.js';
import { startNode, targetOf } from '../helpers/nodes.js';

const LISTEN = { host: '127.0.0.1', port: 7001 };

test('a transport of ones own serves beside named ones, and is closed with its node', async (t) => {
  const tls = await nodeCert('n2');
  const own = new TcpTransport({ cluster: 'test', tls: () => tls });
  const n1 = await startNode(t, 'n1', { transports: ['tcp'] });
  const n2 = await startNode(t, 'n2', { transports: ['quic', own] });
  n2.handle('query', (_request, { transport }) => ({ result: transport }));
  const peer = await n1.connect(targetOf(n2));
  t.like(await peer.request({ type: 'queryRequest', query: 'q' }), { result: 'tcp' });
  t.is(own.counters.accepted, 1);
  t.is(n2.counters.transports.tcp?.accepted, 1);
  await n2.close();
  t.like(await t.throwsAsync(own.listen({ ...LISTEN, onConnection() {} })), {
    code: 'NodeClosed',
  });
});

test('nodes may be told to do with a transport that is neither QUIC nor TCP', async (t) => {
  const { n1, n2, transports } = await memoryNodes(t);
  const events = n1.status();
  const peer = await n1.connect(targetOf(n2));
  t.is(peer.transport, 'memory');
  t.is(n2.peer('n1')?.connections[0]?.transport, 'memory');
  t.like((await events.next()).value, { kind: 'peerUp', nodeId: 'n2', transport: 'memory' });
  t.deepEqual(Object.keys(n1.counters.transports), ['memory']);
  await n1.close();
  await n2.close();
  t.true(transports.every(({ isClosed }) => isClosed));
});

test('a memory transport that is preferred, and reaches nobody, gives way to the next', async (t) => {
  const memory = new MemoryTransport({ hub: new MemoryHub(), nodeIds: ['n1'] });
  const n1 = await startNode(t, 'n1', { transports: [memory, 'tcp'], listen: undefined });
  const n2 = await startNode(t, 'n2', { transports: ['tcp'] });
  const peer = await n1.connect(targetOf(n2));
  t.is(peer.transport, 'tcp');
  t.is(memory.counters.dialsFailed, 1);
});

test('a node closes the transports that it was given also when it cannot start', async (t) => {
  const { n2, transports, hub } = await memoryNodes(t);
  const late = new MemoryTransport({ hub, nodeIds: ['n3'] });
  const created = createNode(await optionsOf('n3', late, { listen: n2.address }));
  t.like(await t.throwsAsync(created), { code: 'ConnectFailed' });
  t.true(late.isClosed);
  t.false(transports.some(({ isClosed }) => isClosed));
});

test('the same name twice is InvalidOptions, by name or as an object, and leaves the object open', async (t) => {
  const memory = new MemoryTransport({ hub: new MemoryHub(), nodeIds: ['n1'] });
  const tls = await nodeCert('n1');
  const tcp = new TcpTransport({ cluster: 'test', tls: () => tls });
  t.teardown(() => tcp.close());
  for (const transports of [
    ['tcp', tcp],
    [memory, memory],
  ] as const) {
    const created = createNode({ ...(await optionsOf('n1', memory)), transports });
    const error = await t.throwsAsync(created);
    t.like(error, { code: 'InvalidOptions' });
    t.true(error?.message.includes('names a transport twice'));
  }
  t.false(memory.isClosed);
});

test('quic.required leaves a transport of ones own aside, unless it is one of QUIC', async (t) => {
  const memory = new MemoryTransport({ hub: new MemoryHub(), nodeIds: ['n1'] });
  const quic: Transport = {
    name: 'quic',
    counters: {},
    dial: (...parameters) => memory.dial(...parameters),
    listen: (options) => memory.listen(options),
    close: () => memory.close(),
  };
  const listen = LISTEN;
  const options = await optionsOf('n1', memory, { listen, quic: { required: true } });
  await using plain = await createNode({ ...options, listen: { ...listen, port: 0 } });
  t.deepEqual(Object.keys(plain.counters.transports), ['quic']);
  t.false(memory.isClosed);
  const node = await createNode({ ...options, transports: ['tcp', quic] });
  t.deepEqual(node.address, listen);
  await node.close();
  t.true(memory.isClosed);
});

test('certificates of a node say nothing of connections over a transport of ones own', async (t) => {
  let tls = await nodeCert('n1');
  const { n1, n2 } = await memoryNodes(t, { tls: () => tls });
  n2.handle('query', () => ({ result: 'still here' }));
  const peer = await n1.connect(targetOf(n2));
  const [log1, log2] = [new EventLog(n1), new EventLog(n2)];
  // Over TCP or QUIC neither would let the other in any more.
  tls = await otherCaCert('n1');
  for (const node of [n1, n2]) await node.reloadTls();
  t.like(await peer.request({ type: 'queryRequest', query: 'q' }), { result: 'still here' });
  await Promise.all([log1.next('tlsReloaded'), log2.next('tlsReloaded')]);
  for (const log of [log1, log2]) t.false(log.has('peerDown') || log.has('renewed'));
});

test('memory: to dial nobody is ConnectFailed, a silent address ConnectTimeout, a wrong name a mismatch', async (t) => {
  const { n1, n2, hub } = await memoryNodes(t, { timeouts: { connectMs: 30 } });
  const silent = { host: '127.0.0.1', port: 9 };
  hub.silence(silent);
  const nobody = n1.connect({ nodeId: 'n3', host: '127.0.0.1', port: 8 });
  t.like(await t.throwsAsync(nobody), { code: 'ConnectFailed' });
  t.like(await t.throwsAsync(n1.connect({ nodeId: 'n4', ...silent })), { code: 'ConnectTimeout' });
  t.like(await t.throwsAsync(n1.connect({ ...targetOf(n2), nodeId: 'n5' })), {
    code: 'CertificateNameMismatch',
  });
});

test('memory: a dial ends with its signal, and with its transport', async (t) => {
  const hub = new MemoryHub();
  const silent = { host: '127.0.0.1', port: 9 };
  hub.silence(silent);
  const transport = new MemoryTransport({ hub, nodeIds: ['n1'] });
  const aborting = new AbortController();
  const dialed = transport.dial(silent, { signal: aborting.signal });
  aborting.abort();
  t.like(await t.throwsAsync(dialed), { code: 'Cancelled' });
  const late = transport.dial(silent);
  await transport.close();
  t.like(await t.throwsAsync(late), { code: 'NodeClosed' });
});

test('memory: a connection that is cut is lost for both ends, and dialed again', async (t) => {
  const { n1, n2, transports } = await memoryNodes(t, { reconnect: { minDelayMs: 1 } });
  const peer = await n1.connect(targetOf(n2));
  const events = [n1.status(), n2.status()];
  transports[0]?.cut();
  for (const status of events) {
    t.like((await status.next()).value, { kind: 'peerDown', error: { code: 'ConnectionLost' } });
    t.like((await status.next()).value, { kind: 'peerUp' });
  }
  t.true((await peer.ping()) >= 0);
});

async function memoryNodes(
  t: ExecutionContext,
  options: Partial<NodeOptions> = {},
): Promise<{
  n1: MeshNode;
  n2: MeshNode;
  transports: readonly MemoryTransport[];
  hub: MemoryHub;
}> {
  const hub = new MemoryHub();
  const transports = [
    new MemoryTransport({ hub, nodeIds: ['n1'] }),
    new MemoryTransport({ hub, nodeIds: ['n2'] }),
  ] as const;
  const n1 = await startNode(t, 'n1', { ...options, transports: [transports[0]] });
  const n2 = await startNode(t, 'n2', { ...options, transports: [transports[1]] });
  return { n1, n2, transports, hub };
}

async function optionsOf(
  nodeId: 'n1' | 'n3',
  transport: Transport,
  options: Partial<NodeOptions> = {},
): Promise<NodeOptions> {
  const tls = await nodeCert(nodeId);
  return { nodeId, cluster: 'test', tls, transports: [transport], logger: 'silent', ...options };
}
