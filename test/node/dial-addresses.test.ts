/** What cannot be dialed is InvalidArgument before anything starts; what can, is dialed from where it can be reached. */
import test, { type ExecutionContext } from 'ava';
import { type MeshNode, type PeerTarget, staticDiscovery } from '../../src/index.js';
import { QuicTransport } from '../../src/transport/quic/transport.js';
import { TcpTransport } from '../../src/transport/tcp/transport.js';
import { nodeCert } from '../helpers/certs.js';
import { startNode, TEST_TRANSPORTS, targetOf } from '../helpers/nodes.js';

const BAD_PORTS: readonly unknown[] = [0, '7001', Number.NaN, 1.5, -1, 65_536, null, {}];
const BAD_HOSTS: readonly unknown[] = [
  '0.0.0.0',
  '::',
  '0:0::0',
  '::ffff:0.0.0.0',
  '255.255.255.255',
  '224.0.0.1',
  '239.1.2.3',
  'ff02::1',
  'FF02::1%lo',
  '',
  7,
  undefined,
];
const BAD_ADDRESSES = [
  ...BAD_PORTS.map((port) => ({ host: '127.0.0.1', port })),
  ...BAD_PORTS.map((port) => ({ host: 'a.name.test', port })),
  ...BAD_HOSTS.map((host) => ({ host, port: 7001 })),
  { host: '127.0.0.1' },
];

const INVALID = { code: 'InvalidArgument', name: 'MeshError' };

for (const transport of TEST_TRANSPORTS) {
  test(`${transport}: an address that cannot be dialed is refused before anything starts`, async (t) => {
    const node = await startNode(t, 'n1', { transports: [transport] });
    const good = { host: '127.0.0.1', port: 9 };
    for (const address of BAD_ADDRESSES) {
      const what = JSON.stringify(address);
      for (const nodeId of ['n2', undefined]) {
        for (const target of [
          { nodeId, ...address },
          { nodeId, addresses: [good, address] },
        ]) {
          await t.throwsAsync(node.connect(target as PeerTarget), INVALID, what);
          await t.throwsAsync(node.connect(target as PeerTarget, { retry: true }), INVALID, what);
          t.throws(() => node.connectEarly(target as PeerTarget), INVALID, what);
        }
      }
    }
    for (const addresses of ['n2', undefined]) {
      const target = { nodeId: 'n2', addresses } as unknown as PeerTarget;
      await t.throwsAsync(node.connect(target), INVALID);
      t.throws(() => node.connectEarly(target), INVALID);
    }
    t.deepEqual(node.peers, []);
    const {
      dialed,
      dialsFailed = 0,
      datagramsSent = 0,
    } = node.counters.transports[transport] ?? {};
    t.deepEqual(
      { dialed, dialsFailed, datagramsSent },
      { dialed: 0, dialsFailed: 0, datagramsSent: 0 },
    );
  });

  test(`${transport}: what discovery finds and cannot be dialed is left out, and said where nothing else is`, async (t) => {
    const n2 = await startNode(t, 'n2', { transports: [transport] });
    const { host, port } = targetOf(n2);
    const bad = BAD_ADDRESSES.slice(0, 8) as { host: string; port: number }[];
    const places = { some: [...bad, { host, port }], none: bad };
    const node = await startNode(t, 'n1', {
      transports: [transport],
      discovery: staticDiscovery(places),
    });
    const peer = await node.connect({ nodeId: 'n2', host: 'some', port: 1 });
    t.deepEqual(peer.connections[0]?.remoteAddress, { host, port });
    await t.throwsAsync(node.connect({ nodeId: 'n3', host: 'none', port: 1 }), {
      code: 'ConnectFailed',
      message: /none leads to no address to dial: port of 127.0.0.1 must be a whole number/,
    });
  });

  test(`${transport}: the transport by itself refuses such addresses too`, async (t) => {
    const tls = await nodeCert('n1');
    const Kind = transport === 'quic' ? QuicTransport : TcpTransport;
    const own = new Kind({ tls: () => tls });
    t.teardown(() => own.close());
    for (const address of BAD_ADDRESSES) {
      await t.throwsAsync(own.dial(address as { host: string; port: number }), INVALID);
    }
    for (const port of BAD_PORTS.slice(1)) {
      const listen = { host: '127.0.0.1', port: port as number, onConnection: () => {} };
      await t.throwsAsync(own.listen(listen), INVALID);
    }
    for (const host of ['', 'localhost', undefined]) {
      const listen = { host: host as string, port: 0, onConnection: () => {} };
      await t.throwsAsync(own.listen(listen), INVALID);
    }
    // A port of 0 lets the system pick.
    const listener = await own.listen({ host: '127.0.0.1', port: 0, onConnection: () => {} });
    t.true(listener.address.port > 0);
  });

  test(`${transport}: an address is the same however it is written`, async (t) => {
    const options = { transports: [transport], listen: { host: '0:0:0:0:0:0:0:1', port: 0 } };
    const n2 = await startNode(t, 'n2', options);
    t.is(n2.address?.host, '::1');
    const port = n2.address?.port ?? 0;
    const n1 = await startNode(t, 'n1', { transports: [transport] });
    for (const host of ['::1', '0:0::1', '0:0:0:0:0:0:0:1']) {
      const peer = await n1.connect({ nodeId: 'n2', host, port });
      t.is(peer.connections[0]?.remoteAddress.host, '::1');
      await peer.close();
    }
    const n3 = await startNode(t, 'n3', { transports: [transport] });
    for (const host of ['::ffff:127.0.0.1', '::FFFF:7F00:1']) {
      const peer = await n1.connect({ nodeId: 'n3', host, port: n3.address?.port ?? 0 });
      t.is(peer.connections[0]?.remoteAddress.host, '127.0.0.1');
      await peer.close();
    }
  });

  test(`${transport}: a node with a wildcard in its options listens on it, however it is written`, async (t) => {
    const listen = { host: '0::0', port: 0 };
    const n2 = await startNode(t, 'n2', { transports: [transport], listen });
    const n1 = await startNode(t, 'n1', { transports: [transport] });
    t.true(await isReached(t, n1, n2));
  });
}

test('a peer is moved to no address that is none', async (t) => {
  const options = { transports: ['quic'] as const };
  const n2 = await startNode(t, 'n2', options);
  const n1 = await startNode(t, 'n1', options);
  const peer = await n1.connect(targetOf(n2));
  for (const port of BAD_PORTS.slice(1)) {
    await t.throwsAsync(peer.migrate({ port: port as number }), INVALID);
  }
  for (const host of ['', 'localhost', 7]) {
    await t.throwsAsync(peer.migrate({ host: host as string }), INVALID);
  }
  await peer.migrate({ port: 0 });
  t.true(await isReached(t, n1, n2));
});

async function isReached(t: ExecutionContext, from: MeshNode, to: MeshNode): Promise<boolean> {
  to.handle('request', ({ method }) => ({ body: method }));
  const peer = await from.connect(targetOf(to));
  const { body } = await peer.request({ type: 'request', method: t.title });
  return body === t.title;
}
