import { execFile } from 'node:child_process';
import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tls from 'node:tls';
import { promisify } from 'node:util';
import quiche from '@matrixai/quic/native/quiche.js';
import test from 'ava';
import { generateDevCerts } from '../../src/certs/index.js';
import { MeshError } from '../../src/errors.js';
import {
  certNamed,
  devCerts,
  expiredCert,
  type NodeCredentials,
  nodeCert,
  notYetValidCert,
  otherCaCert,
  wrongUsageCert,
} from '../helpers/certs.js';
import { type OpensslCertKind, opensslCerts } from '../helpers/openssl-certs.js';

test('a node certificate names the node, is signed by the CA, and serves both ends', async (t) => {
  const { ca, nodes } = await generateDevCerts(['n1', 'db-2.example']);
  const issuer = new X509Certificate(ca);
  for (const [id, { cert, key }] of Object.entries(nodes)) {
    const leaf = new X509Certificate(cert);
    t.is(leaf.subject, `CN=${id}`);
    t.is(leaf.subjectAltName, `DNS:${id}`);
    t.false(leaf.ca);
    t.true(leaf.checkIssued(issuer));
    t.true(leaf.verify(issuer.publicKey));
    t.true(leaf.checkPrivateKey(createPrivateKey(key)));
    t.deepEqual(leaf.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
    t.regex(key, /^-----BEGIN PRIVATE KEY-----/);
  }
});

test('the CA certificate is a CA and signed by itself', async (t) => {
  const { ca, caKey } = await devCerts();
  const cert = new X509Certificate(ca);
  t.true(cert.ca);
  t.true(cert.verify(cert.publicKey));
  t.true(cert.checkPrivateKey(createPrivateKey(caKey)));
});

test('nodes get different keys, and positive serial numbers of 128 bits', async (t) => {
  const { nodes } = await devCerts();
  const certs = Object.values(nodes).map(({ cert }) => new X509Certificate(cert));
  t.is(new Set(certs.map(({ fingerprint256 }) => fingerprint256)).size, 5);
  t.is(new Set(certs.map(({ serialNumber }) => serialNumber)).size, 5);
  for (const { serialNumber } of certs) t.regex(serialNumber, /^[4-7][0-9A-F]{31}$/);
  t.is(new Set(Object.values(nodes).map(({ key }) => key)).size, 5);
});

test('a certificate is valid from a few minutes ago, for a year or the days asked for', async (t) => {
  const before = Date.now();
  const year = (await generateDevCerts(['n1'])).nodes.n1;
  const week = (await generateDevCerts(['n1'], { validityDays: 7 })).nodes.n1;
  const after = Date.now();
  for (const [days, { cert }] of [
    [365, year],
    [7, week],
  ] as const) {
    const { validFrom, validTo } = new X509Certificate(cert);
    t.true(Date.parse(validFrom) <= before - 60_000);
    t.true(Date.parse(validFrom) >= before - 600_000);
    // Certificates have whole seconds.
    t.true(Date.parse(validTo) > before - 1000 + days * 86_400_000);
    t.true(Date.parse(validTo) <= after + days * 86_400_000);
  }
});

test('dates beyond 2049 are written with four digits', async (t) => {
  const notAfter = new Date('2061-05-06T07:08:09Z');
  const { nodes } = await generateDevCerts(['n1'], { notAfter });
  t.is(Date.parse(new X509Certificate(nodes.n1.cert).validTo), notAfter.getTime());
});

test('an existing CA signs, byte for byte under its own name', async (t) => {
  const first = await generateDevCerts(['n1']);
  const second = await generateDevCerts(['n2'], { existing: first });
  t.is(second.ca, first.ca);
  t.is(second.caKey, first.caKey);
  const leaf = new X509Certificate(second.nodes.n2.cert);
  t.true(leaf.checkIssued(new X509Certificate(first.ca)));
});

test('extra hosts become alternative names', async (t) => {
  const extraHosts = ['localhost', '127.0.0.1', '::1', '2001:db8::7:0', '::ffff:10.1.2.3'];
  const { nodes } = await generateDevCerts(['n1'], { extraHosts });
  const cert = new X509Certificate(nodes.n1.cert);
  t.is(cert.checkHost('n1'), 'n1');
  t.is(cert.checkHost('localhost'), 'localhost');
  for (const address of extraHosts.slice(1)) t.is(cert.checkIP(address), address);
  t.is(cert.checkIP('127.0.0.2'), undefined);
});

test('a node id longer than a common name can be is whole in the alternative name', async (t) => {
  const id = `${'a'.repeat(63)}.${'b'.repeat(63)}.c1`;
  const { nodes } = await generateDevCerts([id]);
  t.is(new X509Certificate(nodes[id]!.cert).checkHost(id), id);
});

for (const id of [
  '',
  'n_1',
  'n 1',
  '-n1',
  'n1-',
  'n1.',
  '.n1',
  'a..b',
  '../n1',
  '*.example',
  'nöde',
  'n1\u0000',
  'n1\n',
  '10.0.0.1',
  'a'.repeat(64),
  `${'a.'.repeat(126)}bc`,
]) {
  test(`the node id ${JSON.stringify(id)} is refused`, async (t) => {
    await t.throwsAsync(generateDevCerts([id]), {
      instanceOf: MeshError,
      code: 'InvalidArgument',
      message: /cannot be a node id/,
    });
  });
}

test('node ids that differ in case only are refused, since verifiers take them for one', async (t) => {
  await t.throwsAsync(generateDevCerts(['n1', 'N1']), {
    code: 'InvalidArgument',
    message: /given twice/,
  });
});

test('names of an object prototype are node ids like any other', async (t) => {
  const { nodes } = await generateDevCerts(['constructor']);
  t.deepEqual(Object.keys(nodes), ['constructor']);
  t.false('toString' in nodes);
});

test('options that make no sense are refused', async (t) => {
  const good = await devCerts();
  const other = await generateDevCerts([]);
  const rsa = await opensslCerts({ kind: 'rsa', nodeIds: ['n1'] });
  const past = new Date('2001-01-01T00:00:00Z');
  const refused = { instanceOf: MeshError, code: 'InvalidArgument' };
  for (const options of [
    { validityDays: 0 },
    { validityDays: 1.5 },
    { validityDays: Number.NaN },
    { validityDays: 36_501 },
    { notAfter: past },
    { notAfter: new Date(Number.NaN) },
    { extraHosts: ['not a host'] },
    { extraHosts: ['fe80::1%eth0'] },
    { existing: { ca: 'no PEM', caKey: good.caKey } },
    { existing: { ca: good.ca, caKey: 'no PEM' } },
    { existing: { ca: good.ca, caKey: other.caKey } },
    { existing: { ca: good.nodes.n1.cert, caKey: good.nodes.n1.key } },
    { existing: { ca: rsa.nodes.n1.cert, caKey: rsa.nodes.n1.key } },
  ]) {
    await t.throwsAsync(generateDevCerts(['n1'], options), refused, JSON.stringify(options));
  }
});

test('every public key is embedded as it is, also one that looks like nested ASN.1', async (t) => {
  // 04 3f … reads as an OCTET STRING of 63 bytes, which is what follows in an uncompressed point.
  const { ca, caKey } = await devCerts();
  for (let made = 0; made < 4096; made += 64) {
    const ids = Array.from({ length: 64 }, (_, index) => `n${index}`);
    const { nodes } = await generateDevCerts(ids, { existing: { ca, caKey } });
    for (const { cert, key } of Object.values(nodes)) {
      const spki = createPublicKey(key).export({ type: 'spki', format: 'der' });
      if (spki.at(-64) !== 0x3f) continue;
      const embedded = new X509Certificate(cert).publicKey.export({ type: 'spki', format: 'der' });
      t.deepEqual(embedded, spki);
      return;
    }
  }
  t.fail('one key in 256 begins like that, and none of 4096 did');
});

test('openssl verifies the chain strictly, for server and for client', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'quicmesh-certs-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const { ca, cert } = await nodeCert('n1');
  await writeFile(join(directory, 'ca.pem'), ca);
  await writeFile(join(directory, 'n1.pem'), cert);
  for (const purpose of ['sslserver', 'sslclient']) {
    const trust = ['-x509_strict', '-CAfile', 'ca.pem', '-purpose', purpose];
    const { stdout } = await promisify(execFile)('openssl', ['verify', ...trust, 'n1.pem'], {
      cwd: directory,
    });
    t.is(stdout.trim(), 'n1.pem: OK');
  }
});

