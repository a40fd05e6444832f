/** Reads the extensions of a certificate (RFC 5280, section 4.2). Pure. */
import { MeshError } from '../../errors.js';
import { DerReader, type DerValue, Tag } from './der-reader.js';

/** A name of a subject (RFC 5280, section 4.2.1.6). */
export interface GeneralName {
  /** One of {@link NameTag}, or another context tag. */
  readonly tag: number;
  readonly content: Buffer;
}

export const NameTag = {
  email: 0x81,
  dns: 0x82,
  directory: 0xa4,
  uri: 0x86,
  ip: 0x87,
} as const;

export interface NameConstraints {
  readonly permitted: readonly GeneralName[];
  readonly excluded: readonly GeneralName[];
}

/** What the extensions of a certificate say. Buffers are parts of its DER. */
export interface CertificateExtensions {
  readonly subjectKeyId: Buffer | undefined;
  readonly authorityKeyId: Buffer | undefined;
  readonly basicConstraints:
    | { readonly isCa: boolean; readonly pathLength: number | undefined }
    | undefined;
  /** Bits of {@link KeyUsage}; `undefined`: any usage. */
  readonly keyUsage: number | undefined;
  /** Object identifiers in hex; `undefined`: any. */
  readonly extendedKeyUsage: readonly string[] | undefined;
  /** The first byte of Netscape's certificate type; `undefined`: any. */
  readonly netscapeType: number | undefined;
  readonly names: readonly GeneralName[];
  readonly nameConstraints: NameConstraints | undefined;
  /** Whether it has a critical extension that is not supported here, or is a proxy certificate. */
  readonly isBeyondUs: boolean;
}

/** The first byte of key usage (RFC 5280, section 4.2.1.3). */
export const KeyUsage = { digitalSignature: 0x80, keyCertSign: 0x04, crlSign: 0x02 } as const;

/** More than a chain has room for would need other certificates than those of nodes. */
const MAX_NAMES = 2048;
const MAX_SUBTREES = 512;

const Extension = {
  subjectKeyIdentifier: '551d0e',
  keyUsage: '551d0f',
  subjectAltName: '551d11',
  basicConstraints: '551d13',
  nameConstraints: '551d1e',
  authorityKeyIdentifier: '551d23',
  extendedKeyUsage: '551d25',
  netscapeType: '6086480186f8420101',
  proxyInfo: '2b0601050507010e',
} as const;

/** Extensions that may be critical: those above, which are checked, and those that do not matter for TLS. */
const KNOWN_CRITICAL: ReadonlySet<string> = new Set([
  Extension.subjectKeyIdentifier,
  Extension.keyUsage,
  Extension.subjectAltName,
  Extension.basicConstraints,
  Extension.nameConstraints,
  Extension.authorityKeyIdentifier,
  Extension.extendedKeyUsage,
  Extension.netscapeType,
  // Policies are not checked: certificatePolicies, policyMappings, policyConstraints, inhibitAnyPolicy.
  '551d20',
  '551d21',
  '551d24',
  '551d36',
  // Where CRLs are published: this library does not fetch them.
  '551d1f',
]);

const CONTEXT_0 = 0x80;
const EXPLICIT_0 = 0xa0;
const EXPLICIT_1 = 0xa1;

/**
 * @param field the last field of a certificate, if it has any
 * @throws MeshError InvalidOptions when one of the extensions is malformed, or has more entries than any good one
 */
