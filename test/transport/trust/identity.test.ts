import { createPrivateKey, X509Certificate } from 'node:crypto';
import test from 'ava';
import { generateDevCerts } from '../../../src/certs/index.js';
import { issueLeafCert } from '../../../src/certs/x509.js';
import { checkNodeId, TrustStore } from '../../../src/transport/trust/identity.js';
import { parsePem } from '../../../src/transport/trust/pem.js';
import { CA, CA_WITH_IDS, LEAF } from '../../helpers/certificate-cases.js';
import {
  certSpelled,
  devCerts,
  nodeCert,
  otherCaCert,
  wrongUsageCert,
} from '../../helpers/certs.js';
import { thrownBy } from '../../helpers/frame-client.js';
import { opensslCerts } from '../../helpers/openssl-certs.js';
import { OpensslPki } from '../../helpers/openssl-pki.js';

const DAY_MS = 24 * 60 * 60 * 1000;

/** The certificates of a PEM text as TLS delivers them. */
function der(pem: string): Buffer[] {
  return parsePem(pem).map(({ raw }) => raw);
}

test("a certificate of the CA proves its owner's names", async (t) => {
  const { ca, cert } = await nodeCert('n1');
  const leaf = new X509Certificate(cert);
  for (const role of ['dialer', 'acceptor'] as const) {
    const identity = new TrustStore(ca).verify(der(cert), role, Date.now());
    t.deepEqual(identity.nodeIds, ['n1']);
    t.is(identity.fingerprint256, leaf.fingerprint256);
    t.is(identity.validToMs, Date.parse(leaf.validTo));
  }
});

test('an identity may claim its own names only, in any case', async (t) => {
  const { ca, nodes } = await generateDevCerts(['n1'], {
    extraHosts: ['Db-1.Example', '10.0.0.1'],
  });
  const identity = new TrustStore(ca).verify(der(nodes.n1.cert), 'dialer', Date.now());
  for (const name of ['n1', 'N1', 'db-1.example']) t.notThrows(() => checkNodeId(identity, name));
  for (const name of ['n2', 'n', 'n1.example', 'example', '', '10.0.0.1', '*']) {
    t.is(thrownBy(() => checkNodeId(identity, name)).code, 'CertificateNameMismatch', name);
  }
});

test('a name that is no node id identifies nobody, and does no harm to the others', async (t) => {
  const odd = [
    '*',
    '*.n1',
    '',
    'n1 ',
    'n1.',
    'n1\0.evil',
    'x, DNS:n9',
    '010.0.0.1',
    '\u212a1',
    'n_1',
  ];
  const identityOf = async (...names: [string, ...string[]]) => {
    const { ca, cert } = await certSpelled(...names);
    return new TrustStore(ca).verify(der(cert), 'dialer', Date.now());
  };
  for (const name of odd) {
    const identity = await identityOf(name);
    t.deepEqual(identity.nodeIds, [], name);
    for (const claimed of [name, 'n1', 'n9', 'k1']) {
      t.is(thrownBy(() => checkNodeId(identity, claimed)).code, 'CertificateNameMismatch');
    }
  }
  const { nodeIds } = await identityOf('N1', ...odd, 'Db-1.Example', 'n1');
  t.deepEqual(nodeIds, ['n1', 'db-1.example']);
});

test('an IPv4 address that is given as a DNS name identifies nobody', async (t) => {
  const pki = await OpensslPki.create();
  t.teardown(() => pki.close());
  const root = await pki.certificate({ name: 'root', extensions: CA_WITH_IDS });
  const extensions = 'subjectAltName = DNS:10.0.0.1, DNS:n1';
  const leaf = await pki.certificate({ name: 'leaf', issuer: 'root', extensions });
  const identity = new TrustStore(root).verify(der(leaf), 'dialer', Date.now());
  t.deepEqual(identity.nodeIds, ['n1']);
});

test('of several roots, any will do', async (t) => {
  const [ours, other] = await Promise.all([nodeCert('n1'), otherCaCert('n2')]);
  const trust = new TrustStore(`${ours.ca}\nsome words in between\n${other.ca}`);
  t.deepEqual(trust.verify(der(ours.cert), 'dialer', Date.now()).nodeIds, ['n1']);
  t.deepEqual(trust.verify(der(other.cert), 'dialer', Date.now()).nodeIds, ['n2']);
});

