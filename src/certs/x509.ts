/**
 * X.509 version 3 certificates with ECDSA keys on P-256, for development CAs and nodes.
 *
 * node-forge writes and reads the ASN.1; keys and signatures are Node's, because forge signs with RSA
 * and Ed25519 only. The profile is RFC 5280's: critical basic constraints and key usage, both key
 * identifiers, a positive random serial.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  randomBytes,
  sign,
  type X509Certificate,
} from 'node:crypto';
import { isIP } from 'node:net';
import {
  type Asn1,
  bitString,
  boolean,
  childrenOf,
  constructed,
  contentOf,
  contextual,
  decodeDer,
  encodeDer,
  integer,
  isContextual,
  octetString,
  oid,
  oidOf,
  sequence,
  set,
  time,
  utf8String,
} from './asn1.js';

const OID = {
  commonName: '2.5.4.3',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
} as const;

/** Extended key usages a certificate can be limited to (RFC 5280, 4.2.1.12). */
export const KEY_PURPOSES = {
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
  emailProtection: '1.3.6.1.5.5.7.3.4',
} as const;

/** One of {@link KEY_PURPOSES}. */
export type KeyPurpose = keyof typeof KEY_PURPOSES;

/** The time in which a certificate is valid; both ends belong to it. Fractions of a second are cut off. */
export interface Validity {
  readonly notBefore: Date;
  readonly notAfter: Date;
}

/** A CA that signs: its certificate and the key behind it, an EC key. */
export interface Issuer {
  readonly cert: X509Certificate;
  readonly key: KeyObject;
}

/** What a node's certificate says. */
export interface LeafRequest {
  readonly issuer: Issuer;
  /** PKCS#8 PEM of the node's key; only its public half goes into the certificate. */
  readonly key: string;
  /** DNS names and IP addresses. The first one is the common name too. */
  readonly names: readonly [string, ...string[]];
  readonly validity: Validity;
  /** Default: `serverAuth` and `clientAuth`, since a node dials and listens. */
  readonly purposes?: readonly KeyPurpose[];
}

/**
 * A self-signed CA certificate, as PEM, for an EC key in PKCS#8 PEM.
 *
 * The name is made from the key: two CAs never share a name, and two certificates made for the same key
 * are interchangeable, which is what lets processes race for a directory (see store.ts).
 */
export function issueCaCert(keyPem: string, validity: Validity): string {
  const key = createPrivateKey(keyPem);
  const spki = publicKeyDer(key);
  const identifier = keyIdentifier(spki);
  const name = distinguishedName(`quicmesh development CA ${identifier.toString('hex', 0, 4)}`);
  return signCertificate(key, name, name, spki, validity, [
    // One level: the CA signs nodes, never another CA.
    extension(OID.basicConstraints, true, sequence(boolean(true), integer(Buffer.of(0)))),
    extension(OID.keyUsage, true, bitString(1, Buffer.of(0b0000_0110))), // keyCertSign, cRLSign
    extension(OID.subjectKeyIdentifier, false, octetString(identifier)),
    extension(OID.authorityKeyIdentifier, false, sequence(contextual(0, identifier))),
  ]);
}

/** A node's certificate, as PEM, signed by `issuer`. */
export function issueLeafCert(request: LeafRequest): string {
  const { issuer, names, purposes = ['serverAuth', 'clientAuth'] } = request;
  const spki = publicKeyDer(createPrivateKey(request.key));
  const ca = subjectOf(issuer.cert);
  // RFC 5280 bounds a common name at 64 characters. Verifiers read the alternative names, which are whole.
  const subject = distinguishedName(names[0].slice(0, 64));
  return signCertificate(issuer.key, ca.name, subject, spki, request.validity, [
    extension(OID.basicConstraints, true, sequence()),
    extension(OID.keyUsage, true, bitString(7, Buffer.of(0b1000_0000))), // digitalSignature
    extension(OID.extendedKeyUsage, false, sequence(...purposes.map((p) => oid(KEY_PURPOSES[p])))),
    extension(OID.subjectAltName, false, sequence(...names.map(generalName))),
    extension(OID.subjectKeyIdentifier, false, octetString(keyIdentifier(spki))),
    extension(OID.authorityKeyIdentifier, false, sequence(contextual(0, ca.identifier))),
  ]);
}

