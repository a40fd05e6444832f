/** CRLs as openssl makes them: what they revoke, and which are not taken at all. */
import { randomInt } from 'node:crypto';
import { Writable } from 'node:stream';
import test from 'ava';
import { pino } from 'pino';
import { generateDevCerts } from '../../../src/certs/index.js';
import { createNode, MeshError, type TlsMaterial } from '../../../src/index.js';
import { TrustStore } from '../../../src/transport/trust/identity.js';
import { parsePem } from '../../../src/transport/trust/pem.js';
import { devCerts, nodeCert } from '../../helpers/certs.js';
import { thrownBy } from '../../helpers/frame-client.js';
import { opensslCerts } from '../../helpers/openssl-certs.js';
import { hoursFromNow, opensslCrl } from '../../helpers/openssl-crls.js';

/** Whether a node with that material takes the certificate. */
function verdict(material: TlsMaterial, { cert }: { readonly cert: string }): string {
  const chain = parsePem(cert).map(({ raw }) => raw);
  try {
    TrustStore.of(material).verify(chain, 'dialer', Date.now());
    return 'taken';
  } catch (thrown) {
    return (thrown as MeshError).code;
  }
}

test('a CRL revokes what it lists and nothing else, as PEM and as DER', async (t) => {
  const { ca, caKey, nodes } = await devCerts();
  const { pem, der } = await opensslCrl({ ca, caKey, revoked: [nodes.n1.cert, nodes.n3.cert] });
  const none = await opensslCrl({ ca, caKey });
  for (const crl of [pem, der, [pem], [der], `words\n${pem}`]) {
    const material = { ca, ...nodes.n2, crl };
    t.is(verdict(material, nodes.n1), 'CertificateRevoked');
    t.is(verdict(material, nodes.n3), 'CertificateRevoked');
    t.is(verdict(material, nodes.n2), 'taken');
  }
  for (const crl of [none.pem, none.der, []]) {
    t.is(verdict({ ca, ...nodes.n2, crl }, nodes.n1), 'taken');
  }
});

test('CRLs of version 2, of RSA and ECDSA keys and of every digest of the SHA-2 family are read', async (t) => {
  for (const kind of ['rsa', 'ecdsa'] as const) {
    const { ca, caKey, nodes } = await opensslCerts({ kind, nodeIds: ['n1', 'n2'] });
    for (const digest of ['sha256', 'sha384', 'sha512'] as const) {
      const extensions = 'authorityKeyIdentifier=keyid:always';
      const revoked = [nodes.n1.cert];
      const { pem: crl } = await opensslCrl({ ca, caKey, digest, extensions, revoked });
      t.is(verdict({ ca, ...nodes.n2, crl }, nodes.n1), 'CertificateRevoked', `${kind} ${digest}`);
      t.is(verdict({ ca, ...nodes.n2, crl }, nodes.n2), 'taken', `${kind} ${digest}`);
    }
  }
});

test('CRLs signed by RSA with PSS are read', async (t) => {
  const { ca, caKey, nodes } = await opensslCerts({ kind: 'rsa', nodeIds: ['n1', 'n2'] });
  for (const digest of ['sha256', 'sha384', 'sha512'] as const) {
    const { pem: crl } = await opensslCrl({
      ca,
      caKey,
      digest,
      pss: true,
      revoked: [nodes.n1.cert],
    });
    t.is(verdict({ ca, ...nodes.n2, crl }, nodes.n1), 'CertificateRevoked', digest);
    t.is(verdict({ ca, ...nodes.n2, crl }, nodes.n2), 'taken', digest);
  }
  const { pem: crl } = await opensslCrl({ ca, caKey, digest: 'sha1', pss: true });
  t.is(thrownBy(() => TrustStore.of({ ca, ...nodes.n2, crl })).code, 'InvalidOptions');
});

test('an intermediate CA has a CRL of its own, and may be on that of its root', async (t) => {
  const { ca, caKey, issuer, nodes } = await opensslCerts({ kind: 'chain', nodeIds: ['n1', 'n2'] });
  const ofIntermediate = await opensslCrl({ ...issuer, revoked: [nodes.n1.cert] });
  t.is(verdict({ ca, ...nodes.n2, crl: ofIntermediate.pem }, nodes.n1), 'CertificateRevoked');
  t.is(verdict({ ca, ...nodes.n2, crl: ofIntermediate.pem }, nodes.n2), 'taken');
  const ofRoot = await opensslCrl({ ca, caKey, revoked: [issuer.ca] });
  const both = [ofIntermediate.pem, ofRoot.der];
  t.is(verdict({ ca, ...nodes.n2, crl: both }, nodes.n2), 'CertificateRevoked');
});

test("a CA revokes no other CA's certificates", async (t) => {
  const [ours, other] = [await devCerts(), await generateDevCerts(['n1'])];
  const { pem: crl } = await opensslCrl({ ...ours, revoked: [other.nodes.n1.cert] });
  t.is(verdict({ ...ours.nodes.n2, ca: ours.ca + other.ca, crl }, other.nodes.n1), 'taken');
});

