/**
 * Checks who a peer is: its certificate chain, dates, usage and names. SPEC.md, "Identity".
 *
 * This check alone decides. It runs after every handshake, on both sides and both transports, and both sides see its codes.
 * The TLS libraries only prove that the peer has the key of its certificate, and are told to accept every chain: each has
 * rules of its own, and none checks a chain again when a session is resumed.
 */
import { X509Certificate } from 'node:crypto';
import { isAboutCertificate, MeshError, type MeshErrorCode, toMeshError } from '../../errors.js';
import { canonicalNodeId, quote } from '../../protocol/node-id.js';
import type { PeerIdentity, Role, TlsMaterial } from '../connection.js';
import { type CertificateFields, NameTag } from './certificate-fields.js';
import { type ChainLink, pathsOf, readLink } from './chain-paths.js';
import { checkPath } from './chain-rules.js';
import { checkChainSize } from './chain-size.js';
import { type Crl, issuerKeyOf, newestOf, parseCrls } from './crl.js';
import { parsePem } from './pem.js';
import { chainKey, type Validity, VerifiedChains } from './verified-chains.js';

/** How many different certificates of a peer are read. Not all need to lead to a root. */
const MAX_CERTIFICATES = 16;
/** How many bytes of the certificates behind the leaf are kept while the connection lives. */
const MAX_KEPT_BYTES = 32 * 1024;

/** The roots that peers' certificates must lead to, and what was revoked. It checks chains against both. */
export class TrustStore {
  readonly #anchors: readonly ChainLink[];
  /** Revoked fingerprints and serial numbers, in the form of {@link plainHex}. */
  readonly #revoked: ReadonlySet<string>;
  /** CRLs by the CA that signed them. */
  readonly #crls: ReadonlyMap<string, SignedCrl>;
  readonly #verified = new VerifiedChains();

  /** The trust store of a node's own TLS material. @throws MeshError as the constructor, and if `cert` cannot be read */
  static of({ ca, cert, revoked, crl }: TlsMaterial): TrustStore {
    if (crl === undefined) return new TrustStore(ca, revoked);
    return new TrustStore(ca, revoked, parseCrls(crl), parsePem(cert).slice(1));
  }

  /**
   * @param pem the roots
   * @param revoked see TlsMaterial
   * @throws MeshError InvalidOptions when `pem` holds no certificate or an unreadable one, `revoked` something else than hex,
   *   or a CRL is not signed by a known CA, or is dated in the future
   */
  constructor(pem: string, revoked?: readonly string[]);
  /**
   * @internal
   * @param intermediates other CAs that may have signed CRLs
   */
  constructor(
    pem: string,
    revoked: readonly string[] | undefined,
    crls: readonly Crl[],
    intermediates: readonly X509Certificate[],
  );
  constructor(
    pem: string,
    revoked: readonly string[] = [],
    crls: readonly Crl[] = [],
    intermediates: readonly X509Certificate[] = [],
  ) {
    this.#revoked = new Set(revoked.map(parseRevoked));
    this.#anchors = readAnchors(pem);
    const cas = this.#anchors.map(({ certificate }) => certificate);
    this.#crls = assignCrls(crls, [...cas, ...intermediates]);
  }

  /** CAs whose CRL should have been replaced by now. */
  outdatedCrls(
    nowMs: number,
  ): readonly { readonly issuer: string; readonly nextUpdateMs: number }[] {
    return [...this.#crls.values()].flatMap(({ issuer, crl: { nextUpdateMs } }) =>
      nextUpdateMs !== undefined && nextUpdateMs < nowMs ? [{ issuer, nextUpdateMs }] : [],
    );
  }

  /**
   * Checks a peer's chain, as TLS delivered it: DER, leaf first. The other certificates may come in any order, and there may be
   * more than needed: the chain is good if any path leads from the leaf to a root.
   * @param peerRole what the peer is in this connection: an acceptor must be a TLS server, a dialer a client
   * @throws MeshError CertificateRequired, CertificateInvalid, CertificateUntrusted, CertificateExpired,
   *   CertificateNotYetValid, CertificateRevoked, CertificateUsage
   */
  verify(chain: readonly Uint8Array[], peerRole: Role, nowMs: number): PeerIdentity {
    checkChainSize(chain);
    const key = chainKey(chain);
    const known = this.#verified.get(key);
    if (known?.validities[peerRole]?.every((validity) => isWithin(validity, nowMs)) === true) {
      return known.identity;
    }
    const [first, ...others] = distinct(chain).map(parseDer);
    if (first === undefined) {
      throw new MeshError('CertificateRequired', 'peer sent no certificate');
    }
    const leaf = readLink(first);
    const intermediates = readable(others);
    checkDates(validityOf(leaf), nowMs);
    const path = this.#findPath(leaf, intermediates, peerRole, nowMs);
    const identity = known?.identity ?? identityOf(path, intermediates);
    const validities = { ...known?.validities, [peerRole]: path.map(validityOf) };
    this.#verified.put(key, { identity, validities });
    return identity;
  }

