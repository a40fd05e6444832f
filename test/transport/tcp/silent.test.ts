/** A silent listener over TCP: who does not knock gets no byte of TLS, and OpenSSL gets none of theirs. SPEC.md, "Knocks". */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import type { MeshError } from '../../../src/errors.js';
import {
  createKnock,
  KNOCK_RANDOM_BYTES,
  type KnockTarget,
  knockKeyOfCa,
  knockKeyOfSecret,
} from '../../../src/protocol/knock.js';
import type { Refusal, SocketAddress, TlsMaterial } from '../../../src/transport/connection.js';
import { knockIn, protocolsWith } from '../../../src/transport/tcp/knock-protocol.js';
import { TcpTransport, type TcpTransportOptions } from '../../../src/transport/tcp/transport.js';
import { knockRoots } from '../../../src/transport/trust/knock-roots.js';
import { devCerts, nodeCert, otherCaCert } from '../../helpers/certs.js';
import { OpensslPki } from '../../helpers/openssl-pki.js';
import { recordHello } from '../../helpers/record-hello.js';

const LOOPBACK = '127.0.0.1';
const CLUSTER = 'demo';
const MINUTE_MS = 60_000;
const SECRETS = ['a secret of the cluster, the new one', 'the one that it takes the place of'];

const ofCa = async (ca?: string) => {
  const [root] = knockRoots({ ca: ca ?? (await devCerts()).ca, cert: '' }).trusted;
  return root as Uint8Array;
};

const good: KnockTarget = { transport: 'tcp', nodeId: 'n2' };

test('a good knock is answered, whether it names the listener or not', async (t) => {
  const listener = await listen(t);
  const key = knockKeyOfCa(await ofCa(), CLUSTER);
  for (const target of [good, { ...good, nodeId: undefined }]) {
    for (const skewMs of [0, -29_000, 29_000]) {
      const knock = createKnock(key, target, Date.now() + skewMs, randomBytes(KNOCK_RANDOM_BYTES));
      t.true((await answerTo(t, listener.address, await helloWith(protocolsWith(knock)))) > 0);
    }
  }
  t.is(listener.counters.droppedWithoutKnock, 0);
});

test('whoever does not knock, or knocks elsewhere, gets no byte', async (t) => {
  const listener = await listen(t);
  const root = await ofCa();
  const other = await otherCaCert('n2');
  const key = knockKeyOfCa(root, CLUSTER);
  const knock = (by: Uint8Array, target: KnockTarget = good, nowMs = Date.now()) =>
    protocolsWith(createKnock(by, target, nowMs, randomBytes(KNOCK_RANDOM_BYTES)));
  const [protocol, hex] = knock(key) as [string, string];
  const strangers: Record<string, readonly string[]> = {
    'no protocol at all': [],
    'the protocol alone': protocolsWith(undefined),
    'noise in place of a knock': protocolsWith(randomBytes(20)),
    'a knock of another CA': knock(knockKeyOfCa(await ofCa(other.ca), CLUSTER)),
    'a knock of another cluster': knock(knockKeyOfCa(root, 'another')),
    'a knock of a secret that nobody has set': knock(knockKeyOfSecret(SECRETS[0]!, CLUSTER)),
    'a knock for another node': knock(key, { ...good, nodeId: 'n3' }),
    'a knock for QUIC': knock(key, { ...good, transport: 'quic' }),
    'a knock of two minutes ago': knock(key, good, Date.now() - 2 * MINUTE_MS),
    'a knock in two minutes': knock(key, good, Date.now() + 2 * MINUTE_MS),
    'a knock that is cut': [protocol, hex.slice(0, -2)],
    'a knock in upper case': [protocol, hex.toUpperCase().replace(/[0-9]/g, 'A')],
    'noise before a good knock': [protocol, '0'.repeat(40), hex],
  };
  for (const [name, protocols] of Object.entries(strangers)) {
    t.is(await answerTo(t, listener.address, await helloWith(protocols)), 0, name);
  }
  const count = Object.keys(strangers).length;
  t.is(listener.counters.droppedWithoutKnock, count);
  for (const bytes of ['GET / HTTP/1.1\r\n\r\n', Buffer.from('15030100020128', 'hex')]) {
    t.is(await answerTo(t, listener.address, Buffer.from(bytes)), 0);
  }
  t.like(listener.counters, { droppedWithoutKnock: count + 2, tlsErrors: 0, refused: 0 });
  t.deepEqual(listener.refusals, []);
  const dialer = transport(t, await nodeCert('n1'));
  await t.notThrowsAsync(dialer.dial({ ...listener.address, nodeId: 'n2' }));
});

