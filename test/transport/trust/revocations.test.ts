/** Whatever somebody makes of a certificate that was revoked, it stays revoked. */
import { createHash, X509Certificate } from 'node:crypto';
import test from 'ava';
import type { MeshError } from '../../../src/errors.js';
import type { TlsMaterial } from '../../../src/index.js';
import { TrustStore } from '../../../src/transport/trust/identity.js';
import {
  dnsName,
  ecKey,
  extension,
  type ForgeRequest,
  forge,
  forgeCrl,
  forgeIntermediate,
  forgeRoot,
  integer,
  isCa,
  named,
  names,
  P256_ORDER,
  pemOf,
  type Signer,
  seq,
  tlv,
  twinOfEcdsa,
  usage,
} from '../../helpers/x509-forge.js';

const root = forgeRoot('root');
const key = ecKey();

function leafOf(issuer: Signer, changes: Partial<ForgeRequest> = {}): Buffer {
  const extensions = [names(dnsName('n3'))];
  return forge({ subject: named('n3'), key, extensions, ...changes, issuer });
}

function verdict(
  { ca = root.pem, ...material }: Partial<TlsMaterial>,
  ...chain: readonly Buffer[]
): string {
  const trust = TrustStore.of({ ca, cert: '', key: '', ...material });
  try {
    return trust.verify(chain, 'dialer', Date.now()).nodeIds.join();
  } catch (thrown) {
    return (thrown as MeshError).code;
  }
}

/** Every way in which `tls.revoked` may name a certificate. */
function waysToName(der: Buffer): Record<string, string> {
  const certificate = new X509Certificate(der);
  const spki = certificate.publicKey.export({ type: 'spki', format: 'der' });
  return {
    'SHA-256 fingerprint': certificate.fingerprint256,
    'SHA-1 fingerprint': certificate.fingerprint,
    'serial number': certificate.serialNumber,
    'digest of its key': createHash('sha256').update(spki).digest('hex'),
    'itself, as PEM': certificate.toString(),
  };
}

test('a certificate and its twin are revoked by whatever names one of them', (t) => {
  const leaf = leafOf(root);
  const twin = twinOfEcdsa(leaf, P256_ORDER);
  t.is(verdict({}, leaf), 'n3');
  t.is(verdict({}, twin), 'n3', 'it is as good as the first');
  t.not(new X509Certificate(leaf).fingerprint256, new X509Certificate(twin).fingerprint256);
  t.deepEqual(twinOfEcdsa(twin, P256_ORDER), leaf);
  for (const known of [leaf, twin]) {
    for (const [way, entry] of Object.entries(waysToName(known))) {
      for (const shown of [leaf, twin]) {
        t.is(verdict({ revoked: ['ab', entry] }, shown), 'CertificateRevoked', way);
      }
      t.is(verdict({ revoked: [entry] }, leafOf(root, { key: ecKey() })), 'n3', way);
    }
  }
});

test('a certificate has no other forms', (t) => {
  const leaf = leafOf(root);
  const longer = Buffer.concat([Buffer.from('3083', 'hex'), Buffer.of(0), leaf.subarray(2)]);
  const [, , ...rest] = leaf;
  t.is(leaf[1], 0x82);
  for (const form of [
    longer,
    Buffer.concat([leaf, Buffer.of(0)]),
    Buffer.from([0x30, 0x80, ...rest]),
  ]) {
    t.is(verdict({}, form), 'CertificateInvalid');
  }
  const unused = leafOf(root, { signature: Buffer.alloc(8) });
  t.is(verdict({}, unused), 'CertificateUntrusted');
  unused[unused.length - 9] = 1;
  t.is(verdict({}, unused), 'CertificateInvalid');
});

test('whoever has a key that was revoked gets no new certificate for it', (t) => {
  const stolen = pemOf(leafOf(root));
  t.is(verdict({ revoked: [stolen] }, leafOf(root)), 'CertificateRevoked');
  t.is(verdict({ revoked: [stolen] }, leafOf(root, { key: ecKey() })), 'n3');
  // The same name and number of another CA is another certificate.
  const serial = Buffer.of(0x12, 0x34);
  const other = forgeRoot('other');
  const revoked = [pemOf(leafOf(root, { serial }))];
  const both = { ca: root.pem + other.pem, revoked };
  t.is(verdict(both, leafOf(other, { serial, key: ecKey() })), 'n3');
  t.is(verdict(both, leafOf(root, { serial, key: ecKey() })), 'CertificateRevoked');
});