test('a certificate of another CA is not trusted, even if its CA comes along', async (t) => {
  const [{ ca }, other] = await Promise.all([nodeCert('n1'), otherCaCert('n1')]);
  const trust = new TrustStore(ca);
  for (const chain of [der(other.cert), [...der(other.cert), ...der(other.ca)]]) {
    const error = thrownBy(() => trust.verify(chain, 'dialer', Date.now()));
    t.is(error.code, 'CertificateUntrusted');
  }
});

test('a certificate leads to the root over intermediates, in any order, and not without', async (t) => {
  const { ca, nodes } = await opensslCerts({ kind: 'chain', nodeIds: ['n1', 'n2'] });
  const trust = new TrustStore(ca);
  const [leaf, intermediate] = der(nodes.n1.cert) as [Buffer, Buffer];
  const [otherLeaf] = der(nodes.n2.cert) as [Buffer];
  const [root] = der(ca) as [Buffer];
  for (const chain of [
    [leaf, intermediate],
    [leaf, intermediate, root],
    [leaf, root, otherLeaf, intermediate],
  ]) {
    t.deepEqual(trust.verify(chain, 'acceptor', Date.now()).nodeIds, ['n1']);
  }
  for (const chain of [[leaf], [leaf, otherLeaf], [leaf, leaf, leaf]]) {
    const error = thrownBy(() => trust.verify(chain, 'acceptor', Date.now()));
    t.is(error.code, 'CertificateUntrusted');
  }
});

test('a node cannot issue certificates for others', async (t) => {
  const { ca, nodes } = await devCerts();
  // Signed by n2's key, which the CA has certified, but not as a CA.
  const issuer = {
    cert: new X509Certificate(nodes.n2.cert),
    key: createPrivateKey(nodes.n2.key),
  };
  const validity = {
    notBefore: new Date(Date.now() - DAY_MS),
    notAfter: new Date(Date.now() + DAY_MS),
  };
  const forged = issueLeafCert({ issuer, key: nodes.n2.key, names: ['n1'], validity });
  const chain = [...der(forged), ...der(nodes.n2.cert)];
  const error = thrownBy(() => new TrustStore(ca).verify(chain, 'dialer', Date.now()));
  t.is(error.code, 'CertificateUntrusted');
});

test('dates are held against the time that is given', async (t) => {
  const { ca, cert } = await nodeCert('n1');
  const trust = new TrustStore(ca);
  const { validFrom, validTo } = new X509Certificate(cert);
  const [fromMs, toMs] = [Date.parse(validFrom), Date.parse(validTo)];
  const verify = (nowMs: number) => () => trust.verify(der(cert), 'dialer', nowMs);
  t.notThrows(verify(Math.max(fromMs, Date.now())));
  t.notThrows(verify(toMs));
  t.is(thrownBy(verify(toMs + 1)).code, 'CertificateExpired');
  t.is(thrownBy(verify(fromMs - 1)).code, 'CertificateNotYetValid');
});

test('a chain that is known is held against time, usage and revocation all the same', async (t) => {
  const { ca, cert } = await nodeCert('n1');
  const [leaf] = parsePem(cert) as [X509Certificate];
  const trust = new TrustStore(ca);
  const identity = trust.verify(der(cert), 'dialer', Date.now());
  t.is(trust.verify(der(cert), 'acceptor', Date.now()), identity);
  const codeAt = (nowMs: number) => thrownBy(() => trust.verify(der(cert), 'dialer', nowMs)).code;
  t.is(codeAt(Date.parse(leaf.validTo) + 1000), 'CertificateExpired');
  t.is(codeAt(Date.parse(leaf.validFrom) - 1000), 'CertificateNotYetValid');
  t.is(trust.verify(der(cert), 'dialer', Date.now()), identity);
  const later = new TrustStore(ca, [leaf.serialNumber]);
  t.is(thrownBy(() => later.verify(der(cert), 'dialer', Date.now())).code, 'CertificateRevoked');
  const wrong = await wrongUsageCert('n1');
  for (let time = 0; time < 2; time += 1) {
    const error = thrownBy(() => trust.verify(der(wrong.cert), 'dialer', Date.now()));
    t.is(error.code, 'CertificateUsage');
  }
});

test("an intermediate's and a root's dates count too", async (t) => {
  const { ca, nodes } = await generateDevCerts(['n1'], { notAfter: new Date('2099-01-01') });
  const { validTo } = new X509Certificate(ca);
  t.true(Date.parse(validTo) < Date.parse('2099-01-01'));
  const verify = () =>
    new TrustStore(ca).verify(der(nodes.n1.cert), 'dialer', Date.parse(validTo) + DAY_MS);
  t.is(thrownBy(verify).code, 'CertificateExpired');
});

