/**
 * Whether a peer is who it says: its certificate chain, dates, usage and names. SPEC.md, "Identity".
 *
 * TLS libraries check much of this too, but not after a resumption, and they do not name failures alike. This
 * check runs after every handshake, on both sides and both transports, and its codes are what both sides see.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { MeshError } from '../errors.js';
import { sameNodeId } from '../protocol/handshake.js';
import type { PeerIdentity, TlsMaterial } from './connection.js';
import { type Crl, issuerKeyOf, newestOf, parseCrls } from './crl.js';
import { chainKey, type Validity, type VerifiedChain, VerifiedChains } from './verified-chains.js';

/** Intermediates between a leaf and its root at most. */
const MAX_CHAIN_LENGTH = 8;
/** Of the certificates behind the leaf, for as long as the connection lives. */
const MAX_KEPT_BYTES = 32 * 1024;

const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';

/** The roots that peers' certificates must lead to. */
export class TrustStore {
  readonly #roots: readonly X509Certificate[];
  /** Fingerprints and serial numbers, as {@link plainHex} has them. */
  readonly #revoked: ReadonlySet<string>;
  /** By the CA that signed them. */
  readonly #crls: ReadonlyMap<string, SignedCrl>;
  readonly #verified = new VerifiedChains();

  /** What a node trusts by its material. @throws MeshError as the constructor, and what is wrong with `cert` */
  static of({ ca, cert, revoked, crl }: TlsMaterial): TrustStore {
    if (crl === undefined) return new TrustStore(ca, revoked);
    return new TrustStore(ca, revoked, parseCrls(crl), parsePem(cert).slice(1));
  }

