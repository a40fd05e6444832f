/**
 * Decides which keys a certificate may have: with at least 112 bits of security (NIST SP 800-57; `openssl verify -auth_level 2`),
 * and none that takes long. Pure.
 */
import { DerReader, Tag } from './der-reader.js';

/** A public key, as a certificate has it. */
export interface CertificateKey {
  /** The SubjectPublicKeyInfo in DER. */
  readonly spki: Buffer;
  /** Object identifiers in hex. The curve is that of an elliptic-curve key, by name. */
  readonly algorithm: string;
  readonly curve: string | undefined;
  readonly bits: Buffer;
}

const MIN_RSA_BITS = 2048;
const MAX_RSA_BITS = 8192;
/** BoringSSL has 33 as well; OpenSSL has no limit up to 3,072 bits, and takes 20 ms for an exponent as long as the modulus. */
const MAX_EXPONENT_BITS = 33;

const EC_KEY = '2a8648ce3d0201';
const RSA_KEYS: ReadonlySet<string> = new Set([
  '2a864886f70d010101', // rsaEncryption
  '2a864886f70d01010a', // id-RSASSA-PSS
]);
const EDWARDS_KEYS: ReadonlySet<string> = new Set(['2b6570', '2b6571']);

/** Curves by object identifier, and the order of each. A curve that is given by its parameters is none of them. */
const CURVE_ORDERS: ReadonlyMap<string, bigint> = new Map([
  // P-224, P-256, P-384, P-521
  ['2b81040021', 0xffffffffffffffffffffffffffff16a2e0b8f03e13dd29455c5c2a3dn],
  ['2a8648ce3d030107', 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n],
  [
    '2b81040022',
    0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
  ],
  [
    '2b81040023',
    0x1fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n,
  ],
  // secp256k1
  ['2b8104000a', 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n],
  // brainpoolP256r1, P384r1, P512r1
  ['2b2403030208010107', 0xa9fb57dba1eea9bc3e660a909d838d718c397aa3b561a6f7901e0e82974856a7n],
  [
    '2b240303020801010b',
    0x8cb91e82a3386d280f5d6f7e50e641df152f7109ed5456b31f166e6cac0425a7cf3ab6af6b7fc3103b883202e9046565n,
  ],
  [
    '2b240303020801010d',
    0xaadd9db8dbe9c48b3fd4e6ae33c9fc07cb308db3b3c9d20ed6639cca70330870553e5c414ca92619418661197fac10471db1d381085ddaddb58796829ca90069n,
  ],
]);

/**
 * Why a key is not taken, if it is not.
 * @throws MeshError InvalidOptions when an RSA key cannot be read
 */
export function weaknessOf({ algorithm, curve, bits }: CertificateKey): string | undefined {
  if (EDWARDS_KEYS.has(algorithm)) return undefined;
  if (algorithm === EC_KEY) {
    return CURVE_ORDERS.has(curve ?? '') ? undefined : 'key is of a curve that is too weak, or odd';
  }
  if (!RSA_KEYS.has(algorithm)) return 'key is of a kind that is not supported';
  const fields = new DerReader(bits).sequence();
  const modulusBits = bitLength(fields.take(Tag.integer).content);
  const exponent = fields.take(Tag.integer).content;
  if (modulusBits < MIN_RSA_BITS) return 'key is too short';
  if (modulusBits > MAX_RSA_BITS) return 'key is too long';
  const isOdd = ((exponent.at(-1) ?? 0) & 1) === 1;
  const exponentBits = bitLength(exponent);
  if (isOdd && exponentBits > 1 && exponentBits <= MAX_EXPONENT_BITS) return undefined;
  return 'key has an exponent that nobody uses';
}

/** The order of a key's curve; `undefined` for other keys. */
export function curveOrderOf({ curve }: CertificateKey): bigint | undefined {
  return CURVE_ORDERS.get(curve ?? '');
}

function bitLength(integer: Buffer): number {
  const start = integer.findIndex((byte) => byte !== 0);
  if (start < 0) return 0;
  return (integer.length - start) * 8 - (Math.clz32(integer[start] as number) - 24);
}
