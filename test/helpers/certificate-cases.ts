/** Certificates as clusters may have them, and chains of them: what is to become of each, and where openssl differs. */
import type { MeshErrorCode } from '../../src/errors.js';
import type { CertificateRequest } from './openssl-pki.js';

export const CA = 'basicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign, cRLSign';
export const CA_WITH_IDS = `${CA}\nsubjectKeyIdentifier = hash`;
export const LEAF =
  'basicConstraints = critical, CA:FALSE\nkeyUsage = critical, digitalSignature\nsubjectAltName = DNS:peer';
const BOTH = 'extendedKeyUsage = serverAuth, clientAuth';
const EXPIRED = { from: -48, to: -24 } as const;
const TO_COME = { from: 24, to: 48 } as const;

/** Made once, and when first asked for; in this order, because an issuer comes before what it signs. */
export const CERTIFICATES: readonly CertificateRequest[] = [
  { name: 'root', extensions: CA_WITH_IDS },
  { name: 'leaf', issuer: 'root', extensions: `${LEAF}\n${BOTH}` },
  { name: 'bare-leaf', key: 'leaf', issuer: 'root', extensions: 'subjectAltName = DNS:peer' },
  { name: 'leaf-expired', key: 'leaf', issuer: 'root', extensions: LEAF, ...EXPIRED },
  { name: 'leaf-to-come', key: 'leaf', issuer: 'root', extensions: LEAF, ...TO_COME },
  { name: 'other-root', extensions: CA_WITH_IDS },
  { name: 'other-leaf', issuer: 'other-root', extensions: LEAF },

  // Renewals: the same name and key.
  {
    name: 'root-expired',
    key: 'root',
    subject: '/CN=root',
    extensions: CA_WITH_IDS,
    ...EXPIRED,
  },
  {
    name: 'root-to-come',
    key: 'root',
    subject: '/CN=root',
    extensions: CA_WITH_IDS,
    ...TO_COME,
  },
  // The same name and another key, and no key identifiers to tell them apart.
  { name: 'twin-a', subject: '/CN=twin', extensions: CA },
  { name: 'twin-b', subject: '/CN=twin', extensions: CA },
  { name: 'twin-leaf', issuer: 'twin-b', extensions: LEAF },

  // Intermediates.
  { name: 'sub', issuer: 'root', extensions: CA_WITH_IDS },
  { name: 'sub-leaf', issuer: 'sub', extensions: LEAF },
  {
    name: 'sub-expired',
    key: 'sub',
    subject: '/CN=sub',
    issuer: 'root',
    extensions: CA_WITH_IDS,
    ...EXPIRED,
  },
  {
    name: 'sub-to-come',
    key: 'sub',
    subject: '/CN=sub',
    issuer: 'root',
    extensions: CA_WITH_IDS,
    ...TO_COME,
  },
  {
    name: 'sub-of-other',
    key: 'sub',
    subject: '/CN=sub',
    issuer: 'other-root',
    extensions: CA_WITH_IDS,
  },
  { name: 'subsub', issuer: 'sub', extensions: CA_WITH_IDS },
  { name: 'subsub-leaf', issuer: 'subsub', extensions: LEAF },
  { name: 'sub-no-certsign', issuer: 'root', extensions: 'basicConstraints = critical, CA:TRUE' },

  // Who may issue.
  {
    name: 'pinned',
    extensions: 'basicConstraints = critical, CA:FALSE\nsubjectAltName = DNS:peer',
  },
  { name: 'pinned-ca', extensions: `${CA}, digitalSignature\nsubjectAltName = DNS:peer` },
  { name: 'by-leaf', issuer: 'bare-leaf', extensions: LEAF },
  {
    name: 'root-not-to-sign',
    extensions: 'basicConstraints = critical, CA:TRUE\nkeyUsage = critical, cRLSign',
  },
  {
    name: 'sub-not-to-sign',
    issuer: 'root',
    extensions: 'basicConstraints = critical, CA:TRUE\nkeyUsage = critical, digitalSignature',
  },
  { name: 'by-sub-not-to-sign', issuer: 'sub-not-to-sign', extensions: LEAF },
  { name: 'root-without-usage', extensions: 'basicConstraints = critical, CA:TRUE' },
  { name: 'by-root-without-usage', issuer: 'root-without-usage', extensions: LEAF },
  { name: 'root-by-usage-only', extensions: 'keyUsage = critical, keyCertSign' },
  { name: 'sub-by-usage-only', issuer: 'root', extensions: 'keyUsage = critical, keyCertSign' },
  { name: 'by-sub-by-usage-only', issuer: 'sub-by-usage-only', extensions: LEAF },
  { name: 'root-of-nothing', extensions: 'subjectKeyIdentifier = hash' },
  { name: 'root-v1' },
  { name: 'sub-v1', issuer: 'root' },
  { name: 'by-sub-v1', issuer: 'sub-v1', extensions: LEAF },
  { name: 'root-netscape', extensions: 'nsCertType = sslCA' },

  // Path lengths.
  { name: 'root-0', extensions: 'basicConstraints = critical, CA:TRUE, pathlen:0' },
  { name: 'by-root-0', issuer: 'root-0', extensions: LEAF },
  { name: 'sub-of-0', issuer: 'root-0', extensions: CA_WITH_IDS },
  { name: 'by-sub-of-0', issuer: 'sub-of-0', extensions: LEAF },
  {
    name: 'self-issued-of-0',
    subject: '/CN=root-0',
    issuer: 'root-0',
    extensions: `${CA_WITH_IDS}\nauthorityKeyIdentifier = keyid`,
  },
  { name: 'by-self-issued-of-0', issuer: 'self-issued-of-0', extensions: LEAF },
  { name: 'sub-0', issuer: 'root', extensions: 'basicConstraints = critical, CA:TRUE, pathlen:0' },
  { name: 'by-sub-0', issuer: 'sub-0', extensions: LEAF },
  { name: 'subsub-of-0', issuer: 'sub-0', extensions: CA_WITH_IDS },
  { name: 'by-subsub-of-0', issuer: 'subsub-of-0', extensions: LEAF },

  // Usages.
  ...Object.entries({
    'leaf-server': 'extendedKeyUsage = serverAuth',
    'leaf-client': 'extendedKeyUsage = clientAuth',
    'leaf-mail': 'extendedKeyUsage = emailProtection',
    'leaf-any': 'extendedKeyUsage = anyExtendedKeyUsage',
    'leaf-netscape-server': 'nsCertType = server',
    'leaf-netscape-mail': 'nsCertType = email',
  }).map(([name, usage]) => ({
    name,
    key: 'leaf',
    issuer: 'root',
    extensions: `${LEAF}\n${usage}`,
  })),
  { name: 'sub-server', issuer: 'root', extensions: `${CA}\nextendedKeyUsage = serverAuth` },
  { name: 'by-sub-server', issuer: 'sub-server', extensions: `${LEAF}\n${BOTH}` },
  { name: 'root-client', extensions: `${CA}\nextendedKeyUsage = clientAuth` },
  { name: 'by-root-client', issuer: 'root-client', extensions: `${LEAF}\n${BOTH}` },

  // Names.
  ...Object.entries({
    'leaf-uri': 'DNS:peer, URI:http://host/a\\,b?c="d"',
    'leaf-uri-first': 'URI:spiffe://demo/"peer"\\, x, DNS:peer',
    'leaf-injected': 'URI:http://host/\\, DNS:peer',
    'leaf-wildcard': 'DNS:*.peer, DNS:peer.',
    'leaf-many':
      'email:a@b.example, IP:10.0.0.1, RID:1.2.3.4, otherName:1.2.3.4;UTF8:x\\, DNS:y, DNS:Peer',
  }).map(([name, names]) => ({
    name,
    key: 'leaf',
    issuer: 'root',
    extensions: `basicConstraints = CA:FALSE\nsubjectAltName = @names\n${sectionOf(names)}`,
  })),
  {
    name: 'leaf-directory',
    key: 'leaf',
    issuer: 'root',
    extensions:
      'basicConstraints = CA:FALSE\nsubjectAltName = dirName:directory, DNS:peer\n[directory]\nO = "Peer, ""Inc"" DNS:x"\nCN = a\\, DNS:b',
  },
  {
    name: 'leaf-no-names',
    key: 'leaf',
    issuer: 'root',
    subject: '/CN=peer',
    extensions: 'basicConstraints = CA:FALSE',
  },

  // Name constraints.
  ...Object.entries({
    'names-permitted': 'permitted;DNS:peer',
    'names-other': 'permitted;DNS:example',
    'names-sub-only': 'permitted;DNS:.peer',
    'names-excluded': 'excluded;DNS:peer',
    'names-of-ip': 'permitted;IP:10.0.0.0/255.0.0.0',
    'names-of-mail': 'excluded;email:.example',
    'names-of-uri': 'excluded;URI:host.example',
    'names-directory': 'permitted;dirName:directory',
    'names-directory-excluded': 'excluded;dirName:directory',
  }).flatMap(([name, constraint]) => [
    {
      name,
      issuer: 'root',
      extensions: `${CA}\nnameConstraints = critical, ${constraint}\n[directory]\nO = Acme`,
    },
    {
      name: `by-${name}`,
      issuer: name,
      subject: '/O=ACME/CN=peer',
      extensions: `${LEAF}, IP:10.0.0.1, email:a@b.c, URI:http://host.example:80/x`,
    },
    {
      name: `else-by-${name}`,
      issuer: name,
      subject: '/O=Else/CN=peer',
      extensions: `${LEAF}, IP:11.0.0.1, email:a@b.example, URI:http://else.example/x`,
    },
  ]),

  // What is not known.
  {
    name: 'leaf-critical',
    key: 'leaf',
    issuer: 'root',
    extensions: `${LEAF}\n1.2.3.4 = critical, ASN1:UTF8String:x`,
  },
  {
    name: 'leaf-uncritical',
    key: 'leaf',
    issuer: 'root',
    extensions: `${LEAF}\n1.2.3.4 = ASN1:UTF8String:x`,
  },
  { name: 'sub-critical', issuer: 'root', extensions: `${CA}\n1.2.3.4 = critical, ASN1:NULL` },
  { name: 'by-sub-critical', issuer: 'sub-critical', extensions: LEAF },
  {
    name: 'leaf-policies',
    key: 'leaf',
    issuer: 'root',
    extensions: `${LEAF}\ncertificatePolicies = critical, 1.2.3.4`,
  },

  // Keys and signatures.
  { name: 'root-rsa', kind: 'rsa', extensions: CA_WITH_IDS },
  { name: 'by-root-rsa', issuer: 'root-rsa', extensions: LEAF },
  { name: 'by-root-rsa-pss', issuer: 'root-rsa', extensions: LEAF, pss: true },
  { name: 'leaf-rsa', kind: 'rsa', issuer: 'root', extensions: LEAF },
  { name: 'root-pss', kind: 'rsa-pss', extensions: CA_WITH_IDS },
  { name: 'by-root-pss', issuer: 'root-pss', extensions: LEAF },
  { name: 'sub-pss', kind: 'rsa-pss', issuer: 'root', extensions: CA_WITH_IDS },
  { name: 'by-sub-pss', issuer: 'sub-pss', extensions: LEAF },
  { name: 'ed448-root', kind: 'ed448', extensions: CA_WITH_IDS, digest: 'null' },
  { name: 'by-ed448-root', issuer: 'ed448-root', extensions: LEAF, digest: 'null' },
  { name: 'leaf-ed25519', kind: 'ed25519', issuer: 'root', extensions: LEAF },
  { name: 'root-1024', kind: 'rsa-1024', extensions: CA_WITH_IDS },
  { name: 'by-root-1024', issuer: 'root-1024', extensions: LEAF },
  { name: 'root-sha1', extensions: CA_WITH_IDS, digest: 'sha1' },
  { name: 'by-root-sha1', issuer: 'root-sha1', extensions: LEAF },

  // Of the side that judges.
  { name: 'judge-root', extensions: CA_WITH_IDS },
  { name: 'judge', issuer: 'judge-root', extensions: LEAF.replace('DNS:peer', 'DNS:judge') },
];