  /**
   * @param revoked as in TlsMaterial
   * @param intermediates that may have signed CRLs, besides the roots
   * @throws MeshError InvalidOptions when `pem` holds no certificate or one that cannot be read, `revoked` something
   *   else than hex, or a CRL is of no CA that is known, or of the future
   */
  constructor(
    pem: string,
    revoked: readonly string[] = [],
    crls: readonly Crl[] = [],
    intermediates: readonly X509Certificate[] = [],
  ) {
    this.#revoked = new Set(revoked.map(parseRevoked));
    this.#roots = parsePem(pem);
    if (this.#roots.length === 0)
      throw new MeshError('InvalidOptions', 'tls.ca holds no certificate');
    this.#crls = assignCrls(crls, [...this.#roots, ...intermediates]);
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
   * Checks a peer's chain, leaf first, as TLS delivered it (DER).
   * @param peerRole what the peer is in this connection: an acceptor must be a TLS server, a dialer a client
   * @throws MeshError CertificateRequired, CertificateInvalid, CertificateUntrusted, CertificateExpired,
   *   CertificateNotYetValid, CertificateRevoked, CertificateUsage
   */
  verify(
    chain: readonly Uint8Array[],
    peerRole: 'dialer' | 'acceptor',
    nowMs: number,
  ): PeerIdentity {
    const [leaf, ...intermediates] = chain.slice(0, MAX_CHAIN_LENGTH);
    if (leaf === undefined) {
      throw new MeshError('CertificateRequired', 'peer sent no certificate');
    }
    const key = chainKey(chain);
    let verified = this.#verified.get(key);
    if (verified === undefined) {
      verified = this.#verifyChain(parseDer(leaf), intermediates.map(parseDer), nowMs, chain);
      this.#verified.put(key, verified);
    } else {
      for (const validity of verified.validities) checkDates(validity, nowMs);
    }
    checkUsage(verified.usages, peerRole);
    return verified.identity;
  }

  /** @param chain as it came */
  #verifyChain(
    leaf: X509Certificate,
    intermediates: readonly X509Certificate[],
    nowMs: number,
    chain: readonly Uint8Array[],
  ): VerifiedChain {
    const path = this.#verifyPath(leaf, intermediates, nowMs);
    return {
      identity: {
        nodeIds: certifiedNodeIds(leaf),
        fingerprint256: leaf.fingerprint256,
        validToMs: Date.parse(leaf.validTo),
        chain: keptChain(chain),
      },
      validities: path.map(validityOf),
      usages: leaf.keyUsage ?? [],
    };
  }

  /** @returns the certificates from the leaf to its root */
  #verifyPath(
    leaf: X509Certificate,
    intermediates: readonly X509Certificate[],
    nowMs: number,
  ): readonly X509Certificate[] {
    checkDates(validityOf(leaf), nowMs);
    let subject = leaf;
    const unused = [...intermediates];
    const path = [leaf];
    for (let steps = 0; steps < MAX_CHAIN_LENGTH; steps += 1) {
      const root = this.#roots.find((candidate) => isIssuedBy(subject, candidate));
      if (root !== undefined) {
        checkDates(validityOf(root), nowMs);
        path.push(root);
        for (const [at, issuer] of path.slice(1).entries()) {
          this.#checkRevoked(path[at] as X509Certificate, issuer);
        }
        return path;
      }
      const next = unused.findIndex((candidate) => candidate.ca && isIssuedBy(subject, candidate));
      if (next < 0) break;
      subject = unused.splice(next, 1)[0] as X509Certificate;
      checkDates(validityOf(subject), nowMs);
      path.push(subject);
    }
    throw new MeshError('CertificateUntrusted', 'certificate does not lead to a trusted CA');
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

/** A CRL whose signature was checked. */
interface SignedCrl {
  readonly crl: Crl;
  /** Its CA, for people. */
  readonly issuer: string;
}

/** @throws MeshError InvalidOptions for one that none of the CAs has signed */
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

/** Copies: what TLS delivered may be part of something larger. A chain that is cut may not lead to its CA again. */
function keptChain([leaf, ...rest]: readonly Uint8Array[]): readonly Uint8Array[] {
  const kept = leaf === undefined ? [] : [Uint8Array.from(leaf)];
  let bytes = 0;
  for (const certificate of rest.slice(0, MAX_CHAIN_LENGTH - 1)) {
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

/** Serial numbers are numbers: zeros in front mean nothing. A fingerprint may lose them too, on both sides. */
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
  if (identity.nodeIds.some((name) => sameNodeId(name, nodeId))) return;
  throw new MeshError('CertificateNameMismatch', `certificate does not name node ${nodeId}`);
}

/**
 * Checks what can be known of one's own certificates without a peer: that they can be read, and that the key belongs to
 * the first of `cert`.
 * @throws MeshError InvalidOptions
 */
export function checkTlsMaterial(material: TlsMaterial): void {
  const { cert, key } = material;
  TrustStore.of(material);
  const [leaf] = parsePem(cert);
  if (leaf === undefined) throw new MeshError('InvalidOptions', 'tls.cert holds no certificate');
  if (!leaf.checkPrivateKey(parseKey(key))) {
    throw new MeshError('InvalidOptions', 'tls.key does not belong to tls.cert');
  }
}

function parseKey(pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    // The cause might quote the key.
    throw new MeshError('InvalidOptions', 'tls.key cannot be read');
  }
}

/** Certificates of a PEM text, in order. */
export function parsePem(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => {
    try {
      return new X509Certificate(block);
    } catch (cause) {
      throw new MeshError('InvalidOptions', 'a certificate in PEM cannot be read', { cause });
    }
  });
}

function parseDer(der: Uint8Array): X509Certificate {
  try {
    return new X509Certificate(der);
  } catch (cause) {
    throw new MeshError('CertificateInvalid', 'peer sent a certificate that cannot be read', {
      cause,
    });
  }
}

function isIssuedBy(subject: X509Certificate, issuer: X509Certificate): boolean {
  try {
    return subject.checkIssued(issuer) && subject.verify(issuer.publicKey);
  } catch {
    return false;
  }
}

function validityOf(certificate: X509Certificate): Validity {
  return {
    who: certificate.subject?.replaceAll('\n', ', ') ?? 'certificate',
    fromMs: Date.parse(certificate.validFrom),
    toMs: Date.parse(certificate.validTo),
  };
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

/** Without the extension any usage is allowed (RFC 5280, section 4.2.1.12). */
function checkUsage(usages: readonly string[], peerRole: 'dialer' | 'acceptor'): void {
  const needed = peerRole === 'acceptor' ? SERVER_AUTH : CLIENT_AUTH;
  if (usages.length === 0 || usages.includes(needed)) return;
  throw new MeshError(
    'CertificateUsage',
    `certificate is not meant for a TLS ${peerRole === 'acceptor' ? 'server' : 'client'}`,
  );
}

/**
 * The node ids that a certificate proves: the DNS names among its subject alternative names. Node quotes a name
 * that holds a separator, which no node id does: such a certificate proves no name at all, so that nothing can be
 * smuggled in between the quotes.
 */
export function certifiedNodeIds(leaf: X509Certificate | undefined): string[] {
  const names = leaf?.subjectAltName ?? '';
  if (names.includes('"')) return [];
  return names
    .split(', ')
    .filter((name) => name.startsWith('DNS:'))
    .map((name) => name.slice('DNS:'.length));
}