function signCertificate(
  issuerKey: KeyObject,
  issuer: Asn1,
  subject: Asn1,
  spki: Buffer,
  { notBefore, notAfter }: Validity,
  extensions: readonly Asn1[],
): string {
  const algorithm = sequence(oid(OID.ecdsaWithSha256));
  const toBeSigned = sequence(
    constructed(0, integer(Buffer.of(2))), // version 3
    integer(randomSerial()),
    algorithm,
    issuer,
    sequence(time(notBefore), time(notAfter)),
    subject,
    decodeDer(spki),
    constructed(3, sequence(...extensions)),
  );
  const signature = sign('sha256', encodeDer(toBeSigned), issuerKey);
  const der = encodeDer(sequence(toBeSigned, algorithm, bitString(0, signature)));
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

/** The name and key identifier an issued certificate must repeat, byte for byte, for its chain to be found. */
function subjectOf(ca: X509Certificate): { name: Asn1; identifier: Buffer } {
  const fields = childrenOf(childrenOf(decodeDer(ca.raw))[0]);
  const name = fields[5]; // version, serial, algorithm, issuer, validity, subject
  if (name === undefined) throw new TypeError('a CA certificate must be X.509 version 3');
  const extensions = fields.find((field) => isContextual(field, 3));
  const own = childrenOf(childrenOf(extensions)[0])
    .map(childrenOf)
    .find(([id]) => id !== undefined && oidOf(id) === OID.subjectKeyIdentifier);
  const encoded = own?.at(-1);
  if (encoded === undefined) return { name, identifier: keyIdentifier(publicKeyDer(ca.publicKey)) };
  return { name, identifier: contentOf(decodeDer(contentOf(encoded))) };
}

function publicKeyDer(key: KeyObject): Buffer {
  const publicKey = key.type === 'private' ? createPublicKey(key) : key;
  return publicKey.export({ type: 'spki', format: 'der' });
}

/** RFC 7093, section 2, method 4, cut to the 160 bits that SHA-1 identifiers have. */
function keyIdentifier(spki: Buffer): Buffer {
  return createHash('sha256').update(spki).digest().subarray(0, 20);
}

/** 126 random bits: the two highest are fixed, so that the number is positive and always 16 bytes long. */
function randomSerial(): Buffer {
  const serial = randomBytes(16);
  serial[0] = (serial[0]! & 0x3f) | 0x40;
  return serial;
}

function generalName(name: string): Asn1 {
  return isIP(name) === 0 ? contextual(2, Buffer.from(name)) : contextual(7, addressBytes(name));
}

function addressBytes(address: string): Buffer {
  if (isIP(address) === 4) return Buffer.from(address.split('.').map(Number));
  // URL brings every spelling of an IPv6 address, also one with an IPv4 tail, into hexadecimal groups.
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const groups = (part: string) => (part === '' ? [] : part.split(':'));
  const left = groups(head);
  const right = groups(tail ?? '');
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => '0');
  return Buffer.from(
    [...left, ...zeros, ...right].map((group) => group.padStart(4, '0')).join(''),
    'hex',
  );
}

function distinguishedName(commonName: string): Asn1 {
  const attribute = sequence(oid(OID.commonName), utf8String(commonName));
  return sequence(set(attribute));
}

function extension(id: string, critical: boolean, value: Asn1): Asn1 {
  const encoded = octetString(encodeDer(value));
  return critical ? sequence(oid(id), boolean(true), encoded) : sequence(oid(id), encoded);
}