test('a knock is good for one socket, from wherever it is sent again', async (t) => {
  const listener = await listen(t);
  const recorded: Buffer[] = [];
  const address = await between(t, listener.address, (bytes) => recorded.push(bytes));
  const dialer = transport(t, await nodeCert('n1'));
  await dialer.dial({ ...address, nodeId: 'n2' });
  const [hello] = recorded as [Buffer];
  for (const localAddress of [LOOPBACK, '127.0.0.2']) {
    t.is(await answerTo(t, listener.address, hello, localAddress), 0);
  }
  t.like(listener.counters, { droppedReplayedKnock: 2, droppedWithoutKnock: 0, accepted: 1 });
});

test('a dialer of another CA, cluster or secret is hung up on, and is told no more', async (t) => {
  const listener = await listen(t);
  const { ca, ...stolen } = await otherCaCert('n1');
  const secret = SECRETS[0]!;
  const wrong: readonly (readonly [TlsMaterial, Partial<TcpTransportOptions>])[] = [
    [{ ca, ...stolen }, {}],
    [await nodeCert('n1'), { cluster: 'another' }],
    [await nodeCert('n1'), { admission: { secret } }],
  ];
  for (const [tls, options] of wrong) {
    const error = await rejection(transport(t, tls, options).dial(listener.address));
    t.like(error, { code: 'ConnectFailed', side: 'local', retryable: true });
    t.regex(error.message, /silent node/);
  }
  const elsewhere = { ...listener.address, nodeId: 'n3' };
  t.is((await rejection(transport(t, await nodeCert('n1')).dial(elsewhere))).code, 'ConnectFailed');
  t.is(listener.counters.droppedWithoutKnock, 4);
  t.is(listener.counters.accepted, 0);
});

test('with a secret nobody else gets in, and the old one is good beside the new one', async (t) => {
  const listener = await listen(t, { admission: { secret: SECRETS } });
  for (const secret of [SECRETS, SECRETS[0]!, SECRETS[1]!]) {
    const dialer = transport(t, await nodeCert('n1'), { admission: { secret } });
    await t.notThrowsAsync(dialer.dial({ ...listener.address, nodeId: 'n2' }));
  }
  const without = transport(t, await nodeCert('n1'));
  t.is((await rejection(without.dial(listener.address))).code, 'ConnectFailed');
});

test("with `silent: 'off'` everybody is answered, knock or not", async (t) => {
  const listener = await listen(t, { admission: { silent: 'off' } });
  for (const protocols of [[], protocolsWith(undefined), protocolsWith(randomBytes(20))]) {
    t.true((await answerTo(t, listener.address, await helloWith(protocols))) > 0);
  }
  const dialer = transport(t, await nodeCert('n1'), { cluster: 'another' });
  await t.notThrowsAsync(dialer.dial(listener.address));
});

test('new certificates bring new knocks, from the next socket on', async (t) => {
  const [first, other] = [await nodeCert('n2'), await otherCaCert('n2')];
  let material: TlsMaterial = first;
  const listener = await listen(t, { tls: () => material });
  const { ca, ...rest } = await otherCaCert('n1');
  const mine = transport(t, await nodeCert('n1'));
  const theirs = transport(t, { ca: ca + first.ca, ...rest });
  await t.notThrowsAsync(mine.dial(listener.address));
  t.is((await rejection(theirs.dial(listener.address))).code, 'ConnectFailed');
  // Both: what one CA lets in is then refused, or not, by its certificate.
  material = { ...first, ca: first.ca + ca };
  await t.notThrowsAsync(mine.dial(listener.address));
  await t.notThrowsAsync(theirs.dial(listener.address));
  // What cannot be used changes nothing.
  material = { ...first, ca, key: 'no key' };
  await t.notThrowsAsync(theirs.dial(listener.address));
  material = { ...other, ca };
  t.is((await rejection(mine.dial(listener.address))).code, 'ConnectFailed');
});