export function readExtensions(field: DerValue | undefined): CertificateExtensions {
  const extensions = listExtensions(field);
  const read = <T>(id: string, parse: (value: DerReader) => T): T | undefined => {
    const value = extensions.get(id);
    return value === undefined ? undefined : parse(new DerReader(value.content));
  };
  return {
    subjectKeyId: read(
      Extension.subjectKeyIdentifier,
      (value) => value.take(Tag.octetString).content,
    ),
    authorityKeyId: read(
      Extension.authorityKeyIdentifier,
      (value) => value.sequence().takeIf(CONTEXT_0)?.content,
    ),
    basicConstraints: read(Extension.basicConstraints, readBasicConstraints),
    keyUsage: read(Extension.keyUsage, readFirstByteOfBits),
    extendedKeyUsage: read(Extension.extendedKeyUsage, readOids),
    netscapeType: read(Extension.netscapeType, readFirstByteOfBits),
    names: read(Extension.subjectAltName, (value) => readNames(value.sequence())) ?? [],
    nameConstraints: read(Extension.nameConstraints, readNameConstraints),
    isBeyondUs:
      extensions.has(Extension.proxyInfo) ||
      [...extensions].some(([id, { isCritical }]) => isCritical && !KNOWN_CRITICAL.has(id)),
  };
}

interface RawExtension {
  readonly isCritical: boolean;
  readonly content: Buffer;
}

function listExtensions(field: DerValue | undefined): ReadonlyMap<string, RawExtension> {
  const extensions = new Map<string, RawExtension>();
  if (field === undefined) return extensions;
  for (const list = new DerReader(field.content).sequence(); !list.isDone; ) {
    const extension = list.sequence();
    const id = extension.take(Tag.oid).content.toString('hex');
    const critical = extension.takeIf(Tag.boolean);
    const isCritical = critical !== undefined && critical.content[0] !== 0;
    // RFC 5280, section 4.2: an extension comes at most once.
    if (extensions.has(id)) throw malformed();
    extensions.set(id, { isCritical, content: extension.take(Tag.octetString).content });
  }
  return extensions;
}

function readBasicConstraints(value: DerReader): CertificateExtensions['basicConstraints'] {
  const fields = value.sequence();
  const isCa = (fields.takeIf(Tag.boolean)?.content[0] ?? 0) !== 0;
  const length = fields.takeIf(Tag.integer)?.content;
  if (length === undefined) return { isCa, pathLength: undefined };
  const isNegative = length.length === 0 || (length[0] as number) >= 0x80;
  if (isNegative || length.length > 4) throw malformed();
  return { isCa, pathLength: length.readUIntBE(0, length.length) };
}

function readFirstByteOfBits(value: DerReader): number {
  return value.take(Tag.bitString).content[1] ?? 0;
}

function readOids(value: DerReader): readonly string[] {
  const oids: string[] = [];
  for (const list = value.sequence(); !list.isDone; ) {
    oids.push(list.take(Tag.oid).content.toString('hex'));
  }
  return oids;
}

function readNames(list: DerReader): readonly GeneralName[] {
  const names: GeneralName[] = [];
  while (!list.isDone) {
    if (names.length === MAX_NAMES) throw tooMany(`${MAX_NAMES} alternative names`);
    const { tag, content } = list.take();
    names.push({ tag, content });
  }
  return names;
}

function readNameConstraints(value: DerReader): NameConstraints {
  const fields = value.sequence();
  const permitted = readSubtrees(fields.takeIf(EXPLICIT_0));
  const excluded = readSubtrees(fields.takeIf(EXPLICIT_1));
  if (!fields.isDone) throw malformed();
  if (permitted.length + excluded.length > MAX_SUBTREES) {
    throw tooMany(`${MAX_SUBTREES} name constraints`);
  }
  return { permitted, excluded };
}

function readSubtrees(field: DerValue | undefined): readonly GeneralName[] {
  const names: GeneralName[] = [];
  if (field === undefined) return names;
  for (const list = new DerReader(field.content); !list.isDone; ) {
    const subtree = list.sequence();
    const { tag, content } = subtree.take();
    names.push({ tag, content });
    // RFC 5280, section 4.2.1.10: minimum is 0, there is no maximum.
    const minimum = subtree.takeIf(CONTEXT_0)?.content ?? Buffer.of(0);
    if (!subtree.isDone || !minimum.equals(Buffer.of(0))) throw malformed();
  }
  return names;
}

function tooMany(text: string): MeshError {
  return new MeshError('InvalidOptions', `a certificate has more than ${text}`);
}

function malformed(): MeshError {
  return new MeshError('InvalidOptions', 'an extension of a certificate is malformed');
}
