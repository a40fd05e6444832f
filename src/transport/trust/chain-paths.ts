/**
 * Finds the paths from a leaf to trusted roots. There may be several: a CA's certificate and its renewal have the same key, and
 * a cross-signed CA leads to two roots. Names are compared first. Signatures are checked last, and each only once.
 */
import type { X509Certificate } from 'node:crypto';
import { MeshError } from '../../errors.js';
import { type CertificateFields, readCertificate } from './certificate-fields.js';
import { mayIssue } from './chain-rules.js';

/** A certificate that was read. */
export interface ChainLink {
  readonly certificate: X509Certificate;
  readonly fields: CertificateFields;
}

/** The most certificates between leaf and root. */
const MAX_INTERMEDIATES = 7;
/** What one chain may cost: signatures that are checked, and pairs of certificates that are compared. */
const MAX_SIGNATURES = 64;
const MAX_STEPS = 4096;

/**
 * Yields every path from the leaf to a root, as long as the caller asks for more. At each step roots are tried first. CAs in
 * `anchors` that are not self-signed serve as intermediates, as they do for OpenSSL.
 * @param leaf one that is itself a root is a path of its own
 */
export function* pathsOf(
  leaf: ChainLink,
  intermediates: readonly ChainLink[],
  anchors: readonly ChainLink[],
): Generator<readonly ChainLink[]> {
  const isRoot = ({ fields }: ChainLink) => fields.isSelfSigned;
  const pinned = anchors.find((anchor) => isRoot(anchor) && isSame(anchor, leaf));
  if (pinned !== undefined) yield [pinned];

  const issuers = [
    ...anchors.filter(isRoot),
    ...anchors.filter((anchor) => !isRoot(anchor)),
    ...intermediates.filter((link) => !anchors.some((anchor) => isSame(anchor, link))),
  ].filter(({ fields }) => mayIssue(fields));
  const trusted = new Set(anchors.filter(isRoot));
  const signatures = new Map<ChainLink, Map<ChainLink, boolean>>();
  let signaturesLeft = MAX_SIGNATURES;
  let stepsLeft = MAX_STEPS;

  function isSigned(subject: ChainLink, issuer: ChainLink): boolean {
    const known = signatures.get(subject) ?? new Map<ChainLink, boolean>();
    signatures.set(subject, known);
    let isGood = known.get(issuer);
    if (isGood === undefined && signaturesLeft > 0) {
      signaturesLeft -= 1;
      isGood = hasSigned(issuer.certificate, subject.certificate);
      known.set(issuer, isGood);
    }
    return isGood ?? false;
  }

  function* extend(path: readonly ChainLink[]): Generator<readonly ChainLink[]> {
    const subject = path.at(-1) as ChainLink;
    for (const issuer of issuers) {
      stepsLeft -= 1;
      if (stepsLeft <= 0) return;
      if (path.includes(issuer) || !isNamedBy(subject, issuer) || !isSigned(subject, issuer))
        continue;
      if (trusted.has(issuer)) yield [...path, issuer];
      else if (path.length <= MAX_INTERMEDIATES) yield* extend([...path, issuer]);
    }
  }
  yield* extend([leaf]);
}

/** @throws MeshError CertificateInvalid */
export function readLink(certificate: X509Certificate): ChainLink {
  try {
    return { certificate, fields: readCertificate(certificate.raw) };
  } catch (cause) {
    throw new MeshError('CertificateInvalid', 'a certificate cannot be read', { cause });
  }
}

function isSame(a: ChainLink, b: ChainLink): boolean {
  return a.certificate.raw.equals(b.certificate.raw);
}

/** Whether one certificate may have issued another, by names, key identifiers and kinds of keys. */
function isNamedBy({ certificate }: ChainLink, issuer: ChainLink): boolean {
  try {
    return certificate.checkIssued(issuer.certificate);
  } catch {
    return false;
  }
}

function hasSigned(issuer: X509Certificate, subject: X509Certificate): boolean {
  try {
    return subject.verify(issuer.publicKey);
  } catch {
    return false;
  }
}
