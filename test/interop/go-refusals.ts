/** What a node refuses to the client in `go/`, and with which codes. */
import {
  devCerts,
  expiredCert,
  type NodeCredentials,
  nodeCert,
  notYetValidCert,
  otherCaCert,
  wrongUsageCert,
} from '../helpers/certs.js';
import type { ScenarioOptions } from './go-client.js';

/** The node demands it. */
export const TOKEN = 'token of the cluster';

/** Who is not let in: what the client changes, and what it is told. */
export const REFUSALS: readonly {
  readonly title: string;
  readonly options?: () => Promise<Partial<ScenarioOptions>> | Partial<ScenarioOptions>;
  /** Of the refusal, or of the close. */
  readonly code: string;
}[] = [
  {
    title: 'of another cluster',
    options: () => ({ cluster: 'Test', 'knock-cluster': 'test' }),
    code: 'ClusterMismatch',
  },
  {
    title: 'with other versions',
    options: () => ({ kind: 'version' }),
    code: 'VersionUnsupported',
  },
  {
    title: 'that its certificate does not name',
    options: () => ({ 'own-id': 'n3' }),
    code: 'CertificateNameMismatch',
  },
  {
    title: 'that is the node itself',
    options: async () => ({ 'own-id': 'n2', tls: await nodeCert('n2') }),
    code: 'NodeIdMismatch',
  },
  { title: 'without the token', code: 'AuthTokenRejected' },
  {
    title: 'with another token',
    options: () => ({ token: 'guessed' }),
    code: 'AuthTokenRejected',
  },
  {
    title: 'whose clock is behind',
    options: () => ({ token: TOKEN, kind: 'late' }),
    code: 'ClockSkew',
  },
  {
    title: 'whose clock is ahead',
    options: () => ({ token: TOKEN, kind: 'ahead' }),
    code: 'ClockSkew',
  },
  {
    title: 'that allows no streams',
    options: () => ({ token: TOKEN, kind: 'streams' }),
    code: 'MalformedMessage',
  },
  {
    title: 'that takes messages too small',
    options: () => ({ token: TOKEN, kind: 'message-bytes' }),
    code: 'MalformedMessage',
  },
  {
    title: 'of another CA',
    options: async () => ({ tls: await withGoodCa(otherCaCert('n1')) }),
    code: 'CertificateUntrusted',
  },
  {
    title: 'whose certificate has expired',
    options: async () => ({ tls: await withGoodCa(expiredCert('n1')) }),
    code: 'CertificateExpired',
  },
  {
    title: 'whose certificate is not valid yet',
    options: async () => ({ tls: await withGoodCa(notYetValidCert('n1')) }),
    code: 'CertificateNotYetValid',
  },
  {
    title: 'whose certificate is for mail',
    options: async () => ({ tls: await withGoodCa(wrongUsageCert('n1')) }),
    code: 'CertificateUsage',
  },
  {
    title: 'without a certificate',
    options: async () => ({ tls: { ca: (await devCerts()).ca } }),
    code: 'CertificateRequired',
  },
  {
    title: 'of another protocol',
    options: () => ({ kind: 'alpn' }),
    code: 'ApplicationProtocolMismatch',
  },
];

/** Rules that the client breaks, and the code of the close that it gets. */
export const VIOLATIONS: Readonly<Record<string, string>> = {
  'no-handshake': 'HandshakeRequired',
  'handshake-again': 'HandshakeRepeated',
  checksum: 'ChecksumMismatch',
  version: 'VersionUnsupported',
  reserved: 'ProtocolViolation',
  compression: 'UnsupportedCompression',
  'no-checksum': 'ProtocolViolation',
  credit: 'ProtocolViolation',
  more: 'ProtocolViolation',
  'reset-on-stream': 'ProtocolViolation',
  id: 'ProtocolViolation',
  empty: 'ProtocolViolation',
  'too-large': 'FrameTooLarge',
  'behind-the-end': 'ProtocolViolation',
  'control-end': 'ProtocolViolation',
  'control-request': 'ProtocolViolation',
  'control-proof': 'ProtocolViolation',
  'control-close': 'ProtocolViolation',
  'all-over-first': 'ProtocolViolation',
  'gone-twice': 'ProtocolViolation',
  'opened-beyond': 'ProtocolViolation',
};

/** The client still trusts the node. */
async function withGoodCa(bad: Promise<NodeCredentials>): Promise<ScenarioOptions['tls']> {
  return { ...(await bad), ca: (await devCerts()).ca };
}
