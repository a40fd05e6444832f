/** Peers' own sockets at a shared port: what a full queue of strangers leaves of a peer's datagrams, and what ends such a socket. */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import test, { type ExecutionContext } from 'ava';
import type { SocketAddress } from '../../../../src/transport/connection.js';
import { newEndpointCounters } from '../../../../src/transport/quic/io/counters.js';
import { ListeningSockets } from '../../../../src/transport/quic/io/listening-sockets.js';
import { PeerSockets } from '../../../../src/transport/quic/io/peer-sockets.js';
import { PREFERS_CONNECTED } from '../../../../src/transport/quic/io/port-sharing.js';
import { until } from '../../../helpers/until.js';

const linuxTest = PREFERS_CONNECTED ? test : test.skip;
const SENT = 10;
const LARGE_BYTES = 60_000;
/** More than fit where no large one does any more. */
const SMALL = 1000;

for (const host of ['127.0.0.1', '::1']) {
  linuxTest(`strangers who fill the queue of ${host} keep no datagram of a peer out`, async (t) => {
    const [alone, apart] = [await portOf(t, host, 0), await portOf(t, host, 1)];
    t.is(await receivedInFlood(t, alone), 0);
    t.is(await receivedInFlood(t, apart), SENT);
    t.is(alone.counters.peerSocketsOpened, 0);
    t.like(apart.counters, { peerSocketsOpened: 1, peerSocketsRefused: 0, peerSocketsFailed: 0 });
  });
}

linuxTest(
  'connections between the same addresses share a socket, which ends with the last',
  async (t) => {
    const port = await portOf(t, '127.0.0.1', 1);
    const [a, b] = [
      (await clientOf(t, '127.0.0.1')).address,
      (await clientOf(t, '127.0.0.1')).address,
    ];
    const first = port.peers.join(port.socket, a);
    const second = port.peers.join(port.socket, a);
    t.truthy(first);
    t.is(second, first);
    t.is(port.peers.join(port.socket, b), undefined);
    t.is(port.counters.peerSocketsRefused, 1);
    if (first === undefined || second === undefined) return;
    port.peers.leave(first);
    t.is(port.peers.join(port.socket, b), undefined);
    port.peers.leave(second);
    // The next has room while this one is read to its end, as when the peer moves. One more has to wait.
    const next = port.peers.join(port.socket, b);
    if (next === undefined) return t.fail('no socket');
    port.peers.leave(next);
    t.is(port.peers.join(port.socket, a), undefined);
    await until(() => port.peers.join(port.socket, a) !== undefined);
    t.is(port.counters.peerSocketsOpened, 3);
  },
);

linuxTest(
  'datagrams arrive at the shared socket where a peer gets none, and again when it is closed',
  async (t) => {
    const port = await portOf(t, '::1', 4);
    const client = await clientOf(t, '::1');
    // No route leads there, so that the socket can be bound, but not connected.
    t.is(port.peers.join(port.socket, { host: 'ff02::1%nowhere', port: 1 }), undefined);
    t.is(port.counters.peerSocketsRefused, 1);
    const heard = async (text: string) => {
      client.socket.send(text, port.socket.address.port, '::1');
      await until(() => port.received.at(-1) === text);
    };
    await heard('before');
    const own = port.peers.join(port.socket, client.address);
    await heard('meanwhile');
    if (own !== undefined) port.peers.leave(own);
    await heard('after');
    t.deepEqual(port.received, ['before', 'meanwhile', 'after']);
  },
);

linuxTest('what waits in the socket of a peer that nobody uses any more is read', async (t) => {
  const port = await portOf(t, '127.0.0.1', 1);
  const client = await clientOf(t, '127.0.0.1');
  const own = port.peers.join(port.socket, client.address);
  if (own === undefined) return t.fail('no socket');
  const { address } = port.socket;
  // More than are read of a socket in one turn.
  for (let i = 0; i < 100; i += 1) client.socket.send(`${i}`, address.port, address.host);
  port.peers.leave(own);
  client.socket.send('last', address.port, address.host);
  await until(() => port.received.length === 101);
  t.deepEqual(
    port.received.filter((text) => text !== 'last'),
    Array.from({ length: 100 }, (_, i) => `${i}`),
  );
});

