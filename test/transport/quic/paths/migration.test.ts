/** Changes of path as the packets have it: which are followed, how many, and what strangers can do about it. */
import { createSocket } from 'node:dgram';
import test, { type ExecutionContext } from 'ava';
import type { Connection, SocketAddress } from '../../../../src/transport/connection.js';
import { MAX_PATHS } from '../../../../src/transport/quic/binding/config.js';
import { QuicTransport } from '../../../../src/transport/quic/transport.js';
import { nodeCert } from '../../../helpers/certs.js';
import { ChaosProxy } from '../../../helpers/chaos-proxy/proxy.js';
import { echoAcceptor, request } from '../../../helpers/frame-client.js';
import { runInNamespace } from '../../../helpers/network/namespace.js';
import { until } from '../../../helpers/until.js';

test('a dialer whose local address is gone moves by itself: transfer and call go on', async (t) => {
  const told = await runInNamespace(t, 'test/helpers/quic/address-gone.ts');
  if (told === undefined) return;
  t.deepEqual(told, { result: 'x', isWhole: true, dialed: 1, migrations: 1 });
});

test('of many new addresses at once few are followed, and the connection finds its peer again', async (t) => {
  const { dialer, acceptor, transports, proxy, server } = await setUp(t);
  await request(dialer, Buffer.of(0));
  const { port } = acceptor.remoteAddress;
  const held: Buffer[] = [];
  proxy.onDatagram = (direction, datagram) => {
    if (direction === 'toServer') held.push(Buffer.from(datagram));
    return direction === 'toServer' ? 'drop' : undefined;
  };
  const calls: Promise<Buffer>[] = [];
  while (held.length < 30) {
    calls.push(request(dialer, Buffer.of(1)));
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  for (const datagram of held) {
    const elsewhere = createSocket('udp4');
    t.teardown(() => elsewhere.close());
    elsewhere.send(datagram, server.port, server.host);
  }
  await until(() => (transports.n2.counters.pathChangesRefused ?? 0) >= 10);
  proxy.onDatagram = undefined;
  for (const answer of await Promise.all(calls)) t.deepEqual(answer, Buffer.of(1));
  await until(() => acceptor.remoteAddress.port === port);
});

test('garbage under a connection ID, and recordings, from anywhere move nothing', async (t) => {
  const { dialer, acceptor, transports, proxy, server } = await setUp(t);
  const recorded: Buffer[] = [];
  proxy.onDatagram = (direction, datagram) => {
    if (direction === 'toServer') recorded.push(Buffer.from(datagram));
    return undefined;
  };
  for (let i = 0; i < 20; i += 1) await request(dialer, Buffer.of(i));
  proxy.onDatagram = undefined;
  const { port } = acceptor.remoteAddress;
  const stranger = createSocket('udp4');
  t.teardown(() => stranger.close());
  const [known] = recorded.slice(-1) as [Buffer];
  const garbage = Array.from({ length: 200 }, (_, i) => {
    const forged = Buffer.from(known);
    forged.fill(i, 17);
    return forged;
  });
  for (const datagram of [...garbage, ...recorded]) {
    await new Promise((sent) => stranger.send(datagram, server.port, server.host, sent));
  }
  await until(() => (transports.n2.counters.datagramsReceived ?? 0) > 200 + recorded.length);
  t.deepEqual(await request(dialer, Buffer.of(1)), Buffer.of(1));
  t.is(acceptor.remoteAddress.port, port);
  t.is(transports.n2.counters.peerMigrations, 0);
  // None of that counts against the peer's own moves.
  for (let i = 1; i <= 3; i += 1) {
    await proxy.rebind();
    await request(dialer, Buffer.of(i));
    await until(() => transports.n2.counters.peerMigrations === i);
  }
});

test('late packets under connection IDs that are retired end nothing', async (t) => {
  const { dialer, transports, proxy } = await setUp(t);
  const held: Buffer[] = [];
  proxy.onDatagram = (direction, datagram) => {
    if (direction !== 'toServer' || held.length === 5) return undefined;
    held.push(Buffer.from(datagram));
    return 'drop';
  };
  await request(dialer, Buffer.of(1));
  for (let i = 0; i < 3; i += 1) {
    await dialer.migrate?.({});
    await request(dialer, Buffer.of(i));
  }
  const late = createSocket('udp4');
  t.teardown(() => late.close());
  const before = transports.n2.counters.droppedUnknownConnection ?? 0;
  for (const datagram of held) late.send(datagram, proxy.address.port, proxy.address.host);
  await until(() => (transports.n2.counters.droppedUnknownConnection ?? 0) >= before + 5);
  t.deepEqual(await request(dialer, Buffer.of(9)), Buffer.of(9));
  t.is(transports.n2.counters.statelessResetsSent, 0);
});

test('a move over a path that is dead fails in time, and the old path stays in use', async (t) => {
  const { dialer, transports, proxy } = await setUp(t);
  const { port } = dialer.localAddress;
  proxy.onDatagram = (direction, _datagram, client) =>
    direction === 'toServer' && client.port !== port ? 'drop' : undefined;
  const moving = dialer.migrate?.({ host: '127.0.0.1' });
  const second = dialer.migrate?.({});
  t.like(await t.throwsAsync(second as Promise<void>), { code: 'MigrationFailed' });
  t.deepEqual(await request(dialer, Buffer.of(1)), Buffer.of(1));
  t.like(await t.throwsAsync(moving as Promise<void>), { code: 'MigrationFailed' });
  t.is(dialer.localAddress.port, port);
  t.is(transports.n1.counters.migrations, 0);
  proxy.onDatagram = undefined;
  await dialer.migrate?.({});
  t.deepEqual(await request(dialer, Buffer.of(2)), Buffer.of(2));
});

test('a connection has so many paths in its life, and says before that it needs a replacement', async (t) => {
  const { dialer } = await setUp(t, { direct: true });
  for (let path = 2; path <= MAX_PATHS; path += 1) {
    await dialer.migrate?.({});
    t.deepEqual(await request(dialer, Buffer.of(path)), Buffer.of(path));
    t.is(dialer.needsReplacement, path > 24);
  }
  const error = await t.throwsAsync(dialer.migrate?.({}) as Promise<void>);
  t.like(error, { code: 'MigrationFailed', message: `the connection has had ${MAX_PATHS} paths` });
  t.deepEqual(await request(dialer, Buffer.of(1)), Buffer.of(1));
});

test('sockets get the buffers that the system grants, and say how large', async (t) => {
  const { transports } = await setUp(t);
  for (const { counters } of Object.values(transports)) {
    t.true((counters.receiveBufferBytes ?? 0) >= 200_000);
    t.true((counters.sendBufferBytes ?? 0) >= 200_000);
  }
});

for (const congestionControl of ['reno', 'bbr'] as const) {
  test(`congestion control by choice: ${congestionControl}`, async (t) => {
    const { dialer } = await setUp(t, { congestionControl });
    const bytes = Buffer.alloc(100_000, 7);
    t.deepEqual(await request(dialer, bytes), bytes);
  });
}

interface Setting {
  readonly dialer: Connection;
  readonly acceptor: Connection;
  readonly transports: { readonly n1: QuicTransport; readonly n2: QuicTransport };
  readonly proxy: ChaosProxy;
  readonly server: SocketAddress;
}

async function setUp(
  t: ExecutionContext,
  options: { readonly direct?: boolean; readonly congestionControl?: 'reno' | 'bbr' } = {},
): Promise<Setting> {
  const { direct = false, congestionControl } = options;
  const [tls1, tls2] = [await nodeCert('n1'), await nodeCert('n2')];
  const n1 = new QuicTransport({ cluster: 'test', tls: () => tls1, congestionControl });
  const n2 = new QuicTransport({ cluster: 'test', tls: () => tls2, congestionControl });
  let accept: (connection: Connection) => void = () => {};
  const accepted = new Promise<Connection>((resolve) => {
    accept = resolve;
  });
  const onConnection = (connection: Connection) => accept(connection);
  const { address } = await n2.listen({ host: '127.0.0.1', port: 0, onConnection });
  const proxy = await ChaosProxy.start({ target: address });
  t.teardown(() => Promise.all([n1.close(), n2.close(), proxy.close()]));
  const dialer = await n1.dial({ ...(direct ? address : proxy.address), nodeId: 'n2' });
  const acceptor = await accepted;
  echoAcceptor(acceptor);
  return { dialer, acceptor, transports: { n1, n2 }, proxy, server: address };
}