test('a revoked intermediate is refused, in a bundle of CAs too, by whatever names it', (t) => {
  const serial = Buffer.of(0x12, 0x34);
  const inter = forgeIntermediate(root, 'inter', { serial });
  const leaf = leafOf(inter);
  const crl = pemOf(forgeCrl({ issuer: root, revoked: [serial] }), 'X509 CRL');
  const twin = twinOfEcdsa(inter.der, P256_ORDER);
  for (const ca of [root.pem, root.pem + inter.pem, inter.pem + root.pem]) {
    t.is(verdict({ ca }, leaf, inter.der), 'n3');
    t.is(verdict({ ca, crl }, leaf, inter.der), 'CertificateRevoked');
    t.is(verdict({ ca, crl }, leaf, twin), 'CertificateRevoked');
    for (const [way, entry] of Object.entries(waysToName(inter.der))) {
      for (const shown of [inter.der, twin]) {
        t.is(verdict({ ca, revoked: [entry] }, leaf, shown), 'CertificateRevoked', way);
      }
    }
  }
});

test('a CA that has signed its own name with another key is no root', (t) => {
  // Two keys of one name: the old one has signed the new one's certificate, without key identifiers.
  const renewed = { name: root.name, key: ecKey() };
  const serial = Buffer.of(0x77);
  const request = { subject: root.name, extensions: [isCa(), usage(0x06)], serial };
  const der = forge({ ...request, issuer: root, key: renewed.key });
  const ca = root.pem + pemOf(der);
  const leaf = leafOf(renewed);
  t.is(verdict({ ca }, leaf), 'n3');
  t.is(verdict({ ca, revoked: ['77'] }, leaf), 'CertificateRevoked');
  t.is(verdict({ ca, revoked: [root.pem] }, leafOf(root)), 'n3', 'a root is trusted or removed');
});

test('serial numbers match as numbers, negative ones too', (t) => {
  for (const [listed, shown, isSame] of [
    ['80', '80', true],
    ['ff7f', 'ff7f', true],
    ['0080', '80', false],
    ['80', '0080', false],
    ['0080', '0080', true],
    ['00000001', '01', true],
    ['ffff80', '80', true],
    ['00', '00', true],
  ] as const) {
    const crl = forgeCrl({ issuer: root, revoked: [Buffer.from(listed, 'hex')] });
    const leaf = leafOf(root, { serial: Buffer.from(shown, 'hex') });
    t.is(verdict({ crl }, leaf), isSame ? 'CertificateRevoked' : 'n3', `${listed} and ${shown}`);
  }
  const leaf = leafOf(root, { serial: Buffer.from('ff7f', 'hex') });
  for (const entry of ['-81', '-0081'])
    t.is(verdict({ revoked: [entry] }, leaf), 'CertificateRevoked');
  for (const entry of ['81', 'ff7f']) t.is(verdict({ revoked: [entry] }, leaf), 'n3');
});

test('a CRL of a CA without cRLSign is refused', (t) => {
  const serial = Buffer.of(0x77);
  const leaf = { serial };
  for (const [extensions, isTaken] of [
    [[isCa(), usage(0x06)], true],
    [[isCa()], true],
    [[isCa(), usage(0x04)], false],
  ] as const) {
    const ca = forgeRoot('root', extensions);
    const crl = forgeCrl({ issuer: ca, revoked: [serial] });
    const judge = () => verdict({ ca: ca.pem, crl }, leafOf(ca, leaf));
    if (isTaken) t.is(judge(), 'CertificateRevoked');
    else t.is(t.throws<MeshError>(judge)?.code, 'InvalidOptions');
  }
});

test('a CRL that is not all of what one CA has revoked is refused, critical or not', (t) => {
  const onlyCas = seq(tlv(0x82, Buffer.of(0xff)));
  const kinds: Record<string, readonly [id: string, value: Buffer]> = {
    'a delta': ['551d1b', integer(1n)],
    'of CAs only': ['551d1c', onlyCas],
    'an indirect one': ['551d1c', seq(tlv(0x84, Buffer.of(0xff)))],
    'of one place': ['551d1c', seq()],
  };
  for (const [title, [id, value]] of Object.entries(kinds)) {
    for (const isCritical of [true, false]) {
      const crl = forgeCrl({ issuer: root, extensions: [extension(id, value, isCritical)] });
      const error = t.throws<MeshError>(() => verdict({ crl }, leafOf(root)), undefined, title);
      t.is(error?.code, 'InvalidOptions', title);
    }
  }
  const ofAnother = extension('551d1d', seq(tlv(0xa4, named('another'))));
  const entry = { revoked: [Buffer.of(1)], entryExtensions: [ofAnother] };
  t.throws(() => verdict({ crl: forgeCrl({ issuer: root, ...entry }) }, leafOf(root)));
  // A number and a reason change nothing.
  const crl = forgeCrl({
    issuer: root,
    revoked: [Buffer.of(0x77)],
    entryExtensions: [extension('551d15', Buffer.from('0a0101', 'hex'))],
    extensions: [extension('551d14', integer(7n))],
  });
  t.is(verdict({ crl }, leafOf(root, { serial: Buffer.of(0x77) })), 'CertificateRevoked');
});
