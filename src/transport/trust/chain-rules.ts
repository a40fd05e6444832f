/**
 * What the certificates of a chain must say, signatures and dates apart: as `openssl verify -auth_level 2` has it for the
 * purposes sslserver and sslclient, without `-x509_strict`. RFC 5280, section 6.1; SPEC.md, "Identity". Pure.
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
 * Whether a certificate may issue others. One that says so in basicConstraints may, unless its key usage lacks
 * keyCertSign; one that says CA:FALSE never does, wherever it came from. Those that are older than the extension are
 * taken where `openssl verify` takes them: roots of version 1, and what has keyCertSign or is a CA to Netscape.
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

/** Whether a leaf may stand in a TLS connection for that role. */
export function mayServe(leaf: CertificateFields, role: Role): boolean {
  const { netscapeType } = leaf;
  const wanted = role === 'acceptor' ? NETSCAPE_SERVER : NETSCAPE_CLIENT;
  if (netscapeType !== undefined && (netscapeType & wanted) === 0) return false;
  return maySign(leaf) && isForPurpose(leaf, role);
}

/** Without the extension any usage is allowed (RFC 5280, section 4.2.1.12). A CA's limits what is below it. */
function isForPurpose({ extendedKeyUsage }: CertificateFields, role: Role): boolean {
  const purpose = role === 'acceptor' ? SERVER_AUTH : CLIENT_AUTH;
  return extendedKeyUsage === undefined || extendedKeyUsage.includes(purpose);
}

/**
 * Holds a chain against all that its certificates say of one another.
 * @param path from the leaf to its root, each signed by the next; all but the leaf may issue
 * @throws MeshError CertificateUntrusted, CertificateInvalid, CertificateUsage
 */
export function checkPath(path: readonly CertificateFields[], role: Role): void {
  const [leaf, ...issuers] = path as [CertificateFields, ...CertificateFields[]];
  for (const certificate of path) checkAlone(certificate);
  // A root is trusted as it is, not for its own signature.
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
 * What can be said of a certificate whatever stands above and below it.
 * @throws MeshError CertificateInvalid
 */
export function checkAlone(certificate: CertificateFields): void {
  if (!isStrongKey(certificate)) throw new MeshError('CertificateInvalid', 'key is too short');
  if (!certificate.isBeyondUs) return;
  throw new MeshError('CertificateInvalid', 'certificate has a critical extension that is unknown');
}

/** Those that are of the same name as their issuer do not count (RFC 5280, section 4.2.1.9). */
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