test('a certificate for something else than TLS is refused to both roles', async (t) => {
  const { ca, cert } = await wrongUsageCert('n1');
  for (const role of ['dialer', 'acceptor'] as const) {
    const error = thrownBy(() => new TrustStore(ca).verify(der(cert), role, Date.now()));
    t.is(error.code, 'CertificateUsage');
  }
});

test('no certificate, and one that cannot be read, are told apart', async (t) => {
  const { ca, cert } = await nodeCert('n1');
  const trust = new TrustStore(ca);
  const [leaf] = der(cert) as [Buffer];
  const codeOf = (chain: Buffer[]) =>
    thrownBy(() => trust.verify(chain, 'dialer', Date.now())).code;
  t.is(codeOf([]), 'CertificateRequired');
  for (const garbage of [Buffer.alloc(0), Buffer.from('garbage'), leaf.subarray(0, 100)]) {
    t.is(codeOf([garbage]), 'CertificateInvalid');
    t.notThrows(() => trust.verify([leaf, garbage], 'dialer', Date.now()));
  }
});

test('a certificate that was changed after it was signed is not trusted', async (t) => {
  const { ca, cert } = await nodeCert('n1');
  const [leaf] = der(cert) as [Buffer];
  const forged = Buffer.from(leaf);
  // The name, which stands as the subject and as the alternative name.
  for (let at = forged.indexOf('n1'); at >= 0; at = forged.indexOf('n1')) forged.write('n2', at);
  const error = thrownBy(() => new TrustStore(ca).verify([forged], 'dialer', Date.now()));
  t.is(error.code, 'CertificateUntrusted');
});

test('roots that are no certificates are InvalidOptions', (t) => {
  const broken = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----';
  for (const pem of ['', 'no PEM', broken]) {
    t.is(thrownBy(() => new TrustStore(pem)).code, 'InvalidOptions');
  }
});

test('a revoked certificate is refused, and so is what leads over a revoked intermediate', async (t) => {
  const { ca, nodes } = await opensslCerts({ kind: 'chain', nodeIds: ['n1', 'n2'] });
  const [leaf, intermediate] = parsePem(nodes.n1.cert) as [X509Certificate, X509Certificate];
  const codeOf = (revoked: readonly string[], node: 'n1' | 'n2') => {
    const trust = new TrustStore(ca, revoked);
    return thrownBy(() => trust.verify(der(nodes[node].cert), 'dialer', Date.now())).code;
  };
  const ids = [
    leaf.fingerprint256,
    leaf.fingerprint256.replaceAll(':', '').toLowerCase(),
    leaf.serialNumber,
    `00${leaf.serialNumber.toLowerCase()}`,
    leaf.serialNumber.replaceAll(/(..)(?=.)/g, '$1:'),
  ];
  for (const id of ids) {
    t.is(codeOf(['ab', id], 'n1'), 'CertificateRevoked', id);
    t.notThrows(() => new TrustStore(ca, [id]).verify(der(nodes.n2.cert), 'dialer', Date.now()));
  }
  for (const node of ['n1', 'n2'] as const) {
    t.is(codeOf([intermediate.fingerprint256], node), 'CertificateRevoked');
  }
});

test('a CA that shows its own certificate can be revoked, too', async (t) => {
  const pki = await OpensslPki.create();
  t.teardown(() => pki.close());
  const extensions = `${CA}, digitalSignature\nsubjectAltName = DNS:peer`;
  const pem = await pki.certificate({ name: 'own', extensions });
  const [leaf] = parsePem(pem) as [X509Certificate];
  const verify = (revoked: readonly string[]) => () =>
    new TrustStore(pem, revoked).verify(der(pem), 'dialer', Date.now());
  t.notThrows(verify(['ab']));
  for (const id of [leaf.fingerprint256, leaf.serialNumber]) {
    t.is(thrownBy(verify([id])).code, 'CertificateRevoked');
  }
});

test('what is no hex revokes nothing, and is an error', async (t) => {
  const { ca } = await nodeCert('n1');
  for (const text of ['', 'n1', '0x12', 'ab-cd']) {
    t.is(thrownBy(() => new TrustStore(ca, [text])).code, 'InvalidOptions', text);
  }
});