test('of several CRLs of one CA the newest holds', async (t) => {
  const { ca, caKey, nodes } = await devCerts();
  const old = await opensslCrl({
    ...{ ca, caKey, revoked: [nodes.n1.cert] },
    lastUpdate: hoursFromNow(-5),
  });
  const fresh = await opensslCrl({ ca, caKey, revoked: [nodes.n3.cert] });
  for (const crl of [old.pem + fresh.pem, [fresh.der, old.der]]) {
    t.is(verdict({ ca, ...nodes.n2, crl }, nodes.n1), 'taken');
    t.is(verdict({ ca, ...nodes.n2, crl }, nodes.n3), 'CertificateRevoked');
  }
});

test('a CRL that is out of date revokes all the same, and a line of the log says so', async (t) => {
  const { ca, caKey, nodes } = await devCerts();
  const { pem: crl } = await opensslCrl({
    ...{ ca, caKey, revoked: [nodes.n1.cert] },
    lastUpdate: hoursFromNow(-5),
    nextUpdate: hoursFromNow(-1),
  });
  const tls = { ca, ...nodes.n2, crl };
  t.is(verdict(tls, nodes.n1), 'CertificateRevoked');
  const lines: string[] = [];
  const stream = new Writable({
    write(line, _encoding, done) {
      lines.push(String(line));
      done();
    },
  });
  const logger = pino({ level: 'warn' }, stream);
  const node = await createNode({ nodeId: 'n2', cluster: 'test', tls: () => tls, logger });
  t.teardown(() => node.close());
  await node.reloadTls();
  const told = lines.filter((line) => line.includes('a CRL is out of date'));
  t.is(told.length, 2);
  t.regex(told[0] as string, /quicmesh development CA/);
});

test('a CRL that is not to be used is InvalidOptions', async (t) => {
  const { ca, caKey, nodes } = await devCerts();
  const other = await generateDevCerts(['n1']);
  const good = await opensslCrl({ ca, caKey, revoked: [nodes.n1.cert] });
  const changed = Buffer.from(good.der);
  const at = good.der.indexOf(parsePem(nodes.n1.cert)[0]?.serialNumber ?? '', 'hex');
  t.true(at > 0);
  changed[at + 1] = (changed[at + 1] as number) ^ 1;
  const idp = 'issuingDistributionPoint=critical,@idp\n[idp]\nonlyuser=TRUE';
  const bad: Record<string, NonNullable<TlsMaterial['crl']>> = {
    'of another CA': (await opensslCrl({ ...other })).pem,
    'of the right name and another key': (await opensslCrl({ ca: other.ca, caKey: other.caKey }))
      .der,
    'changed after it was signed': changed,
    'of a part of the certificates': (await opensslCrl({ ca, caKey, extensions: idp })).pem,
    'with SHA-1': (await opensslCrl({ ca, caKey, digest: 'sha1' })).pem,
    'of the future': (await opensslCrl({ ca, caKey, lastUpdate: hoursFromNow(1) })).pem,
    'no PEM': 'no CRL',
    'an empty text': '',
    'a certificate': ca,
    'no bytes': Buffer.alloc(0),
    garbage: Buffer.from('garbage'),
    'with something behind': Buffer.concat([good.der, Buffer.from([0])]),
    'one good and one bad': [good.der, good.der.subarray(0, 100)],
    'too many': Array.from({ length: 257 }, () => good.der),
    'larger than any': Buffer.alloc(32 * 1024 * 1024 + 1),
  };
  for (const [title, crl] of Object.entries(bad)) {
    const error = thrownBy(() => TrustStore.of({ ca, ...nodes.n2, crl }));
    t.is(error.code, 'InvalidOptions', title);
    t.regex(error.message, /^tls\.crl /, title);
  }
  const options = { nodeId: 'n2', cluster: 'test', logger: 'silent' } as const;
  const tls = { ...(await nodeCert('n2')), crl: 'no CRL' };
  t.like(await t.throwsAsync(createNode({ ...options, tls })), { code: 'InvalidOptions' });
  const wrong = { ...tls, crl: 7 } as unknown as TlsMaterial;
  t.like(await t.throwsAsync(createNode({ ...options, tls: wrong })), { code: 'InvalidOptions' });
});

test('bytes of a CRL that were changed at random are refused, and never anything else', async (t) => {
  const { ca, caKey, nodes } = await devCerts();
  const { der } = await opensslCrl({ ca, caKey, revoked: [nodes.n1.cert] });
  for (let round = 0; round < 2000; round += 1) {
    const [at, value] = [randomInt(der.length), randomInt(256)];
    const crl = Buffer.from(der);
    crl[at] = value;
    const what = `byte ${at} as ${value} (${der.toString('base64')})`;
    try {
      TrustStore.of({ ca, ...nodes.n2, crl });
      t.is(der[at], value, what);
    } catch (thrown) {
      t.true(thrown instanceof MeshError && thrown.code === 'InvalidOptions', what);
    }
  }
});