/** A section of names, which may hold commas. */
function sectionOf(names: string): string {
  const counts = new Map<string, number>();
  const lines = names.split(/(?<!\\), /).map((name) => {
    const [kind = '', ...value] = name.split(':');
    const count = (counts.get(kind) ?? 0) + 1;
    counts.set(kind, count);
    return `${kind}.${count} = ${value.join(':').replaceAll('"', '\\"')}`;
  });
  return `[names]\n${lines.join('\n')}`;
}

export interface Case {
  readonly title: string;
  /** What the judge trusts, in this order. */
  readonly ca: readonly string[];
  /** What the peer shows, leaf first. */
  readonly chain: readonly string[];
  /** What the judge says where it is refused. */
  readonly code?: MeshErrorCode;
  /** Why the verdict is not that of openssl, and what it is. */
  readonly unlike?: { readonly why: string; readonly isOk: boolean };
}

export const CASES: readonly Case[] = [
  { title: 'a leaf of a root', ca: ['root'], chain: ['leaf'] },
  { title: 'a leaf with names and nothing else', ca: ['root'], chain: ['bare-leaf'] },
  { title: 'a leaf twice in the chain', ca: ['root'], chain: ['leaf', 'leaf', 'leaf'] },
  { title: 'a root that comes along', ca: ['root'], chain: ['leaf', 'root'] },
  {
    title: 'a leaf of another root, which comes along',
    ca: ['root'],
    chain: ['other-leaf', 'other-root'],
    code: 'CertificateUntrusted',
  },
  { title: 'several roots', ca: ['other-root', 'root', 'root-rsa'], chain: ['leaf'] },
  {
    title: 'an expired leaf',
    ca: ['root'],
    chain: ['leaf-expired'],
    code: 'CertificateExpired',
  },
  {
    title: 'a leaf to come',
    ca: ['root'],
    chain: ['leaf-to-come'],
    code: 'CertificateNotYetValid',
  },

  { title: 'an expired root before its renewal', ca: ['root-expired', 'root'], chain: ['leaf'] },
  { title: 'an expired root behind its renewal', ca: ['root', 'root-expired'], chain: ['leaf'] },
  { title: 'a renewal to come before its root', ca: ['root-to-come', 'root'], chain: ['leaf'] },
  { title: 'a renewal to come behind its root', ca: ['root', 'root-to-come'], chain: ['leaf'] },
  {
    title: 'an expired root that comes along with its renewal',
    ca: ['root-expired', 'root'],
    chain: ['leaf', 'root-expired', 'root'],
  },
  {
    title: 'an expired root alone',
    ca: ['root-expired', 'other-root'],
    chain: ['leaf'],
    code: 'CertificateExpired',
  },
  {
    title: 'a root to come alone',
    ca: ['root-to-come', 'other-root'],
    chain: ['leaf', 'root'],
    code: 'CertificateNotYetValid',
  },
  {
    title: 'two roots of one name, the right one first',
    ca: ['twin-b', 'twin-a'],
    chain: ['twin-leaf'],
  },
  {
    title: 'two roots of one name, the right one last',
    ca: ['twin-a', 'twin-b'],
    chain: ['twin-leaf'],
  },

  { title: 'an intermediate', ca: ['root'], chain: ['sub-leaf', 'sub'] },
  {
    title: 'no intermediate',
    ca: ['root'],
    chain: ['sub-leaf'],
    code: 'CertificateUntrusted',
  },
  {
    title: 'a chain in any order, with others between',
    ca: ['root'],
    chain: ['subsub-leaf', 'root', 'other-root', 'sub', 'subsub-leaf', 'leaf', 'subsub'],
  },
  {
    title: 'an expired intermediate before its renewal',
    ca: ['root'],
    chain: ['sub-leaf', 'sub-expired', 'sub'],
  },
  {
    title: 'an expired intermediate behind its renewal',
    ca: ['root'],
    chain: ['sub-leaf', 'sub', 'sub-expired'],
  },
  {
    title: 'an expired intermediate alone',
    ca: ['root'],
    chain: ['sub-leaf', 'sub-expired'],
    code: 'CertificateExpired',
  },
  {
    title: 'an intermediate to come alone',
    ca: ['root'],
    chain: ['sub-leaf', 'sub-to-come'],
    code: 'CertificateNotYetValid',
  },
  {
    title: 'an intermediate signed by both roots, the trusted one first',
    ca: ['other-root'],
    chain: ['sub-leaf', 'sub-of-other', 'sub'],
  },
  {
    title: 'an intermediate signed by both roots, the trusted one last',
    ca: ['other-root'],
    chain: ['sub-leaf', 'sub', 'sub-of-other'],
    unlike: { why: 'openssl follows the first of them and no other', isOk: true },
  },
  {
    title: 'an intermediate signed by both roots, below another',
    ca: ['other-root'],
    chain: ['subsub-leaf', 'sub', 'subsub', 'root', 'sub-of-other'],
    unlike: { why: 'openssl follows the first of them and no other', isOk: true },
  },
  {
    title: 'an intermediate signed by both roots, both trusted, one expired',
    ca: ['root-expired', 'other-root'],
    chain: ['sub-leaf', 'sub', 'sub-of-other'],
    unlike: { why: 'openssl ends at the first root that it finds', isOk: true },
  },
  {
    title: 'an intermediate signed by another root',
    ca: ['root'],
    chain: ['sub-leaf', 'sub-of-other'],
    code: 'CertificateUntrusted',
  },
  {
    title: 'an intermediate that is trusted with its root',
    ca: ['sub', 'root'],
    chain: ['sub-leaf'],
  },
  {
    title: 'an intermediate that is trusted without its root',
    ca: ['sub', 'other-root'],
    chain: ['sub-leaf'],
    code: 'CertificateUntrusted',
  },

  { title: 'a CA that shows its own certificate', ca: ['pinned-ca'], chain: ['pinned-ca'] },
  {
    title: 'a self-signed certificate',
    ca: ['root'],
    chain: ['pinned'],
    code: 'CertificateUntrusted',
  },
  {
    title: 'what a leaf has signed',
    ca: ['root'],
    chain: ['by-leaf', 'bare-leaf'],
    code: 'CertificateUntrusted',
  },
  {
    title: 'an intermediate without keyCertSign',
    ca: ['root'],
    chain: ['by-sub-not-to-sign', 'sub-not-to-sign'],
    code: 'CertificateUntrusted',
  },
  {
    title: 'a root without key usage',
    ca: ['root-without-usage'],
    chain: ['by-root-without-usage'],
  },
  {
    title: 'an intermediate by its key usage',
    ca: ['root'],
    chain: ['by-sub-by-usage-only', 'sub-by-usage-only'],
    code: 'CertificateUntrusted',
  },
  {
    title: 'an intermediate of version 1',
    ca: ['root'],
    chain: ['by-sub-v1', 'sub-v1'],
    code: 'CertificateUntrusted',
  },

  { title: 'a path length of 0 that is kept', ca: ['root-0'], chain: ['by-root-0'] },
  {
    title: 'a path length of 0 that is not',
    ca: ['root-0'],
    chain: ['by-sub-of-0', 'sub-of-0'],
    code: 'CertificateUntrusted',
  },
  {
    title: 'a path length of 0, and a self-issued certificate',
    ca: ['root-0'],
    chain: ['by-self-issued-of-0', 'self-issued-of-0'],
  },
  {
    title: "an intermediate's path length that is kept",
    ca: ['root'],
    chain: ['by-sub-0', 'sub-0'],
  },
  {
    title: "an intermediate's path length that is not",
    ca: ['root'],
    chain: ['by-subsub-of-0', 'subsub-of-0', 'sub-0'],
    code: 'CertificateUntrusted',
  },

  { title: 'a server', ca: ['root'], chain: ['leaf-server'], code: 'CertificateUsage' },
  { title: 'a client', ca: ['root'], chain: ['leaf-client'], code: 'CertificateUsage' },
  { title: 'a certificate for mail', ca: ['root'], chain: ['leaf-mail'], code: 'CertificateUsage' },
  { title: 'a certificate for any', ca: ['root'], chain: ['leaf-any'], code: 'CertificateUsage' },
  {
    title: 'a server of Netscape',
    ca: ['root'],
    chain: ['leaf-netscape-server'],
    code: 'CertificateUsage',
  },
  {
    title: 'a certificate for mail of Netscape',
    ca: ['root'],
    chain: ['leaf-netscape-mail'],
    code: 'CertificateUsage',
  },
  {
    title: 'an intermediate for servers',
    ca: ['root'],
    chain: ['by-sub-server', 'sub-server'],
    code: 'CertificateUsage',
  },
  {
    title: 'a root for clients',
    ca: ['root-client'],
    chain: ['by-root-client'],
    code: 'CertificateUsage',
  },

  { title: 'a URI with comma and quotes', ca: ['root'], chain: ['leaf-uri'] },
  { title: 'a URI with comma and quotes before the name', ca: ['root'], chain: ['leaf-uri-first'] },
  { title: 'a directory name with comma and quotes', ca: ['root'], chain: ['leaf-directory'] },
  { title: 'names of every kind', ca: ['root'], chain: ['leaf-many'] },
  {
    title: 'a URI that reads like the name',
    ca: ['root'],
    chain: ['leaf-injected'],
    code: 'CertificateNameMismatch',
  },
  {
    title: 'names that are not quite it',
    ca: ['root'],
    chain: ['leaf-wildcard'],
    code: 'CertificateNameMismatch',
  },
  {
    title: 'a name as the subject only',
    ca: ['root'],
    chain: ['leaf-no-names'],
    code: 'CertificateNameMismatch',
    unlike: { why: 'a common name proves nothing', isOk: false },
  },

  ...[
    'names-permitted',
    'names-other',
    'names-sub-only',
    'names-excluded',
    'names-of-ip',
    'names-of-mail',
    'names-of-uri',
    'names-directory',
    'names-directory-excluded',
  ].flatMap((name): Case[] => [
    {
      title: `${name}: one certificate`,
      ca: ['root'],
      chain: [`by-${name}`, name],
      code: 'CertificateUntrusted',
    },
    {
      title: `${name}: another`,
      ca: ['root'],
      chain: [`else-by-${name}`, name],
      code: 'CertificateUntrusted',
    },
  ]),

  {
    title: 'a critical extension that nobody knows',
    ca: ['root'],
    chain: ['leaf-critical'],
    code: 'CertificateInvalid',
  },
  { title: 'an extension that nobody knows', ca: ['root'], chain: ['leaf-uncritical'] },
  {
    title: "an intermediate's critical extension",
    ca: ['root'],
    chain: ['by-sub-critical', 'sub-critical'],
    code: 'CertificateInvalid',
  },
  { title: 'policies', ca: ['root'], chain: ['leaf-policies'] },

  { title: 'a root with RSA', ca: ['root-rsa'], chain: ['by-root-rsa'] },
  { title: 'a signature of PSS', ca: ['root-rsa'], chain: ['by-root-rsa-pss'] },
  { title: 'a leaf with RSA', ca: ['root'], chain: ['leaf-rsa'] },
  { title: 'a root with a key for PSS', ca: ['root-pss'], chain: ['by-root-pss'] },
  { title: 'an intermediate with a key for PSS', ca: ['root'], chain: ['by-sub-pss', 'sub-pss'] },
  { title: 'a root with Ed448', ca: ['ed448-root'], chain: ['by-ed448-root'] },
  { title: 'a leaf with Ed25519', ca: ['root'], chain: ['leaf-ed25519'] },
  {
    title: 'a root with 1,024 bits',
    ca: ['root-1024', 'root'],
    chain: ['by-root-1024'],
    code: 'CertificateInvalid',
  },
  { title: "a root's own signature of SHA-1", ca: ['root-sha1'], chain: ['by-root-sha1'] },
];

/** What is no CA, wherever it came from: in `tls.ca` it is an error. */
export const NO_CAS: readonly string[] = [
  'leaf',
  'pinned',
  'root-not-to-sign',
  'root-by-usage-only',
  'root-of-nothing',
  'root-v1',
  'root-netscape',
];
