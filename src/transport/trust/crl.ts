/**
 * Reads certificate revocation lists (RFC 5280, section 5): complete ones of version 1 or 2, signed by the CA whose certificates
 * they revoke. Delta CRLs, indirect CRLs and partial ones are refused: a critical extension says that they mean something else.
 */
import { constants, createHash, verify, type X509Certificate } from 'node:crypto';
import { isBytes } from '../../base/realms.js';
import { asMeshError, MeshError } from '../../errors.js';
import { DerReader, type DerValue, readTime, Tag } from './der-reader.js';
import { pssDigest } from './key-strength.js';

/** PEM texts, each with one CRL or more, or CRLs in DER. */
export type CrlOption = string | Uint8Array | readonly (string | Uint8Array)[];

/** The largest CRL, in bytes: room for about a million certificates. */
const MAX_CRL_BYTES = 32 * 1024 * 1024;
const MAX_CRLS = 256;
/** How far in the future a CRL may be dated, because clocks differ. */
const CLOCK_SKEW_MS = 5 * 60 * 1000;

/**
 * Signature algorithms by their object identifier, and the digest that each signs; `null` for one with a digest of its own.
 * RSASSA-PSS is not here: it names its digest in its parameters.
 */
const DIGESTS: ReadonlyMap<string, string | null> = new Map([
  ['2a8648ce3d040302', 'sha256'], // ecdsa-with-SHA256
  ['2a8648ce3d040303', 'sha384'],
  ['2a8648ce3d040304', 'sha512'],
  ['2a864886f70d01010b', 'sha256'], // sha256WithRSAEncryption
  ['2a864886f70d01010c', 'sha384'],
  ['2a864886f70d01010d', 'sha512'],
  ['2b6570', null], // Ed25519
  ['2b6571', null], // Ed448
]);

/** The content of one CRL, which proves nothing before {@link Crl.isSignedBy}. */
export interface Crl {
  readonly thisUpdateMs: number;
  /** When the CA issues the next one; `undefined` where the CRL does not say. */
  readonly nextUpdateMs: number | undefined;
  /** Serial numbers in lower-case hex, without leading zeros. */
  readonly serials: ReadonlySet<string>;
  isSignedBy(issuer: X509Certificate): boolean;
}

/** Reads CRLs. @throws MeshError InvalidOptions for one that cannot be read, or is of a kind that is not supported */
export function parseCrls(option: CrlOption): Crl[] {
  const parts = typeof option === 'string' || isBytes(option) ? [option] : option;
  const ders = parts.flatMap((part) => (typeof part === 'string' ? pemBlocks(part) : [part]));
  if (ders.length > MAX_CRLS) throw refusal(`holds more than ${MAX_CRLS} CRLs`);
  return ders.map(parseCrl);
}

/** A key for a CA, by its name and public key: a CRL belongs to both. */
export function issuerKeyOf(issuer: X509Certificate): string {
  const spki = issuer.publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(subjectOf(issuer)).update(spki).digest('hex');
}

/** The newest of several CRLs of one CA, which alone is complete. @throws MeshError InvalidOptions */
export function newestOf(crls: readonly Crl[], nowMs: number): Crl | undefined {
  let newest: Crl | undefined;
  for (const crl of crls) {
    if (crl.thisUpdateMs > nowMs + CLOCK_SKEW_MS) throw refusal('has a CRL of the future');
    if (newest === undefined || crl.thisUpdateMs > newest.thisUpdateMs) newest = crl;
  }
  return newest;
}

