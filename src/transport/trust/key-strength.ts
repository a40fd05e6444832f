/**
 * Decides whether a certificate's key and signature are strong enough: at least 112 bits of security (NIST SP 800-57;
 * `openssl verify -auth_level 2`). Pure.
 */
import type { CertificateFields } from './certificate-fields.js';
import { DerReader, type DerValue, Tag } from './der-reader.js';

const MIN_RSA_BITS = 2048;
const MIN_CURVE_BITS = 224;

const RSA_PSS = '2a864886f70d01010a';
const EC_KEY = '2a8648ce3d0201';
const RSA_KEYS: ReadonlySet<string> = new Set(['2a864886f70d010101', RSA_PSS]);

/** Signature algorithms whose digest is too weak: MD2, MD4, MD5 and SHA-1. */
const WEAK_SIGNATURES: ReadonlySet<string> = new Set([
  '2a864886f70d010102', // md2WithRSAEncryption
  '2a864886f70d010103', // md4WithRSAEncryption
  '2a864886f70d010104', // md5WithRSAEncryption
  '2a864886f70d010105', // sha1WithRSAEncryption
  '2b0e03021d', // sha1WithRSA, of OIW
  '2b0e03021b', // dsaWithSHA1, of OIW
  '2a8648ce380403', // dsa-with-sha1
  '2a8648ce3d0401', // ecdsa-with-SHA1
]);
/** The digests that RSASSA-PSS may name. Without one it is SHA-1 (RFC 4055, section 3.1). */
const PSS_DIGESTS: ReadonlyMap<string, string> = new Map([
  ['608648016503040204', 'sha224'],
  ['608648016503040201', 'sha256'],
  ['608648016503040202', 'sha384'],
  ['608648016503040203', 'sha512'],
]);

const EXPLICIT_0 = 0xa0;

/** @throws MeshError InvalidOptions when an RSA key cannot be read */
export function isStrongKey({ key: { algorithm, bits } }: CertificateFields): boolean {
  if (algorithm === EC_KEY) return curveBits(bits) >= MIN_CURVE_BITS;
  if (!RSA_KEYS.has(algorithm)) return true;
  const modulus = new DerReader(bits).sequence().take(Tag.integer).content;
  return bitLength(modulus) >= MIN_RSA_BITS;
}

/** @throws MeshError InvalidOptions when its parameters cannot be read */
export function isStronglySigned({ signatureAlgorithm }: CertificateFields): boolean {
  const id = new DerReader(signatureAlgorithm.content).take(Tag.oid).content.toString('hex');
  if (id === RSA_PSS) return pssDigest(signatureAlgorithm) !== undefined;
  return !WEAK_SIGNATURES.has(id);
}

/**
 * The digest of an RSASSA-PSS algorithm identifier; `undefined` for another algorithm, or a weak digest.
 * @throws MeshError InvalidOptions when its parameters cannot be read
 */
export function pssDigest(algorithm: DerValue): string | undefined {
  const fields = new DerReader(algorithm.content);
  if (fields.take(Tag.oid).content.toString('hex') !== RSA_PSS || fields.isDone) return undefined;
  const digest = fields.sequence().takeIf(EXPLICIT_0);
  if (digest === undefined) return undefined;
  const id = new DerReader(digest.content).sequence().take(Tag.oid).content.toString('hex');
  return PSS_DIGESTS.get(id);
}

/** A point is two coordinates, or one coordinate and the sign of the other (SEC 1, section 2.3.3). */
function curveBits(point: Buffer): number {
  const isCompressed = point[0] === 2 || point[0] === 3;
  return ((point.length - 1) * 8) / (isCompressed ? 1 : 2);
}

function bitLength(integer: Buffer): number {
  const start = integer.findIndex((byte) => byte !== 0);
  if (start < 0) return 0;
  return (integer.length - start) * 8 - (Math.clz32(integer[start] as number) - 24);
}
