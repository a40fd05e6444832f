/** What has no place on a node's ports: it ends no process, disturbs no open connection, and is counted. */
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import type { MeshNode, NodeOptions, Peer, SocketAddress } from '../../src/index.js';
import { encodeFrame } from '../../src/protocol/frame.js';
import { nodeCert } from '../helpers/certs.js';
import { startNode, targetOf } from '../helpers/nodes.js';
import { rawQuicClient, rawTlsClient } from '../helpers/raw-clients.js';
import { until } from '../helpers/until.js';

const HTTP_REQUEST = Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');

test('random datagrams on the UDP port are dropped and counted', async (t) => {
  const { node, peer } = await servedPeer(t, 'quic');
  const socket = createSocket('udp4');
  t.teardown(() => socket.close());
  let sent = 0;
  for (const datagram of hostileDatagrams()) {
    await sendDatagram(socket, datagram, node.address as SocketAddress);
    sent += 1;
    if (sent % 50 === 0) await assertServes(t, peer);
  }
  await until(() => droppedDatagrams(node) >= sent - 20);
  await assertServes(t, peer);
  await assertServesNext(t, node, 'quic');
});

test('a forged Initial becomes no connection and no refusal, and gets no answer', async (t) => {
  const { node, peer } = await servedPeer(t, 'quic');
  const socket = createSocket('udp4');
  t.teardown(() => socket.close());
  socket.on('message', () => t.fail());
  for (let i = 0; i < 200; i += 1) {
    await sendDatagram(socket, forgedInitial(), node.address as SocketAddress);
  }
  await assertServes(t, peer);
  await until(() => (node.counters.transports.quic?.droppedWithoutKnock ?? 0) >= 200);
  t.is(node.counters.transports.quic?.refused, 0);
  t.is(node.counters.transports.quic?.accepted, 1);
  await assertServesNext(t, node, 'quic');
});

test('an HTTP request, random bytes and silence on the TCP port are turned away', async (t) => {
  const { node, peer } = await servedPeer(t, 'tcp');
  const sockets: Socket[] = [];
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
  });
  for (let i = 0; i < 30; i += 1) {
    const { host, port } = node.address as SocketAddress;
    const socket = connect(port, host).on('error', () => {});
    sockets.push(socket);
    await once(socket, 'connect');
    // Every third says nothing at all; half of a TLS record header is what the others leave unfinished.
    if (i % 3 === 0) socket.write(HTTP_REQUEST);
    if (i % 3 === 1) socket.write(Buffer.concat([Buffer.of(0x16, 3, 1, 2, 0), randomBytes(i)]));
    await assertServes(t, peer);
  }
  await until(() => (node.counters.transports.tcp?.droppedWithoutKnock ?? 0) >= 10);
  await assertServesNext(t, node, 'tcp');
});

for (const transport of ['quic', 'tcp'] as const) {
  test(`${transport}: half a frame and then silence holds up nobody else`, async (t) => {
    const { node, peer } = await servedPeer(t, transport, { handshakeMs: 500 });
    const events = node.status();
    const dial = transport === 'quic' ? rawQuicClient : rawTlsClient;
    const clients = await Promise.all(
      Array.from({ length: 5 }, async () =>
        dial(node.address as SocketAddress, await nodeCert('n4')),
      ),
    );
    t.teardown(() => {
      for (const client of clients) client.close();
    });
    const frame = encodeFrame({ messageId: 1, payload: randomBytes(100), checksum: true });
    for (const [i, client] of clients.entries()) client.write(frame.subarray(0, 1 + i * 20));
    await assertServes(t, peer);
    for (const client of clients) {
      const { value } = await events.next();
      t.like(value, { kind: 'refused', transport, error: { code: 'HandshakeTimeout' } });
      await until(() => client.isClosed);
    }
    await assertServes(t, peer);
    await assertServesNext(t, node, transport);
  });

  test(`${transport}: bytes that are no frame end their own connection only`, async (t) => {
    const { node, peer } = await servedPeer(t, transport);
    const dial = transport === 'quic' ? rawQuicClient : rawTlsClient;
    for (const bytes of [
      HTTP_REQUEST,
      Buffer.alloc(64),
      Buffer.alloc(64, 0xff),
      randomBytes(500),
    ]) {
      const client = await dial(node.address as SocketAddress, await nodeCert('n4'));
      client.write(bytes);
      await until(() => client.isClosed);
      client.close();
      await assertServes(t, peer);
    }
    await assertServesNext(t, node, transport);
  });
}

async function servedPeer(
  t: ExecutionContext,
  transport: 'quic' | 'tcp',
  timeouts: NodeOptions['timeouts'] = {},
): Promise<{ node: MeshNode; peer: Peer }> {
  const node = await startNode(t, 'n2', { transports: [transport], timeouts });
  node.handle('request', ({ body }) => ({ body }));
  const n1 = await startNode(t, 'n1', { transports: [transport] });
  return { node, peer: await n1.connect(targetOf(node)) };
}

async function assertServes(t: ExecutionContext, peer: Peer): Promise<void> {
  const body = randomBytes(32);
  const reply = await peer.request({ type: 'request', method: 'echo', body });
  t.deepEqual(reply.body, body);
}

async function assertServesNext(
  t: ExecutionContext,
  node: MeshNode,
  transport: 'quic' | 'tcp',
): Promise<void> {
  const n3 = await startNode(t, 'n3', { transports: [transport] });
  await assertServes(t, await n3.connect(targetOf(node)));
}

function* hostileDatagrams(): Generator<Buffer> {
  yield Buffer.alloc(0);
  yield HTTP_REQUEST;
  for (let bytes = 1; bytes < 100; bytes += 1) yield randomBytes(bytes);
  for (let i = 0; i < 200; i += 1) yield randomBytes(1 + Math.floor(Math.random() * 1500));
  // Long headers: every type, connection IDs of every length, right and wrong versions, all too short to accept.
  for (let bytes = 0; bytes < 256; bytes += 8) {
    for (const version of [0, 1, 0x6b3343cf, 0xff00001d, 0xffffffff]) {
      const header = Buffer.alloc(6);
      header[0] = 0xc0 | (bytes & 0x30);
      header.writeUInt32BE(version, 1);
      header[5] = bytes;
      yield Buffer.concat([header, randomBytes(300)]);
    }
  }
  // Short headers for connections that do not exist.
  for (let i = 0; i < 50; i += 1) {
    const datagram = randomBytes(60);
    datagram[0] = 0x40;
    yield datagram;
  }
}

/** A datagram that may begin a connection, as far as its header goes; nothing in it can be decrypted. */
function forgedInitial(): Buffer {
  const header = Buffer.from([
    0xc3,
    0,
    0,
    0,
    1,
    16,
    ...randomBytes(16),
    8,
    ...randomBytes(8),
    0,
    0x44,
    0x90,
  ]);
  return Buffer.concat([header, randomBytes(1300 - header.length)]);
}

function sendDatagram(
  socket: ReturnType<typeof createSocket>,
  datagram: Buffer,
  to: SocketAddress,
): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.send(datagram, to.port, to.host, (error) =>
      error === null ? resolve() : reject(error),
    );
  });
}

function droppedDatagrams(node: MeshNode): number {
  const counters = node.counters.transports.quic ?? {};
  return Object.entries(counters)
    .filter(([name]) => name.startsWith('dropped'))
    .reduce((sum, [, count]) => sum + count, 0);
}
