/** A node's own certificates: what TLS gets of them, and the checks that need no peer. */
import type { KeyObject, X509Certificate } from 'node:crypto';
import { MeshError, toMeshError } from '../../errors.js';
import type { Role, TlsMaterial } from '../connection.js';
import { readAnchors, readOwn, sortAnchors } from './anchors.js';
import type { CertificateFields } from './certificate-fields.js';
import { checkAlone, maySign } from './chain-rules.js';
import { isChainTooLarge, MAX_CHAIN_BYTES } from './chain-size.js';
import { nameText } from './distinguished-name.js';
import { TrustStore } from './identity.js';
import { weaknessOf } from './key-strength.js';
import { formatKey, formatPem, parseKey, parsePem } from './pem.js';
import { isStronglySigned } from './signatures.js';

/** A node's own certificates and key in the PEM form that every TLS library reads. None of them is given a CA. */
export type TlsInput = Pick<TlsMaterial, 'cert' | 'key'>;

/**
 * Writes PEM anew, so that all TLS libraries see the same. Empty text stays empty: a transport may dial without a certificate,
 * and is then refused.
 * @throws MeshError InvalidOptions when certificates or key cannot be read
 */
export function tlsInputOf({ cert, key }: TlsMaterial): TlsInput {
  const own = parsePem(cert);
  if (own.length === 0 && cert !== '') {
    throw new MeshError('InvalidOptions', 'tls.cert holds no certificate');
  }
  return {
    cert: formatPem(own),
    key: key === '' ? '' : formatKey(parseKey(key)),
  };
}

/** Whether two materials are equal. A function may return a new object each time without any change in it. */
export function isSameMaterial(a: TlsMaterial, b: TlsMaterial): boolean {
  if (a === b) return true;
  if (a.ca !== b.ca || a.cert !== b.cert || a.key !== b.key) return false;
  return isSameList(a.revoked, b.revoked) && isSameList(a.crl, b.crl);
}

/** Compares lists by their members, text by its characters, and buffers by identity. */
function isSameList(a: TlsMaterial['crl'], b: TlsMaterial['crl']): boolean {
  if (a === b) return true;
  if (!Array.isArray(a) || !Array.isArray(b)) return false;
  return a.length === b.length && a.every((entry, index) => entry === b[index]);
}

/** What was read of a material to check it. */
export interface CheckedMaterial {
  readonly trust: TrustStore;
  readonly key: KeyObject;
}

/**
 * Checks that certificates and key can be read, belong together, and can sign in TLS 1.3.
 * @throws MeshError InvalidOptions
 */
export function checkTlsMaterial(material: TlsMaterial): CheckedMaterial {
  const { cert, key } = material;
  const trust = TrustStore.of(material);
  const [leaf, ...others] = parsePem(cert);
  if (leaf === undefined) throw new MeshError('InvalidOptions', 'tls.cert holds no certificate');
  checkShown([leaf, ...others]);
  const privateKey = parseKey(key);
  if (!leaf.checkPrivateKey(privateKey)) {
    throw new MeshError('InvalidOptions', 'tls.key does not belong to tls.cert');
  }
  if (!TLS_KEYS.has(typeOf(privateKey))) {
    const text = `tls.key: TLS 1.3 has no signatures of keys of type ${typeOf(privateKey)}`;
    throw new MeshError('InvalidOptions', text);
  }
  if (!maySign(readOwn(leaf, 'tls.cert'))) {
    // RFC 8446, section 4.4.2.2. Every peer would refuse it.
    throw new MeshError('InvalidOptions', 'tls.cert: its key usage has no digitalSignature');
  }
  return { trust, key: privateKey };
}

/**
 * Refuses a chain that every peer would refuse, on both transports, for what its certificates are by themselves.
 * @throws MeshError InvalidOptions
 */
function checkShown(chain: readonly X509Certificate[]): void {
  if (isChainTooLarge(chain.map(({ raw }) => raw))) {
    const text = `tls.cert: peers take no more than ${MAX_CHAIN_BYTES} bytes of certificates`;
    throw new MeshError('InvalidOptions', text);
  }
  const { roots, intermediates } = sortAnchors(chain, 'tls.cert');
  for (const certificate of intermediates) {
    // A root that is shown as well is trusted, or not, as the peer has it.
    if (!isStronglySigned(certificate.signed)) throw weak(certificate, 'its signature is too weak');
  }
  for (const certificate of [...roots, ...intermediates]) {
    const weakness = weaknessOf(certificate.key);
    if (weakness !== undefined) throw weak(certificate, weakness);
  }
}

