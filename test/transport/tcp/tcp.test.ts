import { randomBytes, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import {
  type AddressInfo,
  connect as connectSocket,
  createServer as createSocketServer,
  type Server,
  type Socket,
} from 'node:net';
import {
  type ConnectionOptions,
  connect as connectTls,
  createServer as createTlsServer,
  type TLSSocket,
  type TlsOptions,
} from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import type { MeshError, MeshErrorCode } from '../../../src/errors.js';
import { decodeReset, type ResetFields } from '../../../src/protocol/control.js';
import { FrameDecoder, FrameFlag } from '../../../src/protocol/frame.js';
import {
  ALPN_PROTOCOL,
  type Connection,
  type DialTarget,
  type Refusal,
  type SocketAddress,
  type TlsMaterial,
} from '../../../src/transport/connection.js';
import { TcpTransport, type TcpTransportOptions } from '../../../src/transport/tcp/transport.js';
import { handshakeError } from '../../../src/transport/trust/tls-errors.js';
import {
  certNamed,
  expiredCert,
  nodeCert,
  notYetValidCert,
  otherCaCert,
  wrongUsageCert,
} from '../../helpers/certs.js';
import { ChaosProxy } from '../../helpers/chaos-proxy/proxy.js';
import { echoAcceptor, openCollected, request, sendAll } from '../../helpers/frame-client.js';
import { knockingProtocols } from '../../helpers/knock.js';
import { opensslCerts } from '../../helpers/openssl-certs.js';
import { until } from '../../helpers/until.js';

const LOOPBACK = '127.0.0.1';
/** For handshakes that are not to be given up, however busy the machine. */
const PATIENT_MS = 60_000;

// Certificates. Whoever turns the other away has a local error, and the other the same code from remote.

const badCerts: Record<string, [MeshErrorCode, () => Promise<TlsMaterial>]> = {
  'of another CA': ['CertificateUntrusted', () => trustingDevCa(otherCaCert('n2'))],
  'that has expired': ['CertificateExpired', () => expiredCert('n2')],
  'that is not valid yet': ['CertificateNotYetValid', () => notYetValidCert('n2')],
  'that is not for TLS': ['CertificateUsage', () => wrongUsageCert('n2')],
};

for (const [title, [code, makeCert]] of Object.entries(badCerts)) {
  test(`a dialer with a certificate ${title} is refused with ${code}`, async (t) => {
    const listener = await listen(t, await nodeCert('n1'));
    const dialer = transport(t, await makeCert());
    const connection = await dialer.dial(listener.address);
    t.like(await connection.closed, { code, side: 'remote' });
    const refusal = await listener.refused();
    t.like(refusal.error, { code, side: 'local' });
    t.is(refusal.transport, 'tcp');
    t.is(refusal.remoteAddress.host, LOOPBACK);
    t.is(listener.connections.length, 0);
    t.is(listener.transport.counters.refused, 1);
  });

  test(`an acceptor with a certificate ${title} is refused with ${code}`, async (t) => {
    const listener = await listen(t, await makeCert());
    const dialer = transport(t, await nodeCert('n1'));
    const error = await rejection(dialer.dial(listener.address));
    t.like(error, { code, side: 'local' });
    const accepted = await listener.accepted();
    t.like(await accepted.closed, { code, side: 'remote', message: error.message });
    t.is(dialer.counters.dialsFailed, 1);
  });
}

test('a peer with another name than the one that was dialed is refused', async (t) => {
  // A silent one would hang up on a knock for another node.
  const admission = { silent: 'off' } as const;
  const listener = await listen(t, await nodeCert('n2'), { admission });
  const dialer = transport(t, await nodeCert('n1'));
  const error = await rejection(dialer.dial({ ...listener.address, nodeId: 'n3' }));
  t.like(error, { code: 'CertificateNameMismatch', side: 'local' });
  const accepted = await listener.accepted();
  t.like(await accepted.closed, { code: 'CertificateNameMismatch', side: 'remote' });
});

test('a peer is known by its certificate, whatever the address', async (t) => {
  const listener = await listen(t, await certNamed('db-7.internal'));
  const dialer = transport(t, await nodeCert('n1'));
  const connection = await dialer.dial({ ...listener.address, nodeId: 'DB-7.internal' });
  t.deepEqual(connection.peerIdentity.nodeIds, ['db-7.internal']);
});

test('without a node id, any certificate of the CA will do', async (t) => {
  const listener = await listen(t, await nodeCert('n4'));
  const connection = await transport(t, await nodeCert('n1')).dial(listener.address);
  t.deepEqual(connection.peerIdentity.nodeIds, ['n4']);
});

test('a dialer without a certificate is refused with CertificateRequired', async (t) => {
  const tls = await nodeCert('n1');
  const listener = await listen(t, tls);
  const socket = await rawTls(t, listener.address, { ca: tls.ca });
  t.is((await closeFrameOf(socket)).code, 'CertificateRequired');
  t.is((await listener.refused()).error.code, 'CertificateRequired');
  t.is(listener.connections.length, 0);
});

test('certificates with an intermediate are accepted by both sides', async (t) => {
  const { ca, nodes } = await opensslCerts({ kind: 'chain', nodeIds: ['n1', 'n2'] });
  const listener = await listen(t, { ca, ...nodes.n2 });
  const dialer = transport(t, { ca, ...nodes.n1 });
  const connection = await dialer.dial({ ...listener.address, nodeId: 'n2' });
  const accepted = await listener.accepted();
  t.deepEqual(accepted.peerIdentity.nodeIds, ['n1']);
  echoAcceptor(accepted);
  t.is((await request(connection, Buffer.from('hi'))).toString(), 'hi');
});

test('certificates that are replaced hold for the next dial and the next socket', async (t) => {
  const [first, second] = [await nodeCert('n2'), await certNamed('n2')];
  let material: TlsMaterial = first;
  const listener = await listen(t, () => material);
  const dialer = transport(t, await nodeCert('n1'));
  const fingerprint = async () => (await dialer.dial(listener.address)).peerIdentity.fingerprint256;
  const before = await fingerprint();
  t.is(await fingerprint(), before);
  material = { ...first };
  t.is(await fingerprint(), before);
  material = second;
  const after = await fingerprint();
  t.not(after, before);
  // Those that cannot be used change nothing for who is served already.
  material = { ...second, key: 'no key' };
  t.is(await fingerprint(), after);
  t.is(listener.transport.counters.reloadsFailed, 1);
  t.is((await rejection(listener.transport.dial(listener.address))).code, 'InvalidOptions');
});

test('no session is resumed: every connection brings its certificate', async (t) => {
  const tls = await nodeCert('n1');
  const listener = await listen(t, tls);
  const first = await rawTls(t, listener.address, tls);
  let session = first.getSession();
  first.on('session', (ticket) => {
    session = ticket;
  });
  // A ticket would come before the first frame.
  openCollected(await listener.accepted()).stream.send(Buffer.of(1));
  await once(first, 'data');
  const second = await rawTls(t, listener.address, { ...tls, session });
  await once(second, 'secureConnect');
  t.false(second.isSessionReused());
});

// The protocol below.

test('a dialer that offers another protocol is refused', async (t) => {
  const tls = await nodeCert('n1');
  const listener = await listen(t, tls);
  const socket = await rawTls(t, listener.address, { ...tls, protocol: 'h2' });
  const [error] = await once(socket, 'error');
  t.is(error.code, 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL');
  t.is((await listener.refused()).error.code, 'ApplicationProtocolMismatch');
});

test('a dialer that offers no protocol is refused', async (t) => {
  const tls = await nodeCert('n1');
  const listener = await listen(t, tls, { admission: { silent: 'off' } });
  const socket = await rawTls(t, listener.address, { ...tls, ALPNProtocols: [] });
  t.is((await closeFrameOf(socket)).code, 'ApplicationProtocolMismatch');
  t.is((await listener.refused()).error.code, 'ApplicationProtocolMismatch');
});

for (const [title, options, expected, text] of [
  // Its alert comes before it has proved anything: anybody could have sent it.
  ['another protocol', { ALPNProtocols: ['h2'] }, 'ConnectFailed', 'ApplicationProtocolMismatch'],
  ['no protocol', {}, 'ApplicationProtocolMismatch', 'peer does not speak'],
  ['TLS 1.2 only', { maxVersion: 'TLSv1.2' }, 'ConnectFailed', 'TlsFailure'],
] as [string, TlsOptions, MeshErrorCode, string][]) {
  test(`a dial to a server that speaks ${title} fails with ${expected}`, async (t) => {
    const address = await foreignTlsServer(t, { ...(await nodeCert('n2')), ...options });
    const error = await rejection(transport(t, await nodeCert('n1')).dial(address));
    t.like(error, { code: expected, side: 'local' });
    t.true(error.message.includes(text), error.message);
  });
}

test('a dialer that speaks TLS 1.2 is refused', async (t) => {
  const tls = await nodeCert('n1');
  const listener = await listen(t, tls);
  const socket = await rawTls(t, listener.address, { ...tls, maxVersion: 'TLSv1.2' });
  const [error] = await once(socket, 'error');
  t.regex(error.code, /PROTOCOL_VERSION/);
  t.is((await listener.refused()).error.code, 'TlsFailure');
});

const GOOD_GROUPS = ['X25519', 'P-256', 'P-384'];
/** What OpenSSL has besides; ffdhe8192 costs whoever answers 150 ms. */
const OTHER_GROUPS = ['P-521', 'X448', 'ffdhe2048', 'ffdhe8192'];

test('a dialer exchanges keys over cheap groups only, before and after new certificates', async (t) => {
  const [first, second] = [await nodeCert('n2'), await certNamed('n2')];
  let material: TlsMaterial = first;
  const listener = await listen(t, () => material);
  const tls = await nodeCert('n1');
  for (const current of [first, second]) {
    material = current;
    for (const ecdhCurve of GOOD_GROUPS) {
      const socket = await rawTls(t, listener.address, { ...tls, ecdhCurve });
      await once(socket, 'secureConnect');
      const fingerprint = socket.getPeerX509Certificate()?.fingerprint256;
      t.is(fingerprint, new X509Certificate(current.cert).fingerprint256, ecdhCurve);
    }
    for (const ecdhCurve of OTHER_GROUPS) {
      const socket = await rawTls(t, listener.address, { ...tls, ecdhCurve });
      const [error] = await once(socket, 'error');
      t.is(error.code, 'ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE', ecdhCurve);
    }
  }
  t.is((await listener.refused()).error.code, 'TlsFailure');
  t.is(listener.transport.counters.tlsErrors, 2 * OTHER_GROUPS.length);
});

test('a dial exchanges keys over cheap groups only', async (t) => {
  const server = { ...(await nodeCert('n2')), ALPNProtocols: [ALPN_PROTOCOL] };
  const dialer = transport(t, await nodeCert('n1'));
  for (const ecdhCurve of GOOD_GROUPS) {
    const address = await foreignTlsServer(t, { ...server, ecdhCurve });
    await t.notThrowsAsync(dialer.dial(address), ecdhCurve);
  }
  for (const ecdhCurve of OTHER_GROUPS) {
    const address = await foreignTlsServer(t, { ...server, ecdhCurve });
    const error = await rejection(dialer.dial(address));
    t.is(error.code, 'ConnectFailed', ecdhCurve);
    t.like(error.cause, { code: 'TlsFailure', side: 'remote' }, ecdhCurve);
  }
});

test('neither side sends a certificate of a CA that it was not given to send', async (t) => {
  const tls = await nodeCert('n2');
  const listener = await listen(t, tls);
  const socket = await rawTls(t, listener.address, await nodeCert('n1'));
  await once(socket, 'secureConnect');
  t.is(socket.getPeerX509Certificate()?.issuerCertificate, undefined);

  const sent: unknown[] = [];
  const options = { ...tls, requestCert: true, rejectUnauthorized: false };
  const address = await foreignTlsServer(t, { ...options, ALPNProtocols: [ALPN_PROTOCOL] }, (its) =>
    sent.push(its.getPeerX509Certificate()?.issuerCertificate),
  );
  await transport(t, await nodeCert('n1')).dial(address);
  await until(() => sent.length > 0);
  t.deepEqual(sent, [undefined]);
});

test('the node id that is dialed is the server name of TLS, and without one there is none', async (t) => {
  const names: unknown[] = [];
  const server = await nodeCert('n2');
  const options = { ...server, ALPNProtocols: [ALPN_PROTOCOL] };
  const address = await foreignTlsServer(t, options, (socket) => {
    names.push((socket as TLSSocket & { servername: unknown }).servername);
  });
  const dialer = transport(t, await nodeCert('n1'));
  await dialer.dial({ ...address, nodeId: 'n2' });
  await dialer.dial(address);
  await until(() => names.length === 2);
  t.deepEqual(names, ['n2', false]);
});

test("node's own errors of a handshake have codes of ours", (t) => {
  const failed = (code: string) => handshakeError(Object.assign(new Error('x'), { code }));
  t.like(failed('EHOSTUNREACH'), { code: 'ConnectFailed', side: 'local' });
  t.like(failed('ERR_SSL_WRONG_VERSION_NUMBER'), { code: 'TlsFailure', side: 'local' });
  t.like(failed('ERR_SSL_TLSV1_ALERT_UNKNOWN_CA'), {
    code: 'CertificateUntrusted',
    side: 'remote',
  });
  t.is(handshakeError('no error at all').code, 'ConnectFailed');
});

// Reaching no one.

test('a port where no one listens is ConnectFailed', async (t) => {
  const { server, address } = await socketServer(t, () => {});
  server.close();
  const error = await rejection(transport(t, await nodeCert('n1')).dial(address));
  t.like(error, { code: 'ConnectFailed', retryable: true });
});

test('a name that does not exist is ConnectFailed', async (t) => {
  const dialer = transport(t, await nodeCert('n1'));
  const error = await rejection(dialer.dial({ host: 'no-such-host.invalid', port: 1 }));
  t.is(error.code, 'ConnectFailed');
});

test('a server that hangs up is ConnectFailed', async (t) => {
  const { address } = await socketServer(t, (socket) => socket.destroy());
  const error = await rejection(transport(t, await nodeCert('n1')).dial(address));
  t.is(error.code, 'ConnectFailed');
});

test('a server that says nothing is ConnectTimeout, and its socket is closed', async (t) => {
  let hungUp = false;
  const { address } = await socketServer(t, (socket) => {
    socket.resume().on('close', () => {
      hungUp = true;
    });
  });
  const dialer = transport(t, await nodeCert('n1'));
  const error = await rejection(dialer.dial(address, { connectTimeoutMs: 50 }));
  t.is(error.code, 'ConnectTimeout');
  await until(() => hungUp);
});

test('a dial is cancelled by its signal, before and after it has begun', async (t) => {
  const { address, sockets } = await socketServer(t, (socket) => socket.resume());
  const dialer = transport(t, await nodeCert('n1'));
  const reason = new Error('changed my mind');
  const early = await rejection(dialer.dial(address, { signal: AbortSignal.abort(reason) }));
  t.like(early, { code: 'Cancelled', cause: reason });
  const controller = new AbortController();
  const dialing = rejection(dialer.dial(address, { signal: controller.signal }));
  await until(() => sockets.length === 1);
  controller.abort(reason);
  t.like(await dialing, { code: 'Cancelled', cause: reason });
  await until(() => sockets[0]?.destroyed === true);
  t.is(dialer.counters.dialsFailed, 2);
});

// Whatever arrives at the listener.

const garbage: Record<string, (socket: Socket) => void> = {
  'random bytes': (socket) => socket.write(randomBytes(4096)),
  'an HTTP request': (socket) => socket.write('GET / HTTP/1.1\r\nHost: n1\r\n\r\n'),
  'half a ClientHello, and then silence': (socket) => {
    socket.write(Buffer.from('16030100c8010000c40303', 'hex'));
  },
  'a ClientHello byte by byte': (socket) => {
    socket.write(Buffer.from('1603010200010001fc0303', 'hex'));
    const timer = setInterval(() => socket.write('x'), 20);
    socket.on('close', () => clearInterval(timer));
  },
  nothing: () => {},
  'an end': (socket) => socket.end(),
  'a reset': (socket) => socket.resetAndDestroy(),
};

test('garbage at the listener disturbs no one and is got rid of', async (t) => {
  const listener = await listen(t, await nodeCert('n2'), { handshakeTimeoutMs: 1000 });
  const dialer = transport(t, await nodeCert('n1'));
  const before = await dialer.dial({ ...listener.address, nodeId: 'n2' });
  echoAcceptor(await listener.accepted());
  const sockets = Object.values(garbage).flatMap((send) =>
    Array.from({ length: 5 }, () => {
      const socket = connectSocket(listener.address.port, LOOPBACK);
      socket.on('error', () => {}).on('connect', () => send(socket));
      return socket.resume();
    }),
  );
  t.is((await request(before, Buffer.from('still here'))).toString(), 'still here');
  const after = await dialer.dial({ ...listener.address, nodeId: 'n2' });
  echoAcceptor(await listener.accepted());
  t.is((await request(after, Buffer.from('next'))).toString(), 'next');

  await until(() => sockets.every((socket) => socket.destroyed));
  const { counters } = listener.transport;
  await until(() => counters.handshakeTimeouts === 15);
  t.is(counters.droppedWithoutKnock, 10);
  t.is(counters.accepted, 2);
  t.is((await request(before, Buffer.from('and still'))).toString(), 'and still');
});

test('sockets that are not connections yet are bounded, and connections are not among them', async (t) => {
  const listener = await listen(t, await nodeCert('n2'), {
    admission: { maxHalfOpen: 2 },
    handshakeTimeoutMs: PATIENT_MS,
  });
  const dialer = transport(t, await nodeCert('n1'));
  for (let i = 0; i < 4; i += 1) await dialer.dial(listener.address);
  await until(() => listener.connections.length === 4);
  const sockets = Array.from({ length: 3 }, () => connectSocket(listener.address.port, LOOPBACK));
  t.teardown(() => sockets.forEach((socket) => void socket.destroy()));
  for (const socket of sockets) socket.on('error', () => {}).resume();
  const { counters } = listener.transport;
  await until(() => counters.halfOpenDropped === 1);
  await until(() => sockets.filter((socket) => socket.destroyed).length === 1);
  t.is((await rejection(dialer.dial(listener.address))).code, 'ConnectFailed');
  for (const socket of sockets) socket.destroy();
  await until(() => counters.tlsErrors === 2);
  await t.notThrowsAsync(dialer.dial(listener.address));
});

test('a source has its share of them, and others still find room', async (t) => {
  const listener = await listen(t, await nodeCert('n2'), {
    admission: { maxHalfOpen: 10, maxHalfOpenPerSource: 3 },
    handshakeTimeoutMs: PATIENT_MS,
  });
  const { counters } = listener.transport;
  const { port } = listener.address;
  const sockets = Array.from({ length: 5 }, () => connectFrom('127.0.0.2', port));
  t.teardown(() => sockets.forEach((socket) => void socket.destroy()));
  await until(() => counters.halfOpenDropped === 2);
  await until(() => sockets.filter((socket) => socket.destroyed).length === 2);
  const dialer = transport(t, await nodeCert('n1'));
  for (let i = 0; i < 4; i += 1) await dialer.dial(listener.address);
  // Those who have gone leave their places to the next of the same source.
  for (const socket of sockets) socket.destroy();
  await until(() => counters.tlsErrors === 3);
  sockets.push(...Array.from({ length: 4 }, () => connectFrom('127.0.0.2', port)));
  await until(() => counters.halfOpenDropped === 3);
  t.is(counters.accepted, 4);
});

function connectFrom(localAddress: string, port: number): Socket {
  return connectSocket({ host: LOOPBACK, port, localAddress })
    .on('error', () => {})
    .resume();
}

// Ends.

test('a close under full load tells its code to a peer that is still sending', async (t) => {
  const listener = await listen(t, await nodeCert('n2'));
  const dialer = transport(t, await nodeCert('n1'));
  const connection = await dialer.dial(listener.address);
  const accepted = await listener.accepted();
  const sender = openCollected(connection);
  const chunk = Buffer.alloc(64 * 1024);
  const sending = rejection(
    sendAll(
      sender,
      Array.from({ length: 100_000 }, () => chunk),
    ),
  );
  accepted.onStream = () => ({ onFrame() {}, onEnd() {}, onReset() {} });
  await until(() => accepted.counters.bytesReceived > 4 * 1024 * 1024);
  await accepted.close('GoingAway', 'restarting');
  t.like(await connection.closed, { code: 'GoingAway', side: 'remote', message: 'restarting' });
  t.is((await sending).code, 'ConnectionClosed');
});

test('a network that fails is ConnectionLost at both ends', async (t) => {
  const listener = await listen(t, await nodeCert('n2'));
  const proxy = await ChaosProxy.start({ target: listener.address, protocols: ['tcp'] });
  t.teardown(() => proxy.close());
  const connection = await transport(t, await nodeCert('n1')).dial(proxy.address);
  const accepted = await listener.accepted();
  const { stream, collector } = openCollected(connection);
  stream.send(Buffer.of(1));
  proxy.reset();
  t.is((await connection.closed).code, 'ConnectionLost');
  t.is((await accepted.closed).code, 'ConnectionLost');
  t.is((await collector.reset).code, 'ConnectionLost');
});

test('closing a transport closes its connections, its listener and its dials', async (t) => {
  const listener = await listen(t, await nodeCert('n2'));
  const dialer = transport(t, await nodeCert('n1'));
  const connection = await dialer.dial(listener.address);
  const accepted = await listener.accepted();
  const { address, sockets } = await socketServer(t, (socket) => socket.resume());
  const dialing = rejection(listener.transport.dial(address));
  await until(() => sockets.length === 1);
  await listener.transport.close();
  t.like(await accepted.closed, { code: 'NoError', side: 'local' });
  t.like(await connection.closed, { code: 'NoError', side: 'remote' });
  t.is((await dialing).code, 'NodeClosed');
  t.is((await rejection(listener.transport.dial(address))).code, 'NodeClosed');
  t.is((await rejection(dialer.dial(listener.address))).code, 'ConnectFailed');
  await t.notThrowsAsync(listener.transport.close());
});

test('a listener that is closed accepts no one, and its connections stay', async (t) => {
  const listener = await listen(t, await nodeCert('n2'));
  const dialer = transport(t, await nodeCert('n1'));
  const connection = await dialer.dial(listener.address);
  echoAcceptor(await listener.accepted());
  await listener.close();
  t.is((await rejection(dialer.dial(listener.address))).code, 'ConnectFailed');
  t.is((await request(connection, Buffer.from('x'))).toString(), 'x');
});

test('a transport listens once, and says so when it cannot', async (t) => {
  const listener = await listen(t, await nodeCert('n2'));
  const options = { ...listener.address, onConnection() {} };
  t.is((await rejection(listener.transport.listen(options))).code, 'InvalidArgument');
  const other = transport(t, await nodeCert('n1'));
  t.is((await rejection(other.listen(options))).code, 'ConnectFailed');
  await t.notThrowsAsync(other.listen({ ...options, port: 0 }));
});

test('a port that cannot be is InvalidArgument', async (t) => {
  const made = transport(t, await nodeCert('n1'));
  const at = { host: LOOPBACK, port: 70_000 };
  t.is((await rejection(made.dial(at))).code, 'InvalidArgument');
  t.is((await rejection(made.listen({ ...at, onConnection() {} }))).code, 'InvalidArgument');
});

test('certificates that cannot be used are InvalidOptions', async (t) => {
  const good = await nodeCert('n1');
  const { key } = await nodeCert('n2');
  for (const bad of [{ cert: 'no certificate' }, { ca: '' }, { key }]) {
    const broken = transport(t, { ...good, ...bad });
    t.is((await rejection(broken.dial({ host: LOOPBACK, port: 1 }))).code, 'InvalidOptions');
    const listening = broken.listen({ host: LOOPBACK, port: 0, onConnection() {} });
    t.is((await rejection(listening)).code, 'InvalidOptions');
  }
});

/** A listening transport, and what it was called with. */
interface TestListener {
  readonly transport: TcpTransport;
  readonly address: SocketAddress;
  readonly connections: readonly Connection[];
  /** The connections, one at a time, in order. */
  accepted(): Promise<Connection>;
  /** The first peer that was turned away. */
  refused(): Promise<Refusal>;
  close(): Promise<void>;
}

async function listen(
  t: ExecutionContext,
  tls: TlsMaterial | (() => TlsMaterial),
  options: Partial<TcpTransportOptions> = {},
): Promise<TestListener> {
  const connections: Connection[] = [];
  const refusals: Refusal[] = [];
  const listening = transport(t, tls, options);
  const listener = await listening.listen({
    host: LOOPBACK,
    port: 0,
    onConnection: (connection) => connections.push(connection),
    onRefused: (refusal) => refusals.push(refusal),
  });
  let taken = 0;
  return {
    transport: listening,
    address: listener.address,
    connections,
    accepted: async () => {
      const index = taken;
      taken += 1;
      await until(() => connections.length > index);
      return connections[index] as Connection;
    },
    refused: async () => {
      await until(() => refusals.length > 0);
      return refusals[0] as Refusal;
    },
    close: () => listener.close(),
  };
}

function transport(
  t: ExecutionContext,
  tls: TlsMaterial | (() => TlsMaterial),
  options: Partial<TcpTransportOptions> = {},
): TcpTransport {
  const made = new TcpTransport({ tls: typeof tls === 'function' ? tls : () => tls, ...options });
  t.teardown(() => made.close());
  return made;
}

/** Another node's certificate, and our CA to judge by. */
async function trustingDevCa(other: Promise<TlsMaterial>): Promise<TlsMaterial> {
  return { ...(await other), ca: (await nodeCert('n1')).ca };
}

async function rejection(promise: Promise<unknown>): Promise<MeshError> {
  return promise.then(
    () => Promise.reject(new Error('did not reject')),
    (error: MeshError) => error,
  );
}

/** A client of its own kind, which knocks. */
async function rawTls(
  t: ExecutionContext,
  to: DialTarget,
  { protocol = ALPN_PROTOCOL, ...options }: ConnectionOptions & { readonly protocol?: string },
): Promise<TLSSocket> {
  const [, knock] = knockingProtocols(await nodeCert('n1'));
  const socket = connectTls({
    host: to.host,
    port: to.port,
    ALPNProtocols: [protocol, knock],
    rejectUnauthorized: false,
    ...options,
  });
  socket.on('error', () => {});
  t.teardown(() => socket.destroy());
  return socket;
}

async function closeFrameOf(socket: TLSSocket): Promise<ResetFields> {
  const decoder = new FrameDecoder();
  for await (const chunk of socket) {
    decoder.push(chunk as Buffer);
    const frame = decoder.next();
    if (frame === undefined) continue;
    if (frame.messageId !== 0 || (frame.flags & FrameFlag.reset) === 0) break;
    return decodeReset(frame.payload, 'InternalError');
  }
  throw new Error('no close frame came');
}

async function foreignTlsServer(
  t: ExecutionContext,
  options: TlsOptions,
  onSocket: (socket: TLSSocket) => void = () => {},
): Promise<SocketAddress> {
  const server = createTlsServer(options, (socket) => {
    socket.on('error', () => {}).resume();
    onSocket(socket);
  });
  return listenOn(t, server);
}

async function socketServer(
  t: ExecutionContext,
  onSocket: (socket: Socket) => void,
): Promise<{ server: Server; address: SocketAddress; sockets: Socket[] }> {
  const sockets: Socket[] = [];
  const server = createSocketServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    onSocket(socket);
  });
  t.teardown(() => sockets.forEach((socket) => void socket.destroy()));
  return { server, address: await listenOn(t, server), sockets };
}

async function listenOn(t: ExecutionContext, server: Server): Promise<SocketAddress> {
  server.listen(0, LOOPBACK);
  t.teardown(() => server.close());
  await once(server, 'listening');
  return { host: LOOPBACK, port: (server.address() as AddressInfo).port };
}
