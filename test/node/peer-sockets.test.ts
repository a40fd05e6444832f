/** Sockets that peers of a listening node have to themselves: which of them, from when on, and until when. */
import { setTimeout as delay } from 'node:timers/promises';
import test from 'ava';
import type { MeshNode, NodeOptions } from '../../src/index.js';
import { startNode, targetOf } from '../helpers/nodes.js';
import { until } from '../helpers/until.js';

const linuxTest = process.platform === 'linux' ? test : test.skip;
const transports = ['quic'] as const;
const QUERY = { type: 'queryRequest', query: 'q' } as const;

linuxTest(
  'all connections between two listening nodes share one socket at either side',
  async (t) => {
    const [n1, n2] = [await serving(t, 'n1'), await serving(t, 'n2')];
    const there = await n1.connect(targetOf(n2));
    const back = await n2.connect(targetOf(n1));
    for (const peer of [there, back, there]) await peer.request(QUERY);
    for (const node of [n1, n2]) await until(() => countsOf(node).opened === 1);
    // Of both connections, the second one has had its time as well.
    await delay(500);
    for (const node of [n1, n2]) t.like(countsOf(node), { opened: 1, refused: 0, failed: 0 });
  },
);

for (const host of ['0.0.0.0', '::']) {
  linuxTest(
    `peers of a node that listens on ${host} get sockets at the address that they use`,
    async (t) => {
      const listen = { host, port: 0 };
      const [n1, n2] = [await serving(t, 'n1', { listen }), await serving(t, 'n2', { listen })];
      for (const dialed of ['127.0.0.1', '::1']) {
        if (host === '0.0.0.0' && dialed === '::1') continue;
        const before = countsOf(n2).opened ?? 0;
        const beforeDial = countsOf(n1).opened ?? 0;
        const peer = await n1.connect({ ...targetOf(n2), host: dialed });
        await until(() => countsOf(n2).opened === before + 1);
        // An IPv6 node dials IPv4 addresses from a port of its own that nobody knows.
        const isFromListener = host.includes(':') === dialed.includes(':');
        if (isFromListener) await until(() => countsOf(n1).opened === beforeDial + 1);
        await peer.request(QUERY);
        await peer.close();
      }
      for (const node of [n1, n2]) t.like(countsOf(node), { refused: 0, failed: 0 });
    },
  );
}

linuxTest('peers beyond the bound are served by the shared socket', async (t) => {
  const n1 = await serving(t, 'n1', { quic: { peerSockets: 1 } });
  for (const nodeId of ['n2', 'n3'] as const) {
    const peer = await (await serving(t, nodeId)).connect(targetOf(n1));
    await peer.request(QUERY);
  }
  await until(() => countsOf(n1).refused === 1);
  t.is(countsOf(n1).opened, 1);
});

test('without them a node serves its peers by one socket', async (t) => {
  const none = { quic: { peerSockets: 0 } };
  const [n1, n2] = [await serving(t, 'n1', none), await serving(t, 'n2', none)];
  await (await n1.connect(targetOf(n2))).request(QUERY);
  for (const node of [n1, n2]) t.like(countsOf(node), { opened: 0, refused: 0 });
});

linuxTest('a peer that moves gets a socket for its new address', async (t) => {
  const n2 = await serving(t, 'n2', { quic: { peerSockets: 1 } });
  const n1 = await startNode(t, 'n1', { transports, listen: undefined });
  const peer = await n1.connect(targetOf(n2));
  await until(() => countsOf(n2).opened === 1);
  for (let moves = 1; moves <= 3; moves += 1) {
    await peer.migrate();
    await peer.request(QUERY);
    // With room for one, the next can only be there when the last one is closed.
    await until(() => countsOf(n2).opened === moves + 1);
  }
  t.is(countsOf(n2).refused, 0);
  t.is(peer.connections.length, 1);
});

async function serving(
  t: Parameters<typeof startNode>[0],
  nodeId: 'n1' | 'n2' | 'n3',
  options: Partial<NodeOptions> = {},
) {
  const node = await startNode(t, nodeId, { transports, ...options });
  node.handle('query', () => ({}));
  return node;
}

function countsOf(node: MeshNode) {
  const { quic } = node.counters.transports;
  return {
    opened: quic?.peerSocketsOpened,
    refused: quic?.peerSocketsRefused,
    failed: quic?.peerSocketsFailed,
  };
}
