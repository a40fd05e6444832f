/** Who a peer says it is, below the handshake: certificates, ALPN, kept sessions. */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { makeKey, resolveValidity } from '../../../src/certs/dev-certs.js';
import { issueLeafCert } from '../../../src/certs/x509.js';
import type { MeshErrorCode } from '../../../src/errors.js';
import type { TlsMaterial } from '../../../src/transport/connection.js';
import { readCertificate } from '../../../src/transport/trust/certificate-fields.js';
import {
  certNamed,
  devCerts,
  expiredCert,
  nodeCert,
  notYetValidCert,
  otherCaCert,
  wrongUsageCert,
} from '../../helpers/certs.js';
import {
  CA_EXTENSIONS,
  dnsName,
  ecKey,
  extension,
  type ForgeRequest,
  forge,
  keyPemOf,
  named,
  names,
  P256_ORDER,
  pemOf,
  rsaKey,
  type Signer,
  Signing,
  seq,
  slowKey,
  tlv,
  twinOfEcdsa,
} from '../../helpers/x509-forge.js';
import type { Case, Family, Outcome } from '../case.js';

function shown(name: string, tls: () => Promise<TlsMaterial>, code: MeshErrorCode): Case {
  const outcome: Outcome = { kind: 'closed', code };
  return { name, begin: 'nowhere', tls, steps: [], outcome, counter: 'handshakes.refused' };
}

/** A certificate that another node has signed, as if it were a CA. */
async function signedByNode(): Promise<TlsMaterial> {
  const { ca, cert, key } = await nodeCert('n3');
  const ownKey = await makeKey();
  const leaf = issueLeafCert({
    issuer: { cert: new X509Certificate(cert), key: createPrivateKey(key) },
    key: ownKey,
    names: ['n4'],
    validity: resolveValidity({}),
  });
  return { ca, cert: leaf + cert, key: ownKey };
}

/** One's own certificate and key, and a bit flipped in its last byte, which is the CA's signature. */
async function wronglySigned(): Promise<TlsMaterial> {
  const own = await nodeCert('n4');
  const der = Buffer.from(new X509Certificate(own.cert).raw);
  der.writeUInt8(der.readUInt8(der.length - 1) ^ 1, der.length - 1);
  const base64 = der.toString('base64').replace(/(.{64})/g, '$1\n');
  return { ...own, cert: `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n` };
}

/** The CA of test nodes, as if somebody had its key. */
async function devCa(): Promise<Signer> {
  const { ca, caKey } = await devCerts();
  return {
    name: readCertificate(new X509Certificate(ca).raw).subject,
    key: createPrivateKey(caKey),
  };
}

const NAMES_N4 = names(dnsName('n4'));

function manyNames(count: number): Buffer {
  return names(...Array.from({ length: count }, () => dnsName('n4')));
}

/** A leaf of n4, signed by the CA itself, in one way or another. */
function byCa(changes: Partial<ForgeRequest> & { readonly key?: KeyObject }) {
  return async (): Promise<TlsMaterial> => {
    const { ca } = await devCerts();
    const { key = ecKey() } = changes;
    const request = { issuer: await devCa(), subject: named('n4'), extensions: [NAMES_N4] };
    const leaf = forge({ ...request, ...changes, key });
    return { ca, cert: pemOf(leaf), key: keyPemOf(key) };
  };
}

/** A leaf whose issuers are a stranger's, up to one that names the CA as its issuer. */
function below(link: (top: Buffer) => readonly Buffer[], top?: Buffer) {
  return async (): Promise<TlsMaterial> => {
    const { ca } = await devCerts();
    const key = ecKey();
    const issuer = { name: named('e0'), key };
    const leaf = forge({ issuer, subject: named('n4'), key, extensions: [NAMES_N4] });
    const chain = [leaf, ...link(top ?? (await devCa()).name)];
    return { ca, cert: chain.map((der) => pemOf(der)).join(''), key: keyPemOf(key) };
  };
}

/** Keys that take 8 ms and more for one signature. */
function slowLinks(top: Buffer): readonly Buffer[] {
  const key = ecKey();
  const signature = Buffer.alloc(384, 1);
  return Array.from({ length: 6 }, (_, at) => {
    const issuer = { name: at === 5 ? top : named(`e${at + 1}`), key };
    const request = { subject: named(`e${at}`), key: slowKey(), signing: Signing.rsa, signature };
    return forge({ issuer, extensions: CA_EXTENSIONS, ...request });
  });
}

/** Constraints that are many times the names below them. */
function constrainedLinks(top: Buffer): readonly Buffer[] {
  const key = ecKey();
  const subtrees = Array.from({ length: 500 }, () => seq(dnsName('zz')));
  const constraints = extension('551d1e', seq(tlv(0xa1, ...subtrees)), true);
  return Array.from({ length: 2 }, (_, at) => {
    const issuer = { name: at === 1 ? top : named(`e${at + 1}`), key };
    const extensions = [...CA_EXTENSIONS, constraints];
    return forge({ issuer, subject: named(`e${at}`), key, extensions });
  });
}

/** The certificate of n3, which was revoked by its fingerprint, with the other signature that it may have. */
async function twinOfRevoked(): Promise<TlsMaterial> {
  const own = await nodeCert('n3');
  return { ...own, cert: pemOf(twinOfEcdsa(new X509Certificate(own.cert).raw, P256_ORDER)) };
}

