/** Connections that are replaced before they grow old: new calls take the new one, and no call is lost. */
import { setTimeout as delay } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { MeshNode, NodeEvent, NodeOptions, Peer } from '../../src/index.js';
import { nodeCert, otherCaCert } from '../helpers/certs.js';
import { ChaosProxy } from '../helpers/chaos-proxy/proxy.js';
import { startNode, TEST_TRANSPORTS, targetOf } from '../helpers/nodes.js';
import { until } from '../helpers/until.js';

for (const transport of TEST_TRANSPORTS) {
  test(`${transport}: connections are renewed under load from both sides, and no call is lost`, async (t) => {
    const { n1, n2, peer } = await setUp(t, {
      transports: [transport],
      renewal: { afterStreams: 400 },
    });
    const events = eventsOf(n1);
    const renewals = () => events.filter(({ kind }) => kind === 'renewed').length;
    const ends = () => events.filter(({ kind }) => kind === 'peerDown').length;
    let isEnough = false;
    const answered = await Promise.all(
      [peer, peer, peer, n2.peer('n1') as Peer, n2.peer('n1') as Peer].map(async (to, n) => {
        let calls = 0;
        for (; !isEnough; calls += 1) {
          const query = `${n} ${calls}`;
          t.is((await to.request({ type: 'queryRequest', query })).result, query);
          // The old connections come to rest although both sides go on calling.
          isEnough = renewals() >= 3 && ends() >= 3;
        }
        return calls;
      }),
    );
    t.true(answered.every((calls) => calls > 0));
    await until(() => peer.connections.length === 1 && n2.peer('n1')?.connections.length === 1);
    const downs = events.filter((event) => event.kind === 'peerDown');
    t.true(downs.length >= 3);
    for (const event of downs) t.like(event.error, { code: 'NoError', side: 'local' });
  });

  test(`${transport}: a transfer under way ends on the connection that it began on`, async (t) => {
    const { n1, n2, peer } = await setUp(t, { transports: [transport], renewal: { afterMs: 400 } });
    n2.handle('dataTransfer', async function* () {
      for (let i = 0; i < 60; i += 1) {
        yield Buffer.alloc(1000, i);
        await delay(20);
      }
    });
    const events = eventsOf(n1);
    let bytes = 0;
    for await (const chunk of peer.stream({ transferId: 'slow' })) bytes += chunk.length;
    t.is(bytes, 60_000);
    t.true(events.some(({ kind }) => kind === 'renewed'));
  });
}

test('no call is lost in renewals over a link that loses', async (t) => {
  t.timeout(120_000);
  const options = {
    transports: ['quic'] as const,
    timeouts: { connectMs: 30_000, handshakeMs: 30_000 },
  };
  const n2 = await startNode(t, 'n2', options);
  const faults = { delayMs: 2, udp: { loss: 0.1, reorder: 0.1 } };
  const proxy = await ChaosProxy.start({ target: targetOf(n2), faults });
  t.teardown(() => proxy.close());
  t.log(`seed ${proxy.seed}`);
  const n1 = await startNode(t, 'n1', { ...options, renewal: { afterStreams: 150 } });
  for (const node of [n1, n2]) node.handle('query', ({ query }) => ({ result: query }));
  const peer = await n1.connect({ ...proxy.address, nodeId: 'n2' });
  await until(() => n2.peer('n1')?.isConnected === true);
  const events = eventsOf(n1);
  const ends = () => events.filter(({ kind }) => kind === 'peerDown').length;
  const callers = [peer, n2.peer('n1') as Peer].flatMap((to) =>
    Array.from({ length: 8 }, () => to),
  );
  await Promise.all(
    callers.map(async (to, n) => {
      for (let calls = 0; ends() < 3; calls += 1) {
        const query = `${n} ${calls}`;
        const reply = await to.request({ type: 'queryRequest', query }, { timeoutMs: 60_000 });
        t.is(reply.result, query);
      }
    }),
  );
  for (const event of events) {
    if (event.kind === 'peerDown') t.like(event.error, { code: 'NoError', side: 'local' });
  }
});

test('a renewal that fails leaves the connection as it is', async (t) => {
  const n2 = await startNode(t, 'n2');
  n2.handle('query', ({ query }) => ({ result: query }));
  let tls = await nodeCert('n1');
  const n1 = await startNode(t, 'n1', { tls: () => tls, renewal: { afterStreams: 1 } });
  const peer = await n1.connect(targetOf(n2));
  const events = eventsOf(n2);
  tls = { ...(await otherCaCert('n1')), ca: tls.ca };
  await n1.reloadTls();
  const ask = async () => (await peer.request({ type: 'queryRequest', query: 'x' })).result;
  t.is(await ask(), 'x');
  await until(() => events.some(({ kind }) => kind === 'refused'));
  await delay(50);
  t.is(await ask(), 'x');
  t.is(peer.connections.length, 1);
});

async function setUp(
  t: ExecutionContext,
  options: Partial<NodeOptions>,
): Promise<{ n1: MeshNode; n2: MeshNode; peer: Peer }> {
  const { renewal, ...both } = options;
  const n2 = await startNode(t, 'n2', both);
  const n1 = await startNode(t, 'n1', { ...both, renewal });
  for (const node of [n1, n2]) node.handle('query', ({ query }) => ({ result: query }));
  const peer = await n1.connect(targetOf(n2));
  await until(() => n2.peer('n1')?.isConnected === true);
  return { n1, n2, peer };
}

function eventsOf(node: MeshNode): NodeEvent[] {
  const events: NodeEvent[] = [];
  void (async () => {
    for await (const event of node.status()) events.push(event);
  })();
  return events;
}
