/** Checks signatures of certificates and CRLs, by the algorithms that are strong enough. RFC 5280, section 4.1.1.2. */
import { constants, createPublicKey, type KeyObject, verify } from 'node:crypto';
import { DerReader, type DerValue, Tag } from './der-reader.js';

/** What was signed, by which algorithm, and the signature. */
export interface Signed {
  /** In DER, as it was signed. */
  readonly content: Buffer;
  readonly algorithm: DerValue;
  readonly signature: Buffer;
}

/** How something was signed. */
interface Scheme {
  /** `null` for an algorithm with a digest of its own. */
  readonly digest: string | null;
  readonly isPss: boolean;
}

const RSA_PSS = '2a864886f70d01010a';

/**
 * Signature algorithms by object identifier. MD5 and SHA-1 are not here, and DSA neither: TLS 1.3 has none of them.
 * RSASSA-PSS names its digest in its parameters.
 */
const SCHEMES: ReadonlyMap<string, Scheme> = new Map(
  (
    [
      ['2a8648ce3d040301', 'sha224'], // ecdsa-with-SHA224
      ['2a8648ce3d040302', 'sha256'],
      ['2a8648ce3d040303', 'sha384'],
      ['2a8648ce3d040304', 'sha512'],
      ['2a864886f70d01010e', 'sha224'], // sha224WithRSAEncryption
      ['2a864886f70d01010b', 'sha256'],
      ['2a864886f70d01010c', 'sha384'],
      ['2a864886f70d01010d', 'sha512'],
      ['2b6570', null], // Ed25519
      ['2b6571', null], // Ed448
    ] as const
  ).map(([id, digest]) => [id, { digest, isPss: false }]),
);
/** The digests that RSASSA-PSS may name. Without one it is SHA-1 (RFC 4055, section 3.1). */
const PSS_DIGESTS: ReadonlyMap<string, string> = new Map([
  ['608648016503040204', 'sha224'],
  ['608648016503040201', 'sha256'],
  ['608648016503040202', 'sha384'],
  ['608648016503040203', 'sha512'],
]);

const EXPLICIT_0 = 0xa0;

/**
 * Whether the algorithm is known and strong enough.
 * @throws MeshError InvalidOptions when its parameters cannot be read
 */
export function isStronglySigned({ algorithm }: Signed): boolean {
  return schemeOf(algorithm) !== undefined;
}

/**
 * Checks a signature, of an algorithm that is strong enough.
 * @param key one that this node has reason to trust: some keys take many milliseconds, and strangers would choose those
 */
export function isSignature(signed: Signed, key: KeyObject): boolean {
  const scheme = schemeOf(signed.algorithm);
  if (scheme === undefined) return false;
  const padding = scheme.isPss ? { padding: constants.RSA_PKCS1_PSS_PADDING } : {};
  try {
    return verify(scheme.digest, signed.content, { key, ...padding }, signed.signature);
  } catch {
    // The key is of another kind than the signature.
    return false;
  }
}

/** @param spki a SubjectPublicKeyInfo in DER. @returns undefined when it cannot be read */
export function publicKeyOf(spki: Buffer): KeyObject | undefined {
  try {
    return createPublicKey({ key: spki, format: 'der', type: 'spki' });
  } catch {
    return undefined;
  }
}

function schemeOf(algorithm: DerValue): Scheme | undefined {
  const fields = new DerReader(algorithm.content);
  const id = fields.take(Tag.oid).content.toString('hex');
  if (id !== RSA_PSS) return SCHEMES.get(id);
  const digest = fields.isDone ? undefined : fields.sequence().takeIf(EXPLICIT_0);
  if (digest === undefined) return undefined;
  const named = new DerReader(digest.content).sequence().take(Tag.oid).content.toString('hex');
  const known = PSS_DIGESTS.get(named);
  return known === undefined ? undefined : { digest: known, isPss: true };
}
