/**
 * Reads the fields of a certificate (RFC 5280, section 4) from its DER. Node's own accessors give much of this as text, in which
 * names of one kind can look like names of another, and its parser takes an interest in keys. Pure. It proves nothing.
 */
import { MeshError } from '../../errors.js';
import { type CertificateExtensions, readExtensions } from './certificate-extensions.js';
import { DerReader, readTime, Tag } from './der-reader.js';
import { rdnKeys } from './distinguished-name.js';
import type { CertificateKey } from './key-strength.js';
import type { Signed } from './signatures.js';

/** A certificate's fields. Buffers are parts of its DER. */
export interface CertificateFields extends CertificateExtensions {
  /** The whole certificate. */
  readonly raw: Buffer;
  readonly signed: Signed;
  /** Two's complement, big-endian. */
  readonly serial: Buffer;
  /** Names in DER. */
  readonly issuer: Buffer;
  readonly subject: Buffer;
  /** Names are the same if their keys are; see `distinguished-name.ts`. */
  readonly issuerKey: string;
  readonly subjectKey: string;
  readonly fromMs: number;
  readonly toMs: number;
  readonly key: CertificateKey;
  /** Subject and issuer have the same name. */
  readonly isSelfIssued: boolean;
}

const EXPLICIT_0 = 0xa0;
const EXPLICIT_3 = 0xa3;
/** issuerUniqueID and subjectUniqueID, which nobody uses. */
const UNIQUE_IDS = [0x81, 0x82] as const;

/** Reads a certificate. @throws MeshError InvalidOptions when it is none, or one of its extensions is malformed */
export function readCertificate(der: Uint8Array): CertificateFields {
  const file = new DerReader(der);
  const { content: whole, raw } = file.take(Tag.sequence);
  const outer = new DerReader(whole);
  const content = outer.take(Tag.sequence);
  const algorithm = outer.take(Tag.sequence);
  const signature = readBits(outer);
  if (!outer.isDone || !file.isDone) throw malformed();

  const fields = new DerReader(content.content);
  fields.takeIf(EXPLICIT_0); // version
  const serial = fields.take(Tag.integer).content;
  if (!fields.take(Tag.sequence).raw.equals(algorithm.raw)) throw malformed();
  const issuer = fields.take(Tag.sequence).raw;
  const validity = fields.sequence();
  const fromMs = readTime(validity.take());
  const toMs = readTime(validity.take());
  const subject = fields.take(Tag.sequence).raw;
  const key = readKey(fields.take(Tag.sequence).raw);
  for (const tag of UNIQUE_IDS) fields.takeIf(tag);
  const extensions = readExtensions(fields.takeIf(EXPLICIT_3));
  if (!fields.isDone) throw malformed();

  const subjectKey = nameKeyOf(subject);
  const issuerKey = issuer.equals(subject) ? subjectKey : nameKeyOf(issuer);
  return {
    raw,
    signed: { content: content.raw, algorithm, signature },
    serial,
    issuer,
    subject,
    issuerKey,
    subjectKey,
    fromMs,
    toMs,
    key,
    isSelfIssued: issuerKey === subjectKey,
    ...extensions,
  };
}

/**
 * Whether one certificate may have issued another, by their names and key identifiers. It proves nothing.
 */
export function isNamedAsIssuer(issuer: CertificateFields, subject: CertificateFields): boolean {
  if (subject.issuerKey !== issuer.subjectKey) return false;
  const { authorityKeyId } = subject;
  const { subjectKeyId } = issuer;
  return (
    authorityKeyId === undefined ||
    subjectKeyId === undefined ||
    authorityKeyId.equals(subjectKeyId)
  );
}

function nameKeyOf(name: Buffer): string {
  return rdnKeys(name).join('\0');
}

function readKey(spki: Buffer): CertificateKey {
  const fields = new DerReader(spki).sequence();
  const algorithm = fields.sequence();
  const id = algorithm.take(Tag.oid).content.toString('hex');
  const curve = algorithm.takeIf(Tag.oid)?.content.toString('hex');
  return { spki, algorithm: id, curve, bits: readBits(fields) };
}

/** A bit string of whole bytes. */
function readBits(fields: DerReader): Buffer {
  const { content } = fields.take(Tag.bitString);
  if (content[0] !== 0) throw malformed();
  return content.subarray(1);
}

function malformed(): MeshError {
  return new MeshError('InvalidOptions', 'not a certificate of RFC 5280');
}