test('a signature of SHA-1, and one of PSS that does not say its digest, prove nothing', async (t) => {
  const pki = await OpensslPki.create();
  t.teardown(() => pki.close());
  const root = await pki.certificate({ name: 'root', kind: 'rsa', extensions: CA_WITH_IDS });
  for (const pss of [false, true]) {
    for (const digest of ['sha1', 'sha256'] as const) {
      const name = `leaf-${digest}-${pss}`;
      const request = { name, key: 'leaf', issuer: 'root', extensions: LEAF };
      const leaf = await pki.certificate({ ...request, digest, pss });
      const verify = () => new TrustStore(root).verify(der(leaf), 'dialer', Date.now());
      const { isOk } = await pki.verify(['root'], [name], 'sslclient');
      t.is(isOk, digest === 'sha256');
      if (isOk) t.notThrows(verify, name);
      else t.is(thrownBy(verify).code, 'CertificateInvalid', name);
    }
  }
});

test('a chain that forks at every step is given up soon, or led to its root', async (t) => {
  const pki = await OpensslPki.create();
  t.teardown(() => pki.close());
  const subject = '/CN=maze';
  await pki.certificate({ name: 'root', extensions: CA_WITH_IDS });
  const other = await pki.certificate({ name: 'other', extensions: CA_WITH_IDS });
  await pki.certificate({ name: 'maze', subject, issuer: 'other', extensions: CA });
  // All of one name and one key: each has signed every other, and itself.
  const names = Array.from({ length: 13 }, (_, at) => `maze-${at}`);
  for (const name of names) {
    await pki.certificate({ name, key: 'maze', subject, issuer: 'maze', extensions: CA });
  }
  await pki.certificate({ name: 'way-out', key: 'maze', subject, issuer: 'root', extensions: CA });
  const leaf = await pki.certificate({ name: 'leaf', issuer: 'maze', extensions: LEAF });
  const maze = await pki.bundle(names);
  const trust = new TrustStore(await pki.bundle(['root']));
  const chain = [...der(leaf), ...der(maze), ...der(other)];
  const error = thrownBy(() => trust.verify(chain, 'dialer', Date.now()));
  t.is(error.code, 'CertificateUntrusted');
  const withWay = [...der(leaf), ...der(await pki.bundle(['way-out'])), ...der(maze)];
  t.deepEqual(trust.verify(withWay, 'dialer', Date.now()).nodeIds, ['peer']);
});

test('what is not a certificate as RFC 5280 has it leads nowhere, and takes no other along', async (t) => {
  const { ca, nodes } = await opensslCerts({ kind: 'chain', nodeIds: ['n1'] });
  const pki = await OpensslPki.create();
  t.teardown(() => pki.close());
  // A path length is a number of certificates.
  const odd = await pki.certificate({
    name: 'odd',
    extensions: '2.5.29.19 = DER:30:06:01:01:ff:02:01:ff',
  });
  const chain = [...der(nodes.n1.cert), ...der(odd)];
  t.notThrows(() => new TrustStore(ca).verify(chain, 'dialer', Date.now()));
  t.is(
    thrownBy(() => new TrustStore(ca).verify(der(odd), 'dialer', Date.now())).code,
    'CertificateInvalid',
  );
  t.is(thrownBy(() => new TrustStore(odd)).code, 'InvalidOptions');
});

test('what is kept of a chain leads to its root again, whatever came with it', async (t) => {
  const { ca, nodes } = await opensslCerts({ kind: 'chain', nodeIds: ['n1'] });
  const [leaf, intermediate] = der(nodes.n1.cert) as [Buffer, Buffer];
  const others = await Promise.all(
    Array.from({ length: 13 }, async () => der((await otherCaCert('n2')).ca)),
  );
  const chain = [leaf, ...others.flat(), intermediate];
  const { chain: kept } = new TrustStore(ca).verify(chain, 'dialer', Date.now());
  t.deepEqual(new TrustStore(ca).verify(kept, 'dialer', Date.now()).nodeIds, ['n1']);
  const tooMany = [leaf, ...others.flat(), ...der((await otherCaCert('n3')).ca), intermediate];
  t.notThrows(() => new TrustStore(ca).verify(tooMany, 'dialer', Date.now()));
  tooMany.splice(1, 0, ...der((await otherCaCert('n4')).ca));
  const error = thrownBy(() => new TrustStore(ca).verify(tooMany, 'dialer', Date.now()));
  t.is(error.code, 'CertificateUntrusted');
});