test('two nodes with dev certificates trust each other over TLS 1.3', async (t) => {
  const verdict = await shakeHandsOverTls(await nodeCert('n1'), await nodeCert('n2'), 'n1');
  t.deepEqual(verdict, { protocol: 'TLSv1.3', client: 'trusted', server: 'trusted' });
});

test('two nodes with dev certificates trust each other over QUIC', async (t) => {
  const [n1, n2] = await Promise.all([nodeCert('n1'), nodeCert('n2')]);
  t.notThrows(() => shakeHandsOverQuic(n1, n2, 'n1'));
});

for (const kind of ['ecdsa', 'rsa', 'chain'] as const satisfies readonly OpensslCertKind[]) {
  test(`${kind} certificates made by openssl work over TLS 1.3 and over QUIC`, async (t) => {
    const { ca, nodes } = await opensslCerts({ kind, nodeIds: ['n1', 'n2'] });
    const certsPerFile = kind === 'chain' ? 2 : 1;
    t.is(nodes.n1.cert.split('BEGIN CERTIFICATE').length - 1, certsPerFile);
    const [n1, n2] = [
      { ca, ...nodes.n1 },
      { ca, ...nodes.n2 },
    ];
    const verdict = await shakeHandsOverTls(n1, n2, 'n1');
    t.deepEqual(verdict, { protocol: 'TLSv1.3', client: 'trusted', server: 'trusted' });
    t.notThrows(() => shakeHandsOverQuic(n1, n2, 'n1'));
  });
}

