/**
 * Reads certificate revocation lists (RFC 5280, section 5): complete ones of version 1 or 2, signed by the CA whose certificates
 * they revoke. Delta CRLs, indirect CRLs and partial ones are refused, whether the extension that says so is critical or not: taken
 * for a complete list, each would let in what another one revokes.
 */
import { isBytes } from '../../base/realms.js';
import { asMeshError, MeshError } from '../../errors.js';
import type { CertificateFields } from './certificate-fields.js';
import { mayRevoke } from './chain-rules.js';
import { DerReader, type DerValue, integerKey, readTime, Tag } from './der-reader.js';
import { rdnKeys } from './distinguished-name.js';
import { weaknessOf } from './key-strength.js';
import { isSignature, isStronglySigned, publicKeyOf } from './signatures.js';

/** PEM texts, each with one CRL or more, or CRLs in DER. */
export type CrlOption = string | Uint8Array | readonly (string | Uint8Array)[];

/** The largest CRL, in bytes: room for about a million certificates. */
const MAX_CRL_BYTES = 32 * 1024 * 1024;
const MAX_CRLS = 256;
/** How far in the future a CRL may be dated, because clocks differ. */
const CLOCK_SKEW_MS = 5 * 60 * 1000;

/** Extensions that make a list something else than all that one CA has revoked, in hex. */
const OTHER_KINDS: ReadonlySet<string> = new Set([
  '551d1b', // deltaCRLIndicator
  '551d1c', // issuingDistributionPoint
  '551d1d', // certificateIssuer, of an entry
]);

/** The content of one CRL, which proves nothing before {@link Crl.isSignedBy}. */
export interface Crl {
  readonly thisUpdateMs: number;
  /** When the CA issues the next one; `undefined` where the CRL does not say. */
  readonly nextUpdateMs: number | undefined;
  /** Serial numbers, as {@link integerKey} has them. */
  readonly serials: ReadonlySet<string>;
  /** Whether that CA has signed it, and may. */
  isSignedBy(ca: CertificateFields): boolean;
}

/** Reads CRLs. @throws MeshError InvalidOptions for one that cannot be read, or is of a kind that is not supported */
export function parseCrls(option: CrlOption): Crl[] {
  const parts = typeof option === 'string' || isBytes(option) ? [option] : option;
  const ders = parts.flatMap((part) => (typeof part === 'string' ? pemBlocks(part) : [part]));
  if (ders.length > MAX_CRLS) throw refusal(`holds more than ${MAX_CRLS} CRLs`);
  return ders.map(parseCrl);
}

/** A key for a CA, by its name and public key: a CRL belongs to both. */
export function crlKeyOf({ subjectKey, key }: CertificateFields): string {
  return `${key.spki.toString('base64')} ${subjectKey}`;
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
  const bits = list.take(Tag.bitString).content;
  if (!outer.isDone || !list.isDone || bits[0] !== 0) {
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
  if (extensions !== undefined) refuseOtherKinds(new DerReader(extensions.content).sequence());
  if (!fields.isDone) throw new MeshError('InvalidOptions', 'fields that CRLs do not have');

  const whole = { content: signed.raw, algorithm, signature: bits.subarray(1) };
  if (!isStronglySigned(whole)) {
    throw new MeshError('InvalidOptions', 'its signature algorithm is not supported');
  }
  const issuerKey = rdnKeys(issuer).join('\0');
  return {
    thisUpdateMs,
    nextUpdateMs: nextUpdate && readTime(nextUpdate),
    serials,
    isSignedBy: (ca) => {
      if (ca.subjectKey !== issuerKey || !mayRevoke(ca) || weaknessOf(ca.key)) return false;
      const key = publicKeyOf(ca.key.spki);
      return key !== undefined && isSignature(whole, key);
    },
  };
}

/** `[0] EXPLICIT` */
const EXTENSIONS = 0xa0;

function readSerials(entries: DerValue | undefined): ReadonlySet<string> {
  const serials = new Set<string>();
  if (entries === undefined) return serials;
  for (const reader = new DerReader(entries.content); !reader.isDone; ) {
    const entry = reader.sequence();
    serials.add(integerKey(entry.take(Tag.integer).content));
    readTime(entry.take());
    if (entry.nextTag === Tag.sequence) refuseOtherKinds(entry.sequence());
  }
  return serials;
}

/** Refuses extensions with which the CRL means less or more than it seems to. */
function refuseOtherKinds(extensions: DerReader): void {
  while (!extensions.isDone) {
    const extension = extensions.sequence();
    const id = extension.take(Tag.oid).content.toString('hex');
    const critical = extension.takeIf(Tag.boolean);
    if (OTHER_KINDS.has(id)) {
      throw new MeshError('InvalidOptions', 'it is a delta, an indirect or a partial one');
    }
    if (critical === undefined || critical.content[0] === 0) continue;
    throw new MeshError('InvalidOptions', 'it has a critical extension, which is not supported');
  }
}

function refusal(text: string): MeshError {
  return new MeshError('InvalidOptions', `tls.crl ${text}`);
}
