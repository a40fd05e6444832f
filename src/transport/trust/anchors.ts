/** Reads the CAs that a node trusts. */
import type { X509Certificate } from 'node:crypto';
import { MeshError, toMeshError } from '../../errors.js';
import { type CertificateFields, isNamedAsIssuer, readCertificate } from './certificate-fields.js';
import { mayIssue } from './chain-rules.js';
import { nameText } from './distinguished-name.js';
import { parsePem } from './pem.js';

/** Trusted CAs. */
export interface Anchors {
  /** Self-signed ones, which every chain must lead to. They are trusted until they are removed from the options. */
  readonly roots: readonly CertificateFields[];
  /** Others. They help chains along, and count only under a root. */
  readonly intermediates: readonly CertificateFields[];
}

/**
 * Reads the CAs of a PEM text.
 * @throws MeshError InvalidOptions when it has none, one that cannot be read, or one that may not issue certificates
 */
export function readAnchors(pem: string): Anchors {
  const certificates = parsePem(pem);
  if (certificates.length === 0) {
    throw new MeshError('InvalidOptions', 'tls.ca holds no certificate');
  }
  const anchors = sortAnchors(certificates, 'tls.ca');
  const stranger = [...anchors.roots, ...anchors.intermediates].find((ca) => !mayIssue(ca));
  if (stranger === undefined) return anchors;
  const text = `${nameText(stranger.subject)} may not issue certificates: a CA has CA:TRUE and keyCertSign`;
  throw new MeshError('InvalidOptions', `tls.ca: ${text}`);
}

/**
 * Tells self-signed certificates from others.
 * @param option where they are from, for the error
 * @throws MeshError InvalidOptions when one cannot be read
 */
export function sortAnchors(certificates: readonly X509Certificate[], option: string): Anchors {
  const roots: CertificateFields[] = [];
  const intermediates: CertificateFields[] = [];
  for (const certificate of certificates) {
    const fields = readOwn(certificate, option);
    (isSelfSigned(certificate, fields) ? roots : intermediates).push(fields);
  }
  return { roots, intermediates };
}

/**
 * Reads a certificate of this node's options.
 * @param option the option, for the error
 * @throws MeshError InvalidOptions
 */
export function readOwn({ raw }: X509Certificate, option: string): CertificateFields {
  try {
    return readCertificate(raw);
  } catch (cause) {
    const text = `a certificate in ${option} cannot be read: ${toMeshError(cause).message}`;
    throw new MeshError('InvalidOptions', text, { cause });
  }
}

/**
 * Only a signature is a proof: a CA that has changed its key may have signed the new certificate, under its own name, with the old
 * key. Node checks it, because a root may have signed itself with SHA-1.
 */
function isSelfSigned(certificate: X509Certificate, fields: CertificateFields): boolean {
  if (!isNamedAsIssuer(fields, fields)) return false;
  try {
    return certificate.verify(certificate.publicKey);
  } catch {
    return false;
  }
}