linuxTest(
  'errors that anybody can send end a socket of a peer in the end, and nothing else',
  async (t) => {
    const port = await portOf(t, '127.0.0.1', 1);
    const gone = await clientOf(t, '127.0.0.1');
    const own = port.peers.join(port.socket, gone.address);
    gone.socket.close();
    // The system answers each with an ICMP error, as whoever knows both addresses could do.
    await until(() => {
      port.socket.send(Buffer.from('anybody there?'), gone.address);
      return port.counters.peerSocketsFailed === 1;
    });
    t.deepEqual(port.errors, []);
    if (own !== undefined) port.peers.leave(own);
    const again = await clientOf(t, '127.0.0.1', gone.address.port);
    again.socket.send('back', port.socket.address.port, '127.0.0.1');
    await until(() => port.received.includes('back'));
  },
);

linuxTest("a port that is shared with peers' sockets is taken for everybody else", async (t) => {
  const port = await portOf(t, '127.0.0.1', 1);
  for (const isShared of [false, true]) {
    const again = ListeningSockets.listen(port.socket.address, isShared);
    await t.throwsAsync(again, { code: 'ConnectFailed', message: /EADDRINUSE/ });
  }
});

linuxTest('a socket of a peer closes with the shared one', async (t) => {
  const port = await portOf(t, '127.0.0.1', 1);
  const { address } = await clientOf(t, '127.0.0.1');
  t.truthy(port.peers.join(port.socket, address));
  await port.sockets.close();
  const next = await ListeningSockets.listen(port.socket.address);
  await next.close();
  t.is(port.counters.peerSocketsFailed, 0);
});

/** @returns how many datagrams of a peer arrive that come when strangers have filled the queue */
async function receivedInFlood(t: ExecutionContext, { socket, peers, received }: Port) {
  const { host, port } = socket.address;
  const [stranger, peer] = [await clientOf(t, host), await clientOf(t, host)];
  const own = peers.join(socket, peer.address);
  const fills = (1.5 * socket.receiveBufferBytes) / LARGE_BYTES;
  // All in one turn of the event loop, so that nothing is read meanwhile.
  for (let i = 0; i < fills; i += 1) stranger.socket.send(Buffer.alloc(LARGE_BYTES), port, host);
  for (let i = 0; i < SMALL; i += 1) stranger.socket.send('small', port, host);
  for (let i = 0; i < SENT; i += 1) peer.socket.send('peer', port, host);
  const isLast = () => received.at(-1) === 'last';
  await until(() => {
    if (!isLast()) stranger.socket.send('last', port, host);
    return isLast();
  });
  if (own !== undefined) peers.leave(own);
  return received.filter((text) => text === 'peer').length;
}

type Port = Awaited<ReturnType<typeof portOf>>;

async function portOf(t: ExecutionContext, host: string, max: number) {
  const sockets = await ListeningSockets.listen({ host, port: 0 }, true);
  t.teardown(() => sockets.close());
  const received: string[] = [];
  const errors: (string | undefined)[] = [];
  sockets.begin(
    {
      onDatagram: (datagram) => void received.push(datagram.length < 99 ? `${datagram}` : 'large'),
      onSent: () => {},
      onUnanswerable: () => t.fail('nobody sends from port 0 here'),
      onSocketError: (_socket, code) => void errors.push(code),
    },
    () => false,
  );
  const counters = newEndpointCounters();
  const peers = new PeerSockets(max, counters);
  return { sockets, socket: sockets.main, peers, counters, received, errors };
}

async function clientOf(t: ExecutionContext, host: string, port = 0) {
  const socket: Socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
  socket.bind(port, host);
  await once(socket, 'listening');
  let isClosed = false;
  socket.once('close', () => {
    isClosed = true;
  });
  t.teardown(() => {
    if (!isClosed) socket.close();
  });
  const address: SocketAddress = { host, port: socket.address().port };
  return { socket, address };
}
