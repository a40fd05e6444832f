/** Who a peer says it is, below the handshake: certificates, ALPN, kept sessions. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { makeKey, resolveValidity } from '../../../src/certs/dev-certs.js';
import { issueLeafCert } from '../../../src/certs/x509.js';
import type { MeshErrorCode } from '../../../src/errors.js';
import type { TlsMaterial } from '../../../src/transport/connection.js';
import {
  certNamed,
  expiredCert,
  nodeCert,
  notYetValidCert,
  otherCaCert,
  wrongUsageCert,
} from '../../helpers/certs.js';
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
