/**
 * Checks who a peer is: its certificate chain, dates, usage and names. SPEC.md, "Identity".
 *
 * This check alone decides. It runs after every handshake, on both sides and both transports, and both sides see its codes.
 * The TLS libraries only prove that the peer has the key of its certificate, and are told to accept every chain: each has
 * rules of its own, and none checks a chain again when a session is resumed.
 */
import type { X509Certificate } from 'node:crypto';
import { asBuffer } from '../../base/buffers.js';
import { isAboutCertificate, MeshError, type MeshErrorCode, toMeshError } from '../../errors.js';
import { canonicalNodeId, quote } from '../../protocol/node-id.js';
import type { PeerIdentity, Role, TlsMaterial } from '../connection.js';
import { type Anchors, readAnchors, readOwn } from './anchors.js';
import { NameTag } from './certificate-extensions.js';
import { type CertificateFields, readCertificate } from './certificate-fields.js';
import { ChainPaths, type RootKeys } from './chain-paths.js';
import { checkPath } from './chain-rules.js';
import { checkChainSize } from './chain-size.js';
import { type Crl, parseCrls } from './crl.js';
import { nameText } from './distinguished-name.js';
import { fingerprint256Of, keyFingerprint256Of } from './fingerprints.js';
import { parsePem } from './pem.js';
import { Revocations } from './revocations.js';
import { chainKey, type Validity, VerifiedChains } from './verified-chains.js';

/** How many different certificates of a peer are read. Not all need to lead to a root. */
const MAX_CERTIFICATES = 16;

/** The roots that peers' certificates must lead to, and what was revoked. It checks chains against both. */
export class TrustStore {
  readonly #anchors: Anchors;
  readonly #rootKeys: RootKeys = new WeakMap();
  readonly #revocations: Revocations;
  readonly #verified = new VerifiedChains();

  /** The trust store of a node's own TLS material. @throws MeshError as the constructor, and if `cert` cannot be read */
  static of({ ca, cert, revoked, crl }: TlsMaterial): TrustStore {
    if (crl === undefined) return new TrustStore(ca, revoked);
    const [, ...intermediates] = parsePem(cert).map((one) => readOwn(one, 'tls.cert'));
    return new TrustStore(ca, revoked, parseCrls(crl), intermediates);
  }

  /**
   * @param pem the roots
   * @param revoked see TlsMaterial
   * @throws MeshError InvalidOptions when `pem` holds no certificate, an unreadable one, or one that is no CA, when `revoked`
   *   holds something else than hex and certificates, or a CRL is not signed by a known CA, or is dated in the future
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
    intermediates: readonly CertificateFields[],
  );
  constructor(
    pem: string,
    revoked: readonly string[] = [],
    crls: readonly Crl[] = [],
    intermediates: readonly CertificateFields[] = [],
  ) {
    this.#anchors = readAnchors(pem);
    const { roots, intermediates: others } = this.#anchors;
    this.#revocations = new Revocations(revoked, crls, [...roots, ...others, ...intermediates]);
  }

  /** CAs whose CRL should have been replaced by now. */
  outdatedCrls(
    nowMs: number,
  ): readonly { readonly issuer: string; readonly nextUpdateMs: number }[] {
    return this.#revocations.outdatedCrls(nowMs);
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
    const [first, ...rest] = distinct(chain);
    if (first === undefined) {
      throw new MeshError('CertificateRequired', 'peer sent no certificate');
    }
    const leaf = readLeaf(first);
    const others = readable(rest);
    checkDates(leaf, nowMs);
    const path = this.#findPath(leaf, others, peerRole, nowMs);
    const identity = known?.identity ?? identityOf(path, others);
    const validities = { ...known?.validities, [peerRole]: path.map(validityOf) };
    this.#verified.put(key, { identity, validities });
    return identity;
  }

