/** A node's own certificates: what TLS is given of them, and what can be said of them without a peer. */
import type { KeyObject, X509Certificate } from 'node:crypto';
import { MeshError, toMeshError } from '../../errors.js';
import { sameNodeId } from '../../protocol/handshake.js';
import type { Role, TlsMaterial } from '../connection.js';
import { type ChainLink, readLink } from './chain-paths.js';
import { checkAlone, mayIssue, maySign } from './chain-rules.js';
import { certifiedNodeIds, readAnchors, TrustStore } from './identity.js';
import { formatKey, formatPem, parseKey, parsePem } from './pem.js';

/** Certificates and key as every TLS library reads them, in PEM. */
export type TlsInput = Pick<TlsMaterial, 'ca' | 'cert' | 'key'>;

/**
 * Writes PEM anew, so that all libraries see the same. Nothing stays nothing: a transport may dial without a certificate,
 * to learn that it is refused.
 * @throws MeshError InvalidOptions when certificates or key cannot be read
 */
export function tlsInputOf({ ca, cert, key }: TlsMaterial): TlsInput {
  const own = parsePem(cert);
  if (own.length === 0 && cert !== '') {
    throw new MeshError('InvalidOptions', 'tls.cert holds no certificate');
  }
  return {
    ca: formatPem(parsePem(ca)),
    cert: formatPem(own),
    key: key === '' ? '' : formatKey(parseKey(key)),
  };
}

/** Whether two are the same to the letter: a function that answers with a new object each time brings nothing new. */
export function isSameMaterial(a: TlsMaterial, b: TlsMaterial): boolean {
  if (a === b) return true;
  if (a.ca !== b.ca || a.cert !== b.cert || a.key !== b.key) return false;
  return isSameList(a.revoked, b.revoked) && isSameList(a.crl, b.crl);
}

/** Lists by what is in them, text by its characters, and memory by where it is. */
function isSameList(a: TlsMaterial['crl'], b: TlsMaterial['crl']): boolean {
  if (a === b) return true;
  if (!Array.isArray(a) || !Array.isArray(b)) return false;
  return a.length === b.length && a.every((entry, index) => entry === b[index]);
}

/**
 * Checks that certificates and key can be read, belong together, and can sign in TLS 1.3.
 * @throws MeshError InvalidOptions
 */
export function checkTlsMaterial(material: TlsMaterial): void {
  const { cert, key } = material;
  TrustStore.of(material);
  const [leaf] = parsePem(cert);
  if (leaf === undefined) throw new MeshError('InvalidOptions', 'tls.cert holds no certificate');
  const privateKey = parseKey(key);
  if (!leaf.checkPrivateKey(privateKey)) {
    throw new MeshError('InvalidOptions', 'tls.key does not belong to tls.cert');
  }
  if (!TLS_KEYS.has(typeOf(privateKey))) {
    const text = `tls.key: TLS 1.3 has no signatures of keys of type ${typeOf(privateKey)}`;
    throw new MeshError('InvalidOptions', text);
  }
  if (maySign(readOwn(leaf).fields)) return;
  // RFC 8446, section 4.4.2.2. Every peer would refuse it.
  throw new MeshError('InvalidOptions', 'tls.cert: its key usage has no digitalSignature');
}

/** Of BoringSSL, too. */
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
export function checkQuicKey({ key }: TlsMaterial): void {
  const type = typeOf(parseKey(key));
  if (QUIC_KEYS.has(type)) return;
  const text = `tls.key: QUIC cannot use keys of type ${type}, of which TCP can; see transports`;
  throw new MeshError('InvalidOptions', text);
}

function typeOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): string {
  const curve = asymmetricKeyDetails?.namedCurve;
  return curve === undefined ? `${asymmetricKeyType}` : `${asymmetricKeyType} ${curve}`;
}

/**
 * Refuses CAs with which nobody can ever connect, whatever time brings.
 * @throws MeshError InvalidOptions
 */
export function checkAnchors({ ca }: TlsMaterial, nowMs: number): void {
  const roots = readAnchors(ca).filter(({ fields }) => fields.isSelfSigned);
  if (roots.length === 0) {
    const text = 'tls.ca has no self-signed certificate: bring the root that its CAs lead to';
    throw new MeshError('InvalidOptions', text);
  }
  const current = roots.filter(({ fields }) => fields.toMs >= nowMs);
  if (current.length === 0) {
    throw new MeshError('InvalidOptions', `tls.ca: ${listOf(roots)} expired, and so has no use`);
  }
  const reasons = current.map(reasonAgainst);
  if (reasons.every((reason) => reason !== undefined)) {
    throw new MeshError('InvalidOptions', `tls.ca: nobody can connect: ${reasons.join('; ')}`);
  }
}

/** Why nobody can be known by this root: it issues nothing, and is no node's own certificate either. */
function reasonAgainst(root: ChainLink): string | undefined {
  const { certificate, fields } = root;
  try {
    checkAlone(fields);
  } catch (thrown) {
    return `${nameOf(root)}: ${toMeshError(thrown).message}`;
  }
  if (mayIssue(fields) || certifiedNodeIds(certificate).length > 0) return undefined;
  return `${nameOf(root)} may not issue certificates, and names no node`;
}

/** Something about a node's certificates that is legal for a while, or on one side. */
export interface Doubt {
  readonly text: string;
  /** What a peer with the same CAs would say. */
  readonly error?: MeshError | undefined;
}

/** What may keep this node and others apart, but need not. */
export function doubtsAbout(
  material: TlsMaterial,
  nodeId: string,
  nowMs: number,
): readonly Doubt[] {
  const doubts: Doubt[] = [];
  const roots = readAnchors(material.ca).filter(({ fields }) => fields.isSelfSigned);
  const current = roots.filter(({ fields }) => fields.toMs >= nowMs);
  if (current.every(({ fields }) => fields.fromMs > nowMs)) {
    doubts.push({ text: 'no CA in tls.ca is valid yet: is the clock right?' });
  }
  const error = objectionToOwn(material, nowMs);
  if (error !== undefined) {
    doubts.push({
      text: 'peers with the same CAs will refuse the certificate of this node',
      error,
    });
  }
  const [leaf] = parsePem(material.cert);
  const isOwnPin = ({ certificate, fields }: ChainLink) =>
    !mayIssue(fields) &&
    leaf?.raw.equals(certificate.raw) === true &&
    certifiedNodeIds(certificate).every((name) => sameNodeId(name, nodeId));
  if (current.every(isOwnPin)) {
    doubts.push({ text: 'tls.ca has only the certificate of this node: no peer can connect' });
  }
  return doubts;
}

const ROLES: readonly Role[] = ['acceptor', 'dialer'];

/** A certificate that is good in one role is meant for that, perhaps. */
function objectionToOwn(material: TlsMaterial, nowMs: number): MeshError | undefined {
  const trust = TrustStore.of(material);
  const chain = parsePem(material.cert).map(({ raw }) => raw);
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

/** @throws MeshError InvalidOptions */
function readOwn(leaf: X509Certificate): ChainLink {
  try {
    return readLink(leaf);
  } catch (cause) {
    throw new MeshError('InvalidOptions', 'tls.cert cannot be read', { cause });
  }
}

function listOf(links: readonly ChainLink[]): string {
  return links.map(nameOf).join('; ');
}

function nameOf({ certificate }: ChainLink): string {
  return certificate.subject?.replaceAll('\n', ', ') ?? 'a certificate';
}