function pemBlocks(pem: string): Buffer[] {
  const blocks = pem.match(/-----BEGIN X509 CRL-----[^-]+-----END X509 CRL-----/g) ?? [];
  if (blocks.length === 0) throw refusal('holds no CRL');
  return blocks.map((block) => Buffer.from(block.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64'));
}

function parseCrl(der: Uint8Array): Crl {
  if (der.length > MAX_CRL_BYTES) throw refusal(`has a CRL of more than ${MAX_CRL_BYTES} bytes`);
  try {
    return readCrl(der);
  } catch (thrown) {
    const flaw = asMeshError(thrown);
    throw flaw === undefined ? thrown : refusal(`cannot be read: ${flaw.message}`);
  }
}

function readCrl(der: Uint8Array): Crl {
  const outer = new DerReader(der);
  const list = outer.sequence();
  const signed = list.take(Tag.sequence);
  const algorithm = list.take(Tag.sequence);
  const [unusedBits, ...signature] = list.take(Tag.bitString).content;
  if (!outer.isDone || !list.isDone || unusedBits !== 0) {
    throw new MeshError('InvalidOptions', 'it does not end with its signature');
  }

  const fields = new DerReader(signed.content);
  fields.takeIf(Tag.integer);
  if (!fields.take(Tag.sequence).raw.equals(algorithm.raw)) {
    throw new MeshError('InvalidOptions', 'its two signature algorithms differ');
  }
  const issuer = fields.take(Tag.sequence).raw;
  const thisUpdateMs = readTime(fields.take());
  const nextUpdate = fields.takeIf(Tag.utcTime, Tag.generalizedTime);
  const serials = readSerials(fields.takeIf(Tag.sequence));
  const extensions = fields.takeIf(EXTENSIONS);
  if (extensions !== undefined) refuseCritical(new DerReader(extensions.content).sequence());
  if (!fields.isDone) throw new MeshError('InvalidOptions', 'fields that CRLs do not have');

  const scheme = schemeOf(algorithm);
  return {
    thisUpdateMs,
    nextUpdateMs: nextUpdate && readTime(nextUpdate),
    serials,
    isSignedBy: (ca) =>
      subjectOf(ca).equals(issuer) && isSignature(scheme, signed.raw, ca, Buffer.from(signature)),
  };
}

/** `[0] EXPLICIT` */
const EXTENSIONS = 0xa0;

function readSerials(entries: DerValue | undefined): ReadonlySet<string> {
  const serials = new Set<string>();
  if (entries === undefined) return serials;
  for (const reader = new DerReader(entries.content); !reader.isDone; ) {
    const entry = reader.sequence();
    const serial = entry.take(Tag.integer).content.toString('hex');
    readTime(entry.take());
    if (entry.nextTag === Tag.sequence) refuseCritical(entry.sequence());
    serials.add(serial.replace(/^0+(?=.)/, ''));
  }
  return serials;
}

/** Refuses critical extensions: with one, the CRL means less or more than it seems to. */
function refuseCritical(extensions: DerReader): void {
  while (!extensions.isDone) {
    const extension = extensions.sequence();
    extension.take(Tag.oid);
    const critical = extension.takeIf(Tag.boolean);
    if (critical === undefined || critical.content[0] === 0) continue;
    throw new MeshError('InvalidOptions', 'it has a critical extension, which is not supported');
  }
}

/** How a CRL was signed. */
interface Scheme {
  readonly digest: string | null;
  readonly isPss: boolean;
}

function schemeOf(algorithm: DerValue): Scheme {
  const id = new DerReader(algorithm.content).take(Tag.oid).content.toString('hex');
  const digest = DIGESTS.get(id);
  if (digest !== undefined) return { digest, isPss: false };
  const ofPss = pssDigest(algorithm);
  if (ofPss !== undefined) return { digest: ofPss, isPss: true };
  throw new MeshError('InvalidOptions', 'its signature algorithm is not supported');
}

function isSignature(
  { digest, isPss }: Scheme,
  signed: Buffer,
  { publicKey }: X509Certificate,
  signature: Buffer,
): boolean {
  const padding = isPss ? { padding: constants.RSA_PKCS1_PSS_PADDING } : {};
  try {
    return verify(digest, signed, { key: publicKey, ...padding }, signature);
  } catch {
    // The key is of another kind than the signature.
    return false;
  }
}

/** The subject's name, as it is encoded. */
function subjectOf({ raw }: X509Certificate): Buffer {
  const fields = new DerReader(raw).sequence().sequence();
  fields.takeIf(VERSION);
  fields.take(Tag.integer);
  fields.take(Tag.sequence); // algorithm
  fields.take(Tag.sequence); // issuer
  fields.take(Tag.sequence); // validity
  return fields.take(Tag.sequence).raw;
}

/** `[0] EXPLICIT`, in certificates. */
const VERSION = 0xa0;

function refusal(text: string): MeshError {
  return new MeshError('InvalidOptions', `tls.crl ${text}`);
}
