/** What anybody on the path can write into a TCP connection is no answer of the peer's. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { isAboutCertificate, toMeshError } from '../../../src/errors.js';
import type { Connection } from '../../../src/transport/connection.js';
import { TcpTransport } from '../../../src/transport/tcp/transport.js';
import { nodeCert } from '../../helpers/certs.js';

/** A fatal TLS alert without any key. */
const alert = (number: number) => Buffer.from([0x15, 3, 3, 0, 2, 2, number]);

/** The answer to a ClientHello, and what the error says besides. */
const FORGED: Readonly<Record<string, readonly [(socket: Socket) => void, RegExp]>> = {
  'alert 45': [(socket) => socket.write(alert(45)), /not reached.*CertificateExpired/],
  'alert 46': [(socket) => socket.write(alert(46)), /not reached.*CertificateInvalid/],
  'alert 48': [(socket) => socket.write(alert(48)), /not reached.*CertificateUntrusted/],
  'alert 116': [(socket) => socket.write(alert(116)), /not reached.*CertificateRequired/],
  'alert 120': [(socket) => socket.write(alert(120)), /not reached.*ApplicationProtocolMismatch/],
  'alert 40': [(socket) => socket.write(alert(40)), /not reached.*TlsFailure/],
  'another protocol': [(socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'), /TlsFailure/],
  'a reset': [(socket) => socket.resetAndDestroy(), /ECONNRESET/],
  'an end': [(socket) => socket.destroy(), /./],
};

for (const [title, [answer, text]] of Object.entries(FORGED)) {
  test(`${title} before TLS is done is no answer of the peer's`, async (t) => {
    const port = await listen(t, (socket) => socket.once('data', () => answer(socket)));
    const dialer = await transportOf(t, 'n1');
    const error = toMeshError(await t.throwsAsync(dialer.dial({ host: '127.0.0.1', port })));
    t.like(error, { code: 'ConnectFailed', side: 'local', retryable: true });
    t.regex(error.message, text);
  });
}

test('an alert put behind the server’s first record is no answer of the peer’s', async (t) => {
  const { dial } = await between(t, (chunk, dialer) => {
    dialer.write(chunk.subarray(0, 5 + chunk.readUInt16BE(3)));
    dialer.write(alert(48));
  });
  const error = toMeshError(await t.throwsAsync(dial()));
  t.like(error, { code: 'ConnectFailed', retryable: true });
});

test('an alert put into a connection that is made ends it, and not in the peer’s name', async (t) => {
  const { dial, dialers } = await between(t, (chunk, dialer) => dialer.write(chunk));
  const connection = await dial();
  dialers[0]?.write(alert(48));
  const error = await connection.closed;
  t.false(isAboutCertificate(error.code), error.code);
  t.is(error.code, 'ConnectionLost');
});

/** A relay to a listening transport that decides what the dialer gets. */
async function between(t: ExecutionContext, pass: (chunk: Buffer, dialer: Socket) => void) {
  const n2 = await transportOf(t, 'n2');
  const onConnection = (_connection: Connection): void => {};
  const { address } = await n2.listen({ host: '127.0.0.1', port: 0, onConnection });
  const dialers: Socket[] = [];
  const port = await listen(t, (dialer) => {
    dialers.push(dialer);
    const node = connect(address.port, address.host);
    dialer.on('close', () => node.destroy());
    node.on('error', () => {});
    node.on('close', () => dialer.destroy());
    dialer.on('data', (chunk) => node.write(chunk));
    node.on('data', (chunk) => pass(chunk, dialer));
  });
  const n1 = await transportOf(t, 'n1');
  return { dialers, dial: () => n1.dial({ host: '127.0.0.1', port, nodeId: 'n2' }) };
}

async function transportOf(t: ExecutionContext, nodeId: 'n1' | 'n2'): Promise<TcpTransport> {
  const tls = await nodeCert(nodeId);
  const transport = new TcpTransport({ tls: () => tls });
  t.teardown(() => transport.close());
  return transport;
}

/** @returns the port */
async function listen(t: ExecutionContext, accept: (socket: Socket) => void): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    accept(socket);
  });
  t.teardown(() => server.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as { port: number }).port;
}