/** So many certificates behind the leaf that lead nowhere. */
async function longChain(): Promise<TlsMaterial> {
  const own = await otherCaCert('n4');
  return { ...own, cert: own.cert + own.ca.repeat(20) };
}

const afterTls = (each: Case, nodeId: string): Case => ({
  ...each,
  begin: 'secured',
  steps: [{ do: 'shake', changes: { nodeId } }],
});

const certificateCases: readonly Case[] = [
  shown(
    'no certificate',
    async () => ({ ...(await nodeCert('n4')), cert: '' }),
    'CertificateRequired',
  ),
  shown('a certificate of another CA', () => otherCaCert('n4'), 'CertificateUntrusted'),
  shown('a certificate that another node has signed', signedByNode, 'CertificateUntrusted'),
  shown('a certificate with a wrong signature', wronglySigned, 'CertificateUntrusted'),
  shown('a chain of 21 certificates', longChain, 'CertificateUntrusted'),
  shown('a certificate that has expired', () => expiredCert('n4'), 'CertificateExpired'),
  shown(
    'a certificate that is not valid yet',
    () => notYetValidCert('n4'),
    'CertificateNotYetValid',
  ),
  shown('a certificate for e-mail', () => wrongUsageCert('n4'), 'CertificateUsage'),
  {
    ...shown('a certificate that was revoked', () => nodeCert('n3'), 'CertificateRevoked'),
    profile: 'revoked',
  },
  {
    ...shown(
      'a certificate that was revoked, with its other signature',
      twinOfRevoked,
      'CertificateRevoked',
    ),
    profile: 'revoked',
  },
  shown('a signature of SHA-1', byCa({ signing: Signing.ecdsaSha1 }), 'CertificateInvalid'),
  shown('an RSA key of 1,024 bits', byCa({ key: rsaKey(1024) }), 'CertificateInvalid'),
  shown('3,000 names', byCa({ extensions: [manyNames(3000)] }), 'CertificateInvalid'),
  shown(
    'more bytes of certificates than are taken',
    byCa({ extensions: [NAMES_N4, extension('2a0304', Buffer.alloc(15_200))] }),
    'CertificateInvalid',
  ),
  shown(
    'a chain of slow keys that leads nowhere',
    below(slowLinks, named('x')),
    'CertificateUntrusted',
  ),
  shown('a chain of slow keys below the CA', below(slowLinks), 'CertificateUntrusted'),
  shown('a thousand constraints of names', below(constrainedLinks), 'CertificateUntrusted'),
  afterTls(
    shown('a certificate of another name', () => certNamed('n9'), 'CertificateNameMismatch'),
    'n4',
  ),
  afterTls(
    shown(
      'a certificate of a longer name',
      () => certNamed('n4.example'),
      'CertificateNameMismatch',
    ),
    'n4',
  ),
  afterTls(
    shown(
      "another node's id, and one's own certificate",
      () => nodeCert('n4'),
      'CertificateNameMismatch',
    ),
    'n3',
  ),
  {
    ...shown('another application protocol', () => nodeCert('n4'), 'ApplicationProtocolMismatch'),
    tlsChanges: { alpn: 'h3' },
  },
  {
    ...shown('version 1.2 of TLS', () => nodeCert('n4'), 'TlsFailure'),
    transports: ['tcp'],
    tlsChanges: { maxVersion: 'TLSv1.2' },
  },
];

/** What n3 was given, used by n4. Over TCP no session is taken up: the certificate of n4 counts. */
function* sessions(): Generator<Case> {
  const resumed = (nodeId: string) =>
    [
      {
        do: 'run',
        program: async ({ dial }) => {
          const first = await dial({ tls: () => nodeCert('n3'), begin: 'secured' });
          first.shake('n3');
          const session = await first.session();
          first.hangUp();
          const second = await dial({ begin: 'secured', tlsChanges: { session } });
          second.shake(nodeId);
          return second;
        },
      },
    ] as const satisfies Case['steps'];
  yield {
    name: 'a session that another node was given, and one own id',
    begin: 'nowhere',
    transports: ['quic'],
    steps: resumed('n4'),
    outcome: { kind: 'closed', code: 'CertificateNameMismatch' },
  };
  yield {
    name: 'a session that another node was given, and its id',
    begin: 'nowhere',
    transports: ['tcp'],
    steps: resumed('n3'),
    outcome: { kind: 'closed', code: 'CertificateNameMismatch' },
  };
  yield {
    name: 'a session that another node was given, and one own id',
    begin: 'nowhere',
    transports: ['tcp'],
    steps: resumed('n4'),
    outcome: { kind: 'served', on: 1 },
  };
  yield {
    name: 'a session that was made up',
    begin: 'nowhere',
    transports: ['quic'],
    tlsChanges: {},
    steps: [
      {
        do: 'run',
        program: async ({ dial }) => {
          const first = await dial({ tls: () => nodeCert('n3'), begin: 'secured' });
          first.shake('n3');
          const session = await first.session();
          first.hangUp();
          // Somewhere within the ticket, which the node has encrypted.
          session.writeUInt8(session.readUInt8(session.length >> 1) ^ 1, session.length >> 1);
          const second = await dial({ begin: 'secured', tlsChanges: { session } });
          second.shake('n4');
          return second;
        },
      },
    ],
    outcome: { kind: 'served', on: 1 },
  };
}

export const certificates: Family = {
  name: 'certificates',
  cases: [...certificateCases, ...sessions()],
};
