/** What whoever reaches the port can make a listener read and compute before TLS is done. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import type { MeshError } from '../../../src/errors.js';
import {
  ALPN_PROTOCOL,
  type Connection,
  type Refusal,
  type SocketAddress,
  type TlsMaterial,
} from '../../../src/transport/connection.js';
import { TcpTransport, type TcpTransportOptions } from '../../../src/transport/tcp/transport.js';
import { checkTlsMaterial } from '../../../src/transport/trust/tls-material.js';
import { certNamed, nodeCert } from '../../helpers/certs.js';
import { echoAcceptor, request } from '../../helpers/frame-client.js';
import { until } from '../../helpers/until.js';

const LOOPBACK = '127.0.0.1';
/** Together more than a peer takes, each for itself as good as the next. */
const MANY_CERTIFICATES = 40;

test('what is no ClientHello, or one of more than 16 KB, is dropped before TLS sees it', async (t) => {
  const listener = await listen(t);
  const answers: Buffer[] = [];
  const garbage = [
    'an HTTP request\r\n\r\n',
    Buffer.from('15030100020128', 'hex'),
    Buffer.from('1603010005020000fc03', 'hex'),
    Buffer.from('160301000401004000', 'hex'),
    Buffer.from('160301400101', 'hex'),
    Buffer.concat(Array.from({ length: 3000 }, () => Buffer.from('160301000101', 'hex'))),
  ];
  for (const bytes of garbage) {
    const socket = stranger(t, listener.address);
    socket.on('data', (answer) => answers.push(answer));
    socket.write(bytes);
    await once(socket, 'close');
  }
  t.deepEqual(answers, []);
  t.is(listener.counters.tlsErrors, garbage.length);
  await until(() => listener.refusals.length === garbage.length);
  for (const { error } of listener.refusals) t.like(error, { code: 'TlsFailure', side: 'local' });
});

test('a ClientHello in pieces and in small records is one', async (t) => {
  const listener = await listen(t);
  const { address } = await between(t, listener.address, async (toServer, bytes, isFirst) => {
    if (!isFirst) {
      toServer.write(bytes);
      return;
    }
    for (let at = 5; at < bytes.length; at += 40) {
      const part = bytes.subarray(at, at + 40);
      toServer.write(Buffer.concat([Buffer.from([22, 3, 1, 0]), Buffer.from([part.length])]));
      await new Promise(setImmediate);
      toServer.write(part);
    }
  });
  const connection = await transport(t, await nodeCert('n1')).dial(address);
  await until(() => listener.connections.length === 1);
  echoAcceptor(listener.connections[0] as Connection);
  t.is((await request(connection, Buffer.from('whole'))).toString(), 'whole');
});

test('a handshake of more than 16 KB is cut off while it comes', async (t) => {
  const listener = await listen(t, { handshakeTimeoutMs: 60_000 });
  let sentBytes = 0;
  const { address } = await between(t, listener.address, async (toServer, bytes, isFirst) => {
    if (isFirst) {
      toServer.write(bytes);
      return;
    }
    for (let at = 0; at < bytes.length && !toServer.destroyed; at += 1024) {
      sentBytes += Math.min(1024, bytes.length - at);
      toServer.write(bytes.subarray(at, at + 1024));
      // Never all of it: what ends the socket is that it is too much, not that it is wrong or done.
      if (sentBytes > 17 * 1024) await once(toServer, 'close');
    }
  });
  const { cert, key } = await withCertificates(MANY_CERTIFICATES);
  const socket = connectTls({ ...address, ...{ cert, key }, rejectUnauthorized: false });
  socket.on('error', () => {});
  await once(socket, 'close');
  t.like(listener.counters, { handshakeExcess: 1, tlsErrors: 0, accepted: 0 });
  t.true(sentBytes > 16 * 1024);
});

