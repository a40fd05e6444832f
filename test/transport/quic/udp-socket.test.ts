/** The one place where datagrams leave and arrive: whatever the address, it counts and drops, and throws nothing. */
import test, { type ExecutionContext } from 'ava';
import type { SocketAddress } from '../../../src/transport/connection.js';
import { UdpSocket } from '../../../src/transport/quic/udp-socket.js';
import { runInNamespace } from '../../helpers/network/namespace.js';
import { until } from '../../helpers/until.js';

/** Whether Node or the system refuses it at once, later or not at all is theirs to say. */
const ODD_ADDRESSES: readonly SocketAddress[] = [
  { host: '127.0.0.1', port: 0 },
  { host: '::1', port: 0 },
  { host: '0.0.0.0', port: 0 },
  { host: '0.0.0.0', port: 9 },
  { host: '::', port: 9 },
  { host: '255.255.255.255', port: 9 },
  { host: '127.255.255.255', port: 9 },
  { host: '224.0.0.1', port: 9 },
  { host: 'ff02::1', port: 9 },
  { host: 'fe80::1', port: 9 },
  { host: 'fe80::1%lo', port: 9 },
  { host: 'fe80::1%nowhere', port: 9 },
  { host: '::ffff:127.0.0.1', port: 9 },
  { host: '127.0.0.1', port: -1 },
  { host: '127.0.0.1', port: 65_536 },
  { host: '127.0.0.1', port: 1.5 },
  { host: '127.0.0.1', port: Number.NaN },
  { host: '', port: 9 },
  { host: 'a name', port: 9 },
];

for (const host of ['127.0.0.1', '0.0.0.0', '::1', '::']) {
  test(`a socket at ${host} sends to no address by throwing, and goes on sending`, async (t) => {
    const { socket, errors, received } = await openSocket(t, host);
    for (const to of ODD_ADDRESSES) {
      t.notThrows(() => socket.send(Buffer.from('odd'), to), `${to.host} ${to.port}`);
    }
    const own = { host: isV6(host) ? '::1' : '127.0.0.1', port: socket.address.port };
    // To itself too.
    await until(() => {
      socket.send(Buffer.from('good'), own);
      return received.includes('good');
    });
    // What Node refuses by throwing is among what is told.
    t.true(errors.filter((code) => code === 'ERR_SOCKET_BAD_PORT').length >= 6);
  });
}

test('a datagram longer than any may be is told and dropped', async (t) => {
  const { socket, errors } = await openSocket(t, '127.0.0.1');
  socket.send(Buffer.alloc(65_508), { host: '127.0.0.1', port: 9 });
  await until(() => errors.length > 0);
  t.deepEqual(errors, ['EMSGSIZE']);
});

test('nothing is sent once the socket closes, and nothing is thrown', async (t) => {
  const { socket, errors } = await openSocket(t, '127.0.0.1');
  const closed = socket.close();
  for (const to of ODD_ADDRESSES) socket.send(Buffer.from('late'), to);
  await closed;
  for (const to of ODD_ADDRESSES) socket.send(Buffer.from('late'), to);
  t.deepEqual(errors, []);
});

test('datagrams from addresses that nobody can answer are dropped and counted', async (t) => {
  const counted = await runInNamespace(t, 'test/helpers/quic/odd-sources.ts', {
    commands: ['python3'],
  });
  if (counted === undefined) return;
  const served = { body: 'n2', unanswerable: 3 };
  t.deepEqual(counted, { auto: served, always: served });
});

async function openSocket(t: ExecutionContext, host: string) {
  const socket = await UdpSocket.bind({ host, port: 0 });
  t.teardown(() => socket.close());
  const errors: (string | undefined)[] = [];
  const received: string[] = [];
  socket.handler = {
    onDatagram: (datagram) => void received.push(datagram.toString()),
    onUnanswerable: () => t.fail('nobody sends from port 0 here'),
    onSocketError: (_socket, code) => void errors.push(code),
  };
  return { socket, errors, received };
}

function isV6(host: string): boolean {
  return host.includes(':');
}
