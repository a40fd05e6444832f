/** Nodes that reach each other through a chaos proxy, over QUIC and over TCP. */
import test, { type ExecutionContext } from 'ava';
import type { MeshNode, NodeOptions } from '../../../src/index.js';
import { startNode, TEST_TRANSPORTS, targetOf } from '../nodes.js';
import { ChaosProxy, type ChaosProxyOptions } from './proxy.js';
import { type QuicPacketType, quicPacketTypes } from './quic-packets.js';

interface Setting {
  readonly n1: MeshNode;
  readonly proxy: ChaosProxy;
  readonly target: { readonly nodeId: string; readonly host: string; readonly port: number };
  /** What n2 was asked, in order. */
  readonly asked: string[];
}

async function setUp(
  t: ExecutionContext,
  proxyOptions: Omit<ChaosProxyOptions, 'target'>,
  options: Partial<NodeOptions> = {},
): Promise<Setting> {
  const n2 = await startNode(t, 'n2', options);
  const proxy = await ChaosProxy.start({ ...proxyOptions, target: targetOf(n2) });
  t.teardown(() => proxy.close());
  t.log(`seed ${proxy.seed}`);
  const { listen: _listen, ...dialing } = options;
  const n1 = await startNode(t, 'n1', dialing);
  const asked: string[] = [];
  n2.handle('query', ({ query }) => {
    asked.push(query);
    return { result: query };
  });
  return { n1, proxy, target: { ...proxy.address, nodeId: 'n2' }, asked };
}

for (const transport of TEST_TRANSPORTS) {
  test(`${transport}: calls pass a proxy that delays`, async (t) => {
    const faults = { delayMs: 5 };
    const { n1, proxy, target, asked } = await setUp(t, { faults }, { transports: [transport] });
    const peer = await n1.connect(target);
    t.is(peer.transport, transport);
    const queries = Array.from({ length: 50 }, (_, i) => `q${i}`);
    const replies = await Promise.all(
      queries.map((query) => peer.request({ type: 'queryRequest', query })),
    );
    t.deepEqual(
      replies.map(({ result }) => result),
      queries,
    );
    t.deepEqual([...asked].sort(), [...queries].sort());
    t.true((await peer.ping()) >= 10);
    const { udp, tcp } = proxy.counters;
    t.is(udp.toServer.forwarded > 0, transport === 'quic');
    t.is(tcp.toServer.forwarded > 0, transport === 'tcp');
  });
}

test('where UDP vanishes, TCP on the same port serves', async (t) => {
  const faults = { udp: { blackHole: true } };
  const { n1, proxy, target } = await setUp(t, { faults }, { timeouts: { connectMs: 400 } });
  const peer = await n1.connect(target);
  t.is(peer.transport, 'tcp');
  t.is((await peer.request({ type: 'queryRequest', query: 'q' })).result, 'q');
  t.true(proxy.counters.udp.toServer.dropped > 0);
  t.is(proxy.counters.udp.toServer.forwarded, 0);
});

test('quic: a call is executed once over a link that loses, doubles, reorders and corrupts', async (t) => {
  const faults = { delayMs: 2, udp: { loss: 0.01, duplicate: 0.1, reorder: 0.05, corrupt: 0.05 } };
  // With this seed every fault befalls the first 40 datagrams of either direction.
  const lossy = { seed: 5, faults };
  const { n1, proxy, target, asked } = await setUp(t, lossy, { transports: ['quic'] });
  const peer = await n1.connect(target);
  const queries = Array.from({ length: 100 }, (_, i) => `q${i}`);
  for (let i = 0; i < queries.length; i += 5) {
    const batch = queries.slice(i, i + 5);
    const replies = await Promise.all(
      batch.map((query) => peer.request({ type: 'queryRequest', query }, { timeoutMs: 30_000 })),
    );
    t.deepEqual(
      replies.map(({ result }) => result),
      batch,
    );
  }
  t.deepEqual([...asked].sort(), [...queries].sort());
  const { toServer, toClient } = proxy.counters.udp;
  for (const { dropped, duplicated, reordered, corrupted } of [toServer, toClient]) {
    for (const count of [dropped, duplicated, reordered, corrupted]) t.true(count > 0);
  }
});

test('quic: a connection lives on when its source port changes', async (t) => {
  const { n1, proxy, target, asked } = await setUp(t, {}, { transports: ['quic'] });
  const peer = await n1.connect(target);
  for (const query of ['a', 'b', 'c']) {
    t.is((await peer.request({ type: 'queryRequest', query })).result, query);
    await proxy.rebind();
  }
  t.is((await peer.request({ type: 'queryRequest', query: 'd' })).result, 'd');
  t.deepEqual(asked, ['a', 'b', 'c', 'd']);
  t.is(proxy.counters.udp.rebound, 3);
  t.is(proxy.udpClients.length, 1);
});

test('quic: the packets of a connection are seen and named', async (t) => {
  const seen = { toServer: [] as QuicPacketType[][], toClient: [] as QuicPacketType[][] };
  const { n1, target } = await setUp(
    t,
    { onDatagram: (direction, datagram) => void seen[direction].push(quicPacketTypes(datagram)) },
    { transports: ['quic'] },
  );
  const peer = await n1.connect(target);
  await peer.ping();
  t.is(seen.toServer[0]?.[0], 'initial');
  t.is(seen.toClient[0]?.[0], 'initial');
  for (const direction of [seen.toServer, seen.toClient]) {
    const types = new Set(direction.flat());
    t.true(types.has('handshake'));
    t.true(types.has('short'));
    t.false(types.has('retry'));
  }
});
