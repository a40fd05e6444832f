/**
 * The rules for a chain besides signatures and dates. They are those of `openssl verify -auth_level 2` for the purposes
 * sslserver and sslclient, without `-x509_strict`. RFC 5280, section 6.1; SPEC.md, "Identity". Pure.
 */
import { MeshError } from '../../errors.js';
import type { Role } from '../connection.js';
import { type CertificateFields, KeyUsage } from './certificate-fields.js';
import { isStrongKey, isStronglySigned } from './key-strength.js';
import { allowsNames } from './name-constraints.js';

const SERVER_AUTH = '2b06010505070301';
const CLIENT_AUTH = '2b06010505070302';
const NETSCAPE_CLIENT = 0x80;
const NETSCAPE_SERVER = 0x40;
const NETSCAPE_SSL_CA = 0x04;

/**
 * Whether a certificate may issue others. With CA:TRUE in basicConstraints it may, unless its key usage lacks keyCertSign.
 * With CA:FALSE it never may, wherever it came from. Without the extension it may where `openssl verify` agrees: a root of
 * version 1, or a certificate with keyCertSign or Netscape's CA type.
 */
export function mayIssue(certificate: CertificateFields): boolean {
  const { version, keyUsage, basicConstraints, netscapeType = 0, isSelfSigned } = certificate;
  if (keyUsage !== undefined && (keyUsage & KeyUsage.keyCertSign) === 0) return false;
  if (basicConstraints !== undefined) return basicConstraints.isCa;
  if (version === 1 && isSelfSigned) return true;
  return keyUsage !== undefined || (netscapeType & NETSCAPE_SSL_CA) !== 0;
}

/** Whether its key may sign handshakes: TLS 1.3 uses it for nothing else (RFC 8446, section 4.4.2.2). */
export function maySign({ keyUsage }: CertificateFields): boolean {
  return keyUsage === undefined || (keyUsage & KeyUsage.digitalSignature) !== 0;
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
  // A root is trusted as it is: its own signature does not matter.
  if (!path.slice(0, -1).every(isStronglySigned)) {
    throw new MeshError('CertificateInvalid', 'signature is of a digest that is too weak');
  }
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
  if (!isStrongKey(certificate)) throw new MeshError('CertificateInvalid', 'key is too short');
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
  for (const [at, certificate] of path.entries()) {
    if (at > 0 && certificate.isSelfIssued) continue;
    if (path.slice(at + 1).every((ca) => allowsNames(ca, certificate))) continue;
    throw new MeshError('CertificateUntrusted', 'a CA may not certify these names');
  }
}