const BAD_CERTS = [
  { title: 'of another CA', make: otherCaCert, code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' },
  { title: 'that has expired', make: expiredCert, code: 'CERT_HAS_EXPIRED' },
  { title: 'that is not yet valid', make: notYetValidCert, code: 'CERT_NOT_YET_VALID' },
  { title: 'for another usage', make: wrongUsageCert, code: 'INVALID_PURPOSE' },
] as const;

for (const { title, make, code } of BAD_CERTS) {
  test(`a certificate ${title} is refused at both ends, over TLS and over QUIC`, async (t) => {
    const { ca } = await devCerts();
    const bad = { ...(await make('n1')), ca };
    const good = await nodeCert('n2');
    t.like(await shakeHandsOverTls(bad, good, 'n1'), { client: code, server: 'trusted' });
    t.like(await shakeHandsOverTls(good, bad, 'n2'), { client: 'trusted', server: code });
    t.throws(() => shakeHandsOverQuic(bad, good, 'n1'), { message: 'TlsFail' });
    t.throws(() => shakeHandsOverQuic(good, bad, 'n2'), { message: 'TlsFail' });
  });
}

test('a certificate with another name is refused by the one who dials', async (t) => {
  const wrong = await certNamed('n9');
  const verdict = await shakeHandsOverTls(wrong, await nodeCert('n2'), 'n1');
  t.like(verdict, { client: 'ERR_TLS_CERT_ALTNAME_INVALID', server: 'trusted' });
  const n2 = await nodeCert('n2');
  t.throws(() => shakeHandsOverQuic(wrong, n2, 'n1'), { message: 'TlsFail' });
});

interface TlsVerdict {
  readonly protocol: string | null;
  /** What the dialling side thinks of the server: `trusted`, or the code of what is wrong. */
  readonly client: string;
  /** What the listening side thinks of the client. */
  readonly server: string;
}

/** A mutual handshake over loopback in which both sides go on, whatever they find, and say what they found. */
async function shakeHandsOverTls(
  server: NodeCredentials,
  client: NodeCredentials,
  servername: string,
): Promise<TlsVerdict> {
  const common = { minVersion: 'TLSv1.3', rejectUnauthorized: false } as const;
  const listener = tls.createServer({ ...common, ...server, requestCert: true });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as AddressInfo;
  const socket = tls.connect({ ...common, ...client, host: '127.0.0.1', port, servername });
  try {
    const accepted = once(listener, 'secureConnection') as Promise<[tls.TLSSocket]>;
    const [[peer]] = await Promise.all([accepted, once(socket, 'secureConnect')]);
    const protocol = socket.getProtocol();
    const verdict = { protocol, client: verdictOf(socket), server: verdictOf(peer) };
    peer.destroy();
    return verdict;
  } finally {
    socket.destroy();
    listener.close();
    await once(listener, 'close');
  }
}

/** What Node's types call an Error is the code alone, or an error with one. */
function verdictOf(socket: tls.TLSSocket): string {
  if (socket.authorized) return 'trusted';
  const error: unknown = socket.authorizationError;
  return error instanceof Error ? error.message : String(error);
}

/** A mutual handshake in memory between two of BoringSSL's connections; throws what the side that refuses throws. */
function shakeHandsOverQuic(
  server: NodeCredentials,
  client: NodeCredentials,
  servername: string,
): void {
  const [near, far] = [
    { host: '127.0.0.1', port: 1111 },
    { host: '127.0.0.1', port: 2222 },
  ];
  const dialled = quiche.Connection.connect(
    servername,
    Buffer.alloc(16, 1),
    near,
    far,
    quicConfig(client),
  );
  const accepted = quiche.Connection.accept(
    Buffer.alloc(16, 2),
    null,
    far,
    near,
    quicConfig(server),
  );
  // Three flights suffice; what is left over after ten is stuck.
  for (let round = 0; round < 10; round += 1) {
    deliver(dialled, accepted);
    deliver(accepted, dialled);
  }
  for (const connection of [dialled, accepted]) {
    if (!connection.isEstablished()) throw new Error('the handshake did not end');
    if (connection.localError() !== null) throw new Error('the connection was closed');
  }
}

type QuicConnection = ReturnType<typeof quiche.Connection.connect>;

function deliver(from: QuicConnection, to: QuicConnection): void {
  for (;;) {
    const packet = Buffer.alloc(1350);
    const sent = from.send(packet);
    if (sent === null) return;
    to.recv(packet.subarray(0, sent[0]), { from: sent[1].from, to: sent[1].to });
  }
}

function quicConfig({ ca, cert, key }: NodeCredentials) {
  const config = quiche.Config.withBoringSslCtx(
    true,
    false,
    Buffer.from(ca),
    [Buffer.from(key)],
    [Buffer.from(cert)],
    null,
  );
  config.setApplicationProtos(['test']);
  config.setMaxIdleTimeout(5000);
  return config;
}