  /** @returns the first path to a root that passes all checks */
  #findPath(
    leaf: CertificateFields,
    others: readonly CertificateFields[],
    peerRole: Role,
    nowMs: number,
  ): readonly CertificateFields[] {
    const [anchors, rootKeys] = [this.#anchors, this.#rootKeys];
    const paths = new ChainPaths({ leaf, others, anchors, rootKeys });
    const text = 'certificate does not lead to a trusted CA';
    let objection = paths.objection ?? new MeshError('CertificateUntrusted', text);
    for (const path of paths) {
      const found = this.#objectionTo(path, peerRole, nowMs);
      if (found === undefined) return path;
      if (weightOf(found) >= weightOf(objection)) objection = found;
    }
    throw objection;
  }

  #objectionTo(
    path: readonly CertificateFields[],
    peerRole: Role,
    nowMs: number,
  ): MeshError | undefined {
    try {
      for (const certificate of path) checkDates(certificate, nowMs);
      checkPath(path, peerRole);
      // A root is trusted until it is removed from the options. A leaf that is its own root was issued by itself.
      const issuers = path.length === 1 ? path : path.slice(1);
      for (const [at, issuer] of issuers.entries()) {
        this.#revocations.check(path[at] as CertificateFields, issuer);
      }
      return undefined;
    } catch (thrown) {
      const error = toMeshError(thrown);
      if (isAboutCertificate(error.code)) return error;
      return new MeshError('CertificateInvalid', 'a certificate cannot be read', { cause: thrown });
    }
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

/** The certificates without repetitions. */
function distinct(chain: readonly Uint8Array[]): readonly Uint8Array[] {
  const kept: Uint8Array[] = [];
  for (const certificate of chain) {
    if (kept.length === MAX_CERTIFICATES) break;
    if (!kept.some((other) => Buffer.compare(other, certificate) === 0)) kept.push(certificate);
  }
  return kept;
}

/** @param others kept behind those of the path: once roots are reloaded, they may lead to a new one */
function identityOf(
  path: readonly CertificateFields[],
  others: readonly CertificateFields[],
): PeerIdentity {
  const leaf = path[0] as CertificateFields;
  const own = path.slice(0, Math.max(1, path.length - 1));
  const chain = [...own, ...others.filter((other) => !path.includes(other))];
  return {
    nodeIds: nodeIdsOf(leaf),
    fingerprint256: fingerprint256Of(leaf),
    keyFingerprint256: keyFingerprint256Of(leaf),
    validToMs: leaf.toMs,
    // Copies, since TLS delivers views of larger buffers.
    chain: chain.map(({ raw }) => Uint8Array.from(raw)),
  };
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

/** @throws MeshError CertificateInvalid */
function readLeaf(der: Uint8Array): CertificateFields {
  try {
    return readCertificate(asBuffer(der));
  } catch (cause) {
    const text = 'peer sent a certificate that cannot be read';
    throw new MeshError('CertificateInvalid', text, { cause });
  }
}

/** The certificates that can be read. An unreadable one leads nowhere, but does no harm to the others. */
function readable(certificates: readonly Uint8Array[]): readonly CertificateFields[] {
  return certificates.flatMap((der) => {
    try {
      return [readCertificate(der)];
    } catch {
      return [];
    }
  });
}

function validityOf({ subject, fromMs, toMs }: CertificateFields): Validity {
  return { who: nameText(subject), fromMs, toMs };
}

function isWithin({ fromMs, toMs }: Validity, nowMs: number): boolean {
  return nowMs >= fromMs && nowMs <= toMs;
}

function checkDates({ subject, fromMs, toMs }: CertificateFields, nowMs: number): void {
  if (nowMs < fromMs) {
    const text = `${nameText(subject)} is valid from ${new Date(fromMs).toUTCString()}`;
    throw new MeshError('CertificateNotYetValid', text);
  }
  if (nowMs > toMs) {
    const text = `${nameText(subject)} expired at ${new Date(toMs).toUTCString()}`;
    throw new MeshError('CertificateExpired', text);
  }
}

/** The node ids that a certificate proves, in canonical spelling: those of its subject alternative names that are DNS names. */
export function certifiedNodeIds(leaf: X509Certificate | undefined): readonly string[] {
  return leaf === undefined ? [] : nodeIdsOf(readOwn(leaf, 'tls.cert'));
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