  /** @returns the first path to a root that passes all checks */
  #findPath(
    leaf: ChainLink,
    intermediates: readonly ChainLink[],
    peerRole: Role,
    nowMs: number,
  ): readonly ChainLink[] {
    const text = 'certificate does not lead to a trusted CA';
    let objection = new MeshError('CertificateUntrusted', text);
    for (const path of pathsOf(leaf, intermediates, this.#anchors)) {
      const found = this.#objectionTo(path, peerRole, nowMs);
      if (found === undefined) return path;
      if (weightOf(found) >= weightOf(objection)) objection = found;
    }
    throw objection;
  }

  #objectionTo(path: readonly ChainLink[], peerRole: Role, nowMs: number): MeshError | undefined {
    try {
      for (const link of path) checkDates(validityOf(link), nowMs);
      checkPath(
        path.map(({ fields }) => fields),
        peerRole,
      );
      // A root is trusted until it is removed from the options. A leaf that is its own root was issued by itself.
      const issuers = path.length === 1 ? path : path.slice(1);
      for (const [at, { certificate }] of issuers.entries()) {
        this.#checkRevoked((path[at] as ChainLink).certificate, certificate);
      }
      return undefined;
    } catch (thrown) {
      const error = toMeshError(thrown);
      if (isAboutCertificate(error.code)) return error;
      return new MeshError('CertificateInvalid', 'a certificate cannot be read', { cause: thrown });
    }
  }

  #checkRevoked({ fingerprint256, serialNumber }: X509Certificate, issuer: X509Certificate): void {
    if (this.#revoked.size === 0 && this.#crls.size === 0) return;
    const serial = plainHex(serialNumber);
    const isRevoked = this.#revoked.has(serial) || this.#revoked.has(plainHex(fingerprint256));
    if (!isRevoked && !this.#isListed(serial, issuer)) return;
    throw new MeshError('CertificateRevoked', `certificate ${serialNumber} was revoked`);
  }

  #isListed(serial: string, issuer: X509Certificate): boolean {
    if (this.#crls.size === 0) return false;
    return this.#crls.get(issuerKeyOf(issuer))?.crl.serials.has(serial) ?? false;
  }
}

/** The order of checks. When every path fails, the error is that of the path which passed the most checks. */
const WEIGHTS: readonly MeshErrorCode[] = [
  'CertificateUntrusted',
  'CertificateNotYetValid',
  'CertificateExpired',
  'CertificateInvalid',
  'CertificateUsage',
  'CertificateRevoked',
];

function weightOf({ code }: MeshError): number {
  return WEIGHTS.indexOf(code);
}

/** Reads the trusted roots, and other CAs, of a PEM text. @throws MeshError InvalidOptions */
export function readAnchors(pem: string): readonly ChainLink[] {
  const certificates = parsePem(pem);
  if (certificates.length === 0) {
    throw new MeshError('InvalidOptions', 'tls.ca holds no certificate');
  }
  try {
    return certificates.map(readLink);
  } catch (cause) {
    throw new MeshError('InvalidOptions', 'a certificate in tls.ca cannot be read', { cause });
  }
}

/** The certificates without repetitions. */
function distinct(chain: readonly Uint8Array[]): readonly Uint8Array[] {
  const kept: Uint8Array[] = [];
  for (const certificate of chain) {
    if (kept.length === MAX_CERTIFICATES) break;
    if (!kept.some((other) => Buffer.compare(other, certificate) === 0)) kept.push(certificate);
  }
  return kept;
}

/** @param intermediates kept behind those of the path: once roots are reloaded, they may lead to a new one */
function identityOf(path: readonly ChainLink[], intermediates: readonly ChainLink[]): PeerIdentity {
  const { certificate, fields } = path[0] as ChainLink;
  const others = intermediates.filter((link) => !path.includes(link));
  const links = [...path.slice(0, Math.max(1, path.length - 1)), ...others];
  return {
    nodeIds: nodeIdsOf(fields),
    fingerprint256: certificate.fingerprint256,
    validToMs: fields.toMs,
    chain: keptChain(links.map((link) => link.certificate.raw)),
  };
}

/** A CRL whose signature was checked. */
interface SignedCrl {
  readonly crl: Crl;
  /** The CA's subject, for log lines. */
  readonly issuer: string;
}

