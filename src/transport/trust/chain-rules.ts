/**
 * The rules for a chain besides signatures and dates. They are those of `openssl verify -auth_level 2` for the purposes
 * sslserver and sslclient, without `-x509_strict`, but stricter about who is a CA. RFC 5280, section 6.1; SPEC.md,
 * "Identity". Pure.
 */
import { MeshError } from '../../errors.js';
import type { Role } from '../connection.js';
import { KeyUsage } from './certificate-extensions.js';
import type { CertificateFields } from './certificate-fields.js';
import { weaknessOf } from './key-strength.js';
import { allowsNames, comparisonsOf } from './name-constraints.js';

const SERVER_AUTH = '2b06010505070301';
const CLIENT_AUTH = '2b06010505070302';
const NETSCAPE_CLIENT = 0x80;
const NETSCAPE_SERVER = 0x40;

/** The most names that are compared with constraints on one path, which takes a few milliseconds. */
const MAX_COMPARISONS = 65_536;

/**
 * Whether a certificate may issue others, wherever it came from: basicConstraints say CA:TRUE, and key usage, if there is one,
 * has keyCertSign.
 */
export function mayIssue({ keyUsage, basicConstraints }: CertificateFields): boolean {
  return basicConstraints?.isCa === true && allows(keyUsage, KeyUsage.keyCertSign);
}

/** Whether a CA may sign lists of revoked certificates (RFC 5280, section 4.2.1.3). */
export function mayRevoke({ keyUsage, basicConstraints }: CertificateFields): boolean {
  return basicConstraints?.isCa === true && allows(keyUsage, KeyUsage.crlSign);
}

/** Whether its key may sign handshakes: TLS 1.3 uses it for nothing else (RFC 8446, section 4.4.2.2). */
export function maySign({ keyUsage }: CertificateFields): boolean {
  return allows(keyUsage, KeyUsage.digitalSignature);
}

function allows(keyUsage: number | undefined, bit: number): boolean {
  return keyUsage === undefined || (keyUsage & bit) !== 0;
}

/** Whether a leaf may be used in TLS for that role. */
export function mayServe(leaf: CertificateFields, role: Role): boolean {
  const { netscapeType } = leaf;
  const wanted = role === 'acceptor' ? NETSCAPE_SERVER : NETSCAPE_CLIENT;
  if (netscapeType !== undefined && (netscapeType & wanted) === 0) return false;
  return maySign(leaf) && isForPurpose(leaf, role);
}

/** Without extended key usage, any use is allowed (RFC 5280, section 4.2.1.12). A CA's limits all certificates below it. */
function isForPurpose({ extendedKeyUsage }: CertificateFields, role: Role): boolean {
  const purpose = role === 'acceptor' ? SERVER_AUTH : CLIENT_AUTH;
  return extendedKeyUsage === undefined || extendedKeyUsage.includes(purpose);
}

/**
 * Checks a path against what its certificates demand of one another.
 * @param path from the leaf to its root, each signed by the next; all but the leaf may issue
 * @throws MeshError CertificateUntrusted, CertificateInvalid, CertificateUsage
 */
export function checkPath(path: readonly CertificateFields[], role: Role): void {
  const [leaf, ...issuers] = path as [CertificateFields, ...CertificateFields[]];
  for (const certificate of path) checkAlone(certificate);
  checkPathLengths(issuers);
  checkNames(path);
  if (!mayServe(leaf, role) || !issuers.every((issuer) => isForPurpose(issuer, role))) {
    const meant = role === 'acceptor' ? 'server' : 'client';
    throw new MeshError('CertificateUsage', `certificate is not meant for a TLS ${meant}`);
  }
}

/**
 * Checks what a certificate must say by itself, whatever is above and below it.
 * @throws MeshError CertificateInvalid
 */
export function checkAlone(certificate: CertificateFields): void {
  const weakness = weaknessOf(certificate.key);
  if (weakness !== undefined) throw new MeshError('CertificateInvalid', weakness);
  if (!certificate.isBeyondUs) return;
  throw new MeshError('CertificateInvalid', 'certificate has a critical extension that is unknown');
}

/** Self-issued certificates do not count towards a path length (RFC 5280, section 4.2.1.9). */
function checkPathLengths(issuers: readonly CertificateFields[]): void {
  let below = 0;
  for (const { basicConstraints, isSelfIssued } of issuers) {
    if (below > (basicConstraints?.pathLength ?? Number.POSITIVE_INFINITY)) {
      throw new MeshError('CertificateUntrusted', 'more CAs than one of them allows below it');
    }
    if (!isSelfIssued) below += 1;
  }
}

function checkNames(path: readonly CertificateFields[]): void {
  let comparisons = 0;
  for (const [at, certificate] of path.entries()) {
    if (at > 0 && certificate.isSelfIssued) continue;
    for (const ca of path.slice(at + 1)) {
      comparisons += comparisonsOf(ca, certificate);
      if (comparisons > MAX_COMPARISONS) {
        throw new MeshError('CertificateInvalid', 'too many names, and constraints of names');
      }
      if (allowsNames(ca, certificate)) continue;
      throw new MeshError('CertificateUntrusted', 'a CA may not certify these names');
    }
  }
}