test('certificates of more than 15 KB are refused, by both sides and by the node itself', async (t) => {
  const large = await withCertificates(MANY_CERTIFICATES);
  const listener = await listen(t);
  const socket = connectTls({
    ...listener.address,
    cert: large.cert,
    key: large.key,
    ALPNProtocols: [ALPN_PROTOCOL],
    rejectUnauthorized: false,
  });
  socket.on('error', () => {}).resume();
  await once(socket, 'close');
  // From a fast network they come all at once, and are seen when TLS is done.
  await until(() => listener.refusals.length > 0);
  t.like(listener.refusals[0]?.error, { code: 'CertificateInvalid', side: 'local' });

  const { cert, key } = large;
  const server = createTlsServer({ cert, key, ALPNProtocols: [ALPN_PROTOCOL] }, (its) => {
    its.on('error', () => {}).resume();
  });
  server.listen(0, LOOPBACK);
  t.teardown(() => server.close());
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const dialer = transport(t, await nodeCert('n1'));
  const refused = await rejection(dialer.dial({ host: LOOPBACK, port }));
  t.like(refused, { code: 'CertificateInvalid', side: 'local' });
  t.throws(() => checkTlsMaterial(large), { code: 'InvalidOptions', message: /15360 bytes/ });
});

/** A listening transport, and what it was called with. */
interface TestListener {
  readonly address: SocketAddress;
  readonly counters: TcpTransport['counters'];
  readonly connections: readonly Connection[];
  readonly refusals: readonly Refusal[];
}

async function listen(
  t: ExecutionContext,
  options: Partial<TcpTransportOptions> = {},
): Promise<TestListener> {
  const connections: Connection[] = [];
  const refusals: Refusal[] = [];
  // What is bounded here comes after the knock, if one is due: see `silent.test.ts`.
  const admission = { silent: 'off' } as const;
  const listening = transport(t, await nodeCert('n2'), { admission, ...options });
  const { address } = await listening.listen({
    host: LOOPBACK,
    port: 0,
    onConnection: (connection) => connections.push(connection),
    onRefused: (refusal) => refusals.push(refusal),
  });
  return { address, counters: listening.counters, connections, refusals };
}

function transport(
  t: ExecutionContext,
  tls: TlsMaterial,
  options: Partial<TcpTransportOptions> = {},
): TcpTransport {
  const made = new TcpTransport({ tls: () => tls, ...options });
  t.teardown(() => made.close());
  return made;
}

function stranger(t: ExecutionContext, to: SocketAddress): Socket {
  const socket = connect(to);
  t.teardown(() => socket.destroy());
  return socket.on('error', () => {}).resume();
}

/** A server that hands on what comes: what the dialer sends by `forward`, the rest as it is. */
async function between(
  t: ExecutionContext,
  target: SocketAddress,
  forward: (toServer: Socket, bytes: Buffer, isFirst: boolean) => Promise<void>,
): Promise<{ address: SocketAddress }> {
  const server = createServer((fromDialer) => {
    const toServer = stranger(t, target).setNoDelay(true);
    toServer.on('data', (bytes) => fromDialer.write(bytes));
    toServer.on('close', () => fromDialer.destroy());
    fromDialer.on('error', () => {}).on('close', () => toServer.destroy());
    let isFirst = true;
    let done = Promise.resolve();
    fromDialer.on('data', (bytes) => {
      const wasFirst = isFirst;
      isFirst = false;
      done = done.then(() => forward(toServer, bytes, wasFirst));
    });
  });
  server.listen(0, LOOPBACK);
  t.teardown(() => server.close());
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  return { address: { host: LOOPBACK, port } };
}

/** A good certificate with others behind it that nobody asked for. */
async function withCertificates(count: number): Promise<TlsMaterial> {
  const { cert, ...rest } = await nodeCert('n1');
  const other = await certNamed('n9');
  return { ...rest, cert: cert + other.cert.repeat(count) };
}

async function rejection(promise: Promise<unknown>): Promise<MeshError> {
  return promise.then(
    () => Promise.reject(new Error('did not reject')),
    (error: MeshError) => error,
  );
}