function weak({ subject }: CertificateFields, text: string): MeshError {
  return new MeshError('InvalidOptions', `tls.cert: ${nameText(subject)}: ${text}`);
}

/** The kinds of keys that BoringSSL, and so QUIC, can sign with. */
const QUIC_KEYS: ReadonlySet<string> = new Set([
  'rsa',
  'ec prime256v1',
  'ec secp384r1',
  'ec secp521r1',
  'ed25519',
]);
const TLS_KEYS: ReadonlySet<string> = new Set([...QUIC_KEYS, 'rsa-pss', 'ed448']);

/**
 * Checks that QUIC can use the key.
 * @throws MeshError InvalidOptions
 */
export function checkQuicKey(key: KeyObject): void {
  const type = typeOf(key);
  if (QUIC_KEYS.has(type)) return;
  const text = `tls.key: QUIC cannot use keys of type ${type}, of which TCP can; see transports`;
  throw new MeshError('InvalidOptions', text);
}

function typeOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): string {
  const curve = asymmetricKeyDetails?.namedCurve;
  return curve === undefined ? `${asymmetricKeyType}` : `${asymmetricKeyType} ${curve}`;
}

/**
 * Refuses CAs with which nobody can connect, now or later.
 * @throws MeshError InvalidOptions
 */
export function checkAnchors({ ca }: TlsMaterial, nowMs: number): void {
  const { roots } = readAnchors(ca);
  if (roots.length === 0) {
    const text = 'tls.ca has no self-signed certificate: bring the root that its CAs lead to';
    throw new MeshError('InvalidOptions', text);
  }
  const current = roots.filter(({ toMs }) => toMs >= nowMs);
  if (current.length === 0) {
    throw new MeshError('InvalidOptions', `tls.ca: ${listOf(roots)} expired, and so has no use`);
  }
  const reasons = current.map(reasonAgainst);
  if (reasons.every((reason) => reason !== undefined)) {
    throw new MeshError('InvalidOptions', `tls.ca: nobody can connect: ${reasons.join('; ')}`);
  }
}

/** Why a root is useless. */
function reasonAgainst(root: CertificateFields): string | undefined {
  try {
    checkAlone(root);
    return undefined;
  } catch (thrown) {
    return `${nameText(root.subject)}: ${toMeshError(thrown).message}`;
  }
}

/** A flaw of a node's certificates that is allowed: it may pass with time, or matter in one role only. */
export interface Doubt {
  readonly text: string;
  /** The error that a peer with the same CAs would report. */
  readonly error?: MeshError | undefined;
}

/**
 * Finds what may keep peers from connecting, but need not.
 * @param trust the trust store of this material
 */
export function doubtsAbout(
  material: TlsMaterial,
  trust: TrustStore,
  nowMs: number,
): readonly Doubt[] {
  const doubts: Doubt[] = [];
  const current = readAnchors(material.ca).roots.filter(({ toMs }) => toMs >= nowMs);
  if (current.every(({ fromMs }) => fromMs > nowMs)) {
    doubts.push({ text: 'no CA in tls.ca is valid yet: is the clock right?' });
  }
  const error = objectionToOwn(material, trust, nowMs);
  if (error !== undefined) {
    doubts.push({
      text: 'peers with the same CAs will refuse the certificate of this node',
      error,
    });
  }
  return doubts;
}

const ROLES: readonly Role[] = ['acceptor', 'dialer'];

/** A certificate that is good in one role may be meant for that role. */
function objectionToOwn(
  { cert }: TlsMaterial,
  trust: TrustStore,
  nowMs: number,
): MeshError | undefined {
  const chain = parsePem(cert).map(({ raw }) => raw);
  const errors = ROLES.map((role) => {
    try {
      trust.verify(chain, role, nowMs);
      return undefined;
    } catch (thrown) {
      return toMeshError(thrown);
    }
  });
  return errors.includes(undefined) ? undefined : errors[0];
}

function listOf(roots: readonly CertificateFields[]): string {
  return roots.map(({ subject }) => nameText(subject)).join('; ');
}
