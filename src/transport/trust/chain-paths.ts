/**
 * Ways from a leaf to a trusted root. There may be several: a CA's certificate and its renewal have the same key, and one
 * that two roots have certified leads to both. Names are compared first, signatures last, and each once.
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

/** Certificates on a way, leaf and root not counted, at most. */
const MAX_INTERMEDIATES = 7;
/** What one chain may cost: signatures that are checked, and certificates that are held against one another. */
const MAX_SIGNATURES = 64;
const MAX_STEPS = 4096;

/**
 * Every way from the leaf to a root, each once, as long as the caller asks for more. Roots come first, wherever one is
 * possible. CAs in `anchors` that are not self-signed serve as intermediates, as they do for OpenSSL.
 * @param leaf a certificate that is itself a root, is a way of its own
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

/** By names, key identifiers, and whether the keys are of a kind. */
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