/** Finds the CA of each CRL. @throws MeshError InvalidOptions for a CRL that none of the CAs has signed */
function assignCrls(
  crls: readonly Crl[],
  cas: readonly X509Certificate[],
): ReadonlyMap<string, SignedCrl> {
  const assigned = new Map<string, { issuer: X509Certificate; crls: Crl[] }>();
  for (const crl of crls) {
    const issuer = cas.find((ca) => ca.ca && crl.isSignedBy(ca));
    if (issuer === undefined) {
      const text = 'tls.crl has a CRL that none of the CAs in tls.ca and tls.cert has signed';
      throw new MeshError('InvalidOptions', text);
    }
    const key = issuerKeyOf(issuer);
    const known = assigned.get(key);
    if (known === undefined) assigned.set(key, { issuer, crls: [crl] });
    else known.crls.push(crl);
  }
  const nowMs = Date.now();
  return new Map(
    [...assigned].map(([key, { issuer, crls: own }]) => {
      const crl = newestOf(own, nowMs) as Crl;
      return [key, { crl, issuer: issuer.subject?.replaceAll('\n', ', ') ?? 'a CA' }];
    }),
  );
}

/** Copies the chain, since TLS delivers views of larger buffers. A chain that is cut here may not lead to its CA again. */
function keptChain([leaf, ...rest]: readonly Uint8Array[]): readonly Uint8Array[] {
  const kept = leaf === undefined ? [] : [Uint8Array.from(leaf)];
  let bytes = 0;
  for (const certificate of rest) {
    bytes += certificate.length;
    if (bytes > MAX_KEPT_BYTES) break;
    kept.push(Uint8Array.from(certificate));
  }
  return kept;
}

function parseRevoked(text: string): string {
  const hex = plainHex(text);
  if (/^[0-9a-f]+$/.test(hex)) return hex;
  throw new MeshError(
    'InvalidOptions',
    `tls.revoked: ${JSON.stringify(text.slice(0, 100))} is not hex`,
  );
}

/** Hex without separators and leading zeros. In serial numbers those mean nothing; fingerprints lose them on both sides. */
function plainHex(text: string): string {
  return text
    .replaceAll(/[:\s]/g, '')
    .toLowerCase()
    .replace(/^0+(?=.)/, '');
}

/**
 * Checks that an identity may claim a node id.
 * @throws MeshError CertificateNameMismatch
 */
export function checkNodeId(identity: PeerIdentity, nodeId: string): void {
  const id = canonicalNodeId(nodeId);
  if (id !== undefined && identity.nodeIds.includes(id)) return;
  const text = `certificate does not name node ${quote(nodeId)}`;
  throw new MeshError('CertificateNameMismatch', text);
}

function parseDer(der: Uint8Array): X509Certificate {
  try {
    return new X509Certificate(der);
  } catch (cause) {
    const text = 'peer sent a certificate that cannot be read';
    throw new MeshError('CertificateInvalid', text, { cause });
  }
}

/** The certificates that can be read. An unreadable one leads nowhere, but does no harm to the others. */
function readable(certificates: readonly X509Certificate[]): readonly ChainLink[] {
  return certificates.flatMap((certificate) => {
    try {
      return [readLink(certificate)];
    } catch {
      return [];
    }
  });
}

function validityOf({ certificate, fields: { fromMs, toMs } }: ChainLink): Validity {
  return { who: certificate.subject?.replaceAll('\n', ', ') ?? 'certificate', fromMs, toMs };
}

function isWithin({ fromMs, toMs }: Validity, nowMs: number): boolean {
  return nowMs >= fromMs && nowMs <= toMs;
}

function checkDates({ who, fromMs, toMs }: Validity, nowMs: number): void {
  if (nowMs < fromMs) {
    const text = `${who} is valid from ${new Date(fromMs).toUTCString()}`;
    throw new MeshError('CertificateNotYetValid', text);
  }
  if (nowMs > toMs) {
    const text = `${who} expired at ${new Date(toMs).toUTCString()}`;
    throw new MeshError('CertificateExpired', text);
  }
}

/** The node ids that a certificate proves, in canonical spelling: those of its subject alternative names that are DNS names. */
export function certifiedNodeIds(leaf: X509Certificate | undefined): readonly string[] {
  return leaf === undefined ? [] : nodeIdsOf(readLink(leaf).fields);
}

/** The names that can be node ids, each once, in canonical spelling. Others prove nothing, but do no harm to them. */
function nodeIdsOf({ names }: CertificateFields): readonly string[] {
  const ids = new Set<string>();
  for (const { tag, content } of names) {
    const id = tag === NameTag.dns ? canonicalNodeId(content.toString('latin1')) : undefined;
    if (id !== undefined) ids.add(id);
  }
  return Object.freeze([...ids]);
}
