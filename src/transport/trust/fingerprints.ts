/**
 * What a certificate is known by, when it is revoked. A fingerprint covers the signature, and whoever has a certificate signed
 * by ECDSA can make a second one of it: where (r, s) is a signature, (r, n - s) is one as well, n being the order of the
 * curve. So a certificate is known by the fingerprints of both. The reader of DER sees to it that there are no other forms. Pure.
 */
import { createHash } from 'node:crypto';
import type { CertificateFields } from './certificate-fields.js';
import { DerReader, integerKey, Tag } from './der-reader.js';
import { curveOrderOf } from './key-strength.js';

/** The SHA-256 fingerprint, in the form that OpenSSL and Node.js print. */
export function fingerprint256Of({ raw }: CertificateFields): string {
  return pairsOf(digestOf('sha256', raw));
}

/** The SHA-256 digest of the public key (SubjectPublicKeyInfo), in the same form. */
export function keyFingerprint256Of(certificate: CertificateFields): string {
  return pairsOf(keyDigestOf(certificate));
}

function pairsOf(hex: string): string {
  return hex.toUpperCase().replaceAll(/..(?=.)/g, '$&:');
}

/**
 * All fingerprints by which somebody may know a certificate: SHA-256 and SHA-1, of it and of its twin, in lower-case hex.
 * @param issuer whose key has signed it
 */
export function fingerprintsOf(
  certificate: CertificateFields,
  issuer: CertificateFields,
): readonly string[] {
  const twin = twinOf(certificate, issuer);
  const forms = twin === undefined ? [certificate.raw] : [certificate.raw, twin];
  return forms.flatMap((der) => [digestOf('sha256', der), digestOf('sha1', der)]);
}

/** What the signature is over, so that its twin has the same: who issued it, under which number. */
export function issuedKeyOf({ issuerKey, serial }: CertificateFields): string {
  return digestOf('sha256', Buffer.from(JSON.stringify([issuerKey, integerKey(serial)])));
}

/** The SHA-256 digest of the public key (SubjectPublicKeyInfo), in lower-case hex. */
export function keyDigestOf({ key }: CertificateFields): string {
  return digestOf('sha256', key.spki);
}

/** The other certificate that is as good as this one; `undefined` unless the issuer has signed it by ECDSA. */
export function twinOf(
  { signed: { content, algorithm, signature } }: CertificateFields,
  { key }: CertificateFields,
): Buffer | undefined {
  const order = curveOrderOf(key);
  if (order === undefined) return undefined;
  const fields = new DerReader(signature).sequence();
  const r = fields.take(Tag.integer).raw;
  const s = BigInt(`0x${fields.take(Tag.integer).content.toString('hex')}`);
  const twin = derOf(Tag.sequence, r, derOf(Tag.integer, integerContent(order - s)));
  const bits = derOf(Tag.bitString, Buffer.of(0), twin);
  return derOf(Tag.sequence, content, algorithm.raw, bits);
}

function derOf(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  if (length < 0x80) return Buffer.concat([Buffer.of(tag, length), content]);
  const digits = bytesOf(BigInt(length));
  return Buffer.concat([Buffer.of(tag, 0x80 | digits.length), digits, content]);
}

/** A positive integer: its first bit is the sign. */
function integerContent(value: bigint): Buffer {
  const bytes = bytesOf(value);
  return (bytes[0] as number) < 0x80 ? bytes : Buffer.concat([Buffer.of(0), bytes]);
}

function bytesOf(value: bigint): Buffer {
  const hex = value.toString(16);
  return Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex');
}

function digestOf(algorithm: 'sha256' | 'sha1', bytes: Uint8Array): string {
  return createHash(algorithm).update(bytes).digest('hex');
}