test('a dialer with two roots knocks by the other one after a dial that nobody answered', async (t) => {
  const pki = await OpensslPki.create();
  t.teardown(() => pki.close());
  const extensions = 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign';
  await pki.certificate({ name: 'A', extensions });
  await pki.certificate({ name: 'A2', key: 'A', subject: '/CN=A', extensions });
  await pki.certificate({ name: 'n1', issuer: 'A', extensions: 'subjectAltName=DNS:n1' });
  await pki.certificate({ name: 'n2', issuer: 'A', extensions: 'subjectAltName=DNS:n2' });
  const material = async (ca: string[], name: string): Promise<TlsMaterial> => ({
    ca: await pki.bundle(ca),
    cert: await pki.bundle([name]),
    key: await pki.key(name),
  });
  const n2 = await material(['A2'], 'n2');
  const listener = await listen(t, { tls: () => n2 });
  const dialer = transport(t, await material(['A', 'A2'], 'n1'));
  t.is((await rejection(dialer.dial(listener.address))).code, 'ConnectFailed');
  await t.notThrowsAsync(dialer.dial(listener.address));
  await t.notThrowsAsync(dialer.dial(listener.address));
});

test('the knock of a ClientHello is the first of its protocols that looks like one', async (t) => {
  const [one, two] = [randomBytes(20), randomBytes(20)];
  const names = ['quicmesh/1', 'x'.repeat(40), one.toString('hex'), two.toString('hex')];
  const hello = await helloWith(names);
  // A record's and a message's header.
  t.deepEqual(knockIn(hello.subarray(9)), one);
  t.is(knockIn((await helloWith(['quicmesh/1'])).subarray(9)), undefined);
});

/** A listening transport, and what it was called with. */
interface TestListener {
  readonly address: SocketAddress;
  readonly counters: TcpTransport['counters'];
  readonly refusals: readonly Refusal[];
}

async function listen(
  t: ExecutionContext,
  options: Partial<TcpTransportOptions> = {},
): Promise<TestListener> {
  const refusals: Refusal[] = [];
  const listening = transport(t, await nodeCert('n2'), options);
  const { address } = await listening.listen({
    host: LOOPBACK,
    port: 0,
    onConnection() {},
    onRefused: (refusal) => refusals.push(refusal),
  });
  return { address, counters: listening.counters, refusals };
}

function transport(
  t: ExecutionContext,
  tls: TlsMaterial,
  options: Partial<TcpTransportOptions> = {},
): TcpTransport {
  const made = new TcpTransport({ tls: () => tls, cluster: CLUSTER, ...options });
  t.teardown(() => made.close());
  return made;
}

function helloWith(protocols: readonly string[]): Promise<Buffer> {
  return recordHello(protocols.length === 0 ? {} : { ALPNProtocols: [...protocols] });
}

/** @returns how many bytes come back before the socket is closed */
async function answerTo(
  t: ExecutionContext,
  to: SocketAddress,
  hello: Buffer,
  localAddress = LOOPBACK,
): Promise<number> {
  const socket = connect({ ...to, localAddress });
  t.teardown(() => socket.destroy());
  socket.on('error', () => {}).once('data', () => socket.destroy());
  socket.write(hello);
  await once(socket, 'close');
  return socket.bytesRead;
}

/** A server that hands everything on. @param seen gets what dialers send */
async function between(
  t: ExecutionContext,
  target: SocketAddress,
  seen: (bytes: Buffer) => void,
): Promise<SocketAddress> {
  const server = createServer((dialer) => {
    const onwards = connect(target);
    dialer.on('data', seen);
    for (const socket of [dialer, onwards]) socket.on('error', () => {});
    dialer.pipe(onwards).pipe(dialer);
    t.teardown(() => onwards.destroy());
  });
  server.listen(0, LOOPBACK);
  t.teardown(() => server.close());
  await once(server, 'listening');
  return { host: LOOPBACK, port: (server.address() as AddressInfo).port };
}

async function rejection(promise: Promise<unknown>): Promise<MeshError> {
  return promise.then(
    () => Promise.reject(new Error('did not reject')),
    (error: MeshError) => error,
  );
}
