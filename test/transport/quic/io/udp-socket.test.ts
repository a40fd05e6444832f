/** The one place where datagrams leave and arrive: whatever the address, it counts and drops, and throws nothing. */
import test, { type ExecutionContext } from 'ava';
import { UdpSocket } from '../../../../src/transport/quic/io/udp-socket.js';
import { runInNamespace } from '../../../helpers/network/namespace.js';
import { BAD_PORTS, ODD_ADDRESSES } from '../../../helpers/quic/odd-addresses.js';
import { until } from '../../../helpers/until.js';

test('a socket sends to no address by throwing, and goes on sending', async (t) => {
  // From loopback nothing gets out. The other hosts have their turn where nothing can.
  const { socket, errors, received } = await openSocket(t, '127.0.0.1');
  for (const to of ODD_ADDRESSES) {
    t.notThrows(() => socket.send(Buffer.from('odd'), to), `${to.host} ${to.port}`);
  }
  // To itself too.
  await until(() => {
    socket.send(Buffer.from('good'), socket.address);
    return received.includes('good');
  });
  t.is(errors.filter((code) => code === 'ERR_SOCKET_BAD_PORT').length, BAD_PORTS);
});

test('nothing that is sent or answered, by whatever socket and to whatever address, throws', async (t) => {
  const told = await runInNamespace(t, 'test/helpers/quic/odd-sends.ts');
  if (told === undefined) return;
  const good = { refused: BAD_PORTS, serves: ['auto', 'always'] };
  t.deepEqual(told, { '127.0.0.1': good, '0.0.0.0': good, '::1': good, '::': good });
});

test('of every datagram that the system was given, it is told once when nobody reads its memory any more', async (t) => {
  const { socket, sent } = await openSocket(t, '127.0.0.1');
  const other = await openSocket(t, '::1');
  let given = 0;
  for (let i = 0; i < 100; i += 1) {
    for (const to of ODD_ADDRESSES) {
      given += Number(socket.send(Buffer.from('odd'), to));
      given += Number(other.socket.send(Buffer.from('odd'), to));
    }
    given += Number(socket.send(Buffer.alloc(60_000), socket.address));
    given += Number(socket.send(Buffer.alloc(65_508), { host: '127.0.0.1', port: 9 }));
  }
  await Promise.all([socket.close(), other.socket.close()]);
  t.false(socket.send(Buffer.from('late'), socket.address));
  t.true(given >= 200);
  await until(() => sent.length + other.sent.length === given);
});

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
  const sent: number[] = [];
  socket.handler = {
    onDatagram: (datagram) => void received.push(datagram.toString()),
    onSent: () => void sent.push(1),
    onUnanswerable: () => t.fail('nobody sends from port 0 here'),
    onSocketError: (_socket, code) => void errors.push(code),
  };
  return { socket, errors, received, sent };
}
