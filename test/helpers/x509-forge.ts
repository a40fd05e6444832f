/** Certificates and CRLs byte by byte: of every odd kind that no tool makes, for whoever wants to be let in by one. */
import {
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto';

const DAY_MS = 24 * 60 * 60 * 1000;

export function tlv(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  if (content.length < 0x80) return Buffer.concat([Buffer.of(tag, content.length), content]);
  const digits = hexBytes(content.length.toString(16));
  return Buffer.concat([Buffer.of(tag, 0x80 | digits.length), digits, content]);
}

export const seq = (...parts: readonly Uint8Array[]): Buffer => tlv(0x30, ...parts);
export const octets = (content: Uint8Array): Buffer => tlv(0x04, content);
export const bits = (content: Uint8Array): Buffer => tlv(0x03, Buffer.of(0), content);
export const context = (tag: number, ...parts: readonly Uint8Array[]): Buffer =>
  tlv(0xa0 | tag, ...parts);
const TRUE = Buffer.of(0x01, 0x01, 0xff);
const NULL = Buffer.of(0x05, 0x00);

export function integer(value: bigint): Buffer {
  const bytes = hexBytes(value.toString(16));
  return tlv(0x02, (bytes[0] as number) < 0x80 ? bytes : Buffer.concat([Buffer.of(0), bytes]));
}

/** @param id in hex */
export const oid = (id: string): Buffer => tlv(0x06, Buffer.from(id, 'hex'));
export const named = (cn: string, tag = 0x0c): Buffer =>
  seq(tlv(0x31, seq(oid('550403'), tlv(tag, Buffer.from(cn)))));
export const dnsName = (name: string): Buffer => tlv(0x82, Buffer.from(name, 'latin1'));

export function extension(id: string, value: Uint8Array, isCritical = false): Buffer {
  return seq(oid(id), ...(isCritical ? [TRUE] : []), octets(value));
}

export const isCa = (pathLength?: bigint): Buffer =>
  extension('551d13', seq(TRUE, ...(pathLength === undefined ? [] : [integer(pathLength)])), true);
/** Bits of the first byte: 0x80 digitalSignature, 0x04 keyCertSign, 0x02 cRLSign. */
export const usage = (byte: number): Buffer => extension('551d0f', bits(Buffer.of(byte)), true);
export const names = (...all: readonly Uint8Array[]): Buffer => extension('551d11', seq(...all));
export const CA_EXTENSIONS: readonly Buffer[] = [isCa(), usage(0x06)];

/** Algorithm identifiers in hex, with the digest that each signs. */
export const Signing = {
  ecdsa: ['2a8648ce3d040302', 'sha256', false],
  ecdsaSha1: ['2a8648ce3d0401', 'sha1', false],
  rsa: ['2a864886f70d01010b', 'sha256', true],
  rsaSha1: ['2a864886f70d010105', 'sha1', true],
  rsaMd5: ['2a864886f70d010104', 'md5', true],
} as const;
export type Signing = (typeof Signing)[keyof typeof Signing];

export function ecKey(namedCurve = 'P-256'): KeyObject {
  return generateKeyPairSync('ec', { namedCurve }).privateKey;
}

export function rsaKey(modulusLength = 2048): KeyObject {
  return generateKeyPairSync('rsa', { modulusLength }).privateKey;
}

/** A public key that nobody has the other half of: whoever checks a signature with it takes as long as its exponent is. */
export function slowKey(bytes = 384): Buffer {
  const modulus = randomBytes(bytes);
  modulus[0] = (modulus[0] as number) | 0xc0;
  modulus[bytes - 1] = (modulus[bytes - 1] as number) | 1;
  const n = BigInt(`0x${modulus.toString('hex')}`);
  const key = seq(integer(n), integer((n >> 1n) | 1n));
  return seq(seq(oid('2a864886f70d010101'), NULL), bits(key));
}

/** Who signs: a name in DER, and a private key. */
export interface Signer {
  readonly name: Buffer;
  readonly key: KeyObject;
}

export interface ForgeRequest {
  readonly issuer: Signer;
  readonly subject: Buffer;
  /** Private, or a SubjectPublicKeyInfo in DER. */
  readonly key: KeyObject | Buffer;
  readonly extensions?: readonly Buffer[];
  /** Two's complement. Default: 8 random bytes. */
  readonly serial?: Buffer;
  readonly from?: number;
  readonly to?: number;
  readonly signing?: Signing;
  /** In place of a real one. */
  readonly signature?: Buffer;
}

/** A certificate in DER. */
export function forge(request: ForgeRequest): Buffer {
  const { issuer, subject, key, extensions = [], signature, signing = signingOf(issuer) } = request;
  const { from = Date.now() - DAY_MS, to = Date.now() + DAY_MS } = request;
  const serial = request.serial ?? Buffer.concat([Buffer.of(1), randomBytes(7)]);
  const spki = Buffer.isBuffer(key)
    ? key
    : createPublicKey(key).export({ type: 'spki', format: 'der' });
  const content = seq(
    ...(extensions.length > 0 ? [context(0, integer(2n))] : []),
    tlv(0x02, serial),
    algorithmOf(signing),
    issuer.name,
    seq(utcTime(from), utcTime(to)),
    subject,
    spki,
    ...(extensions.length > 0 ? [context(3, seq(...extensions))] : []),
  );
  return signed(content, issuer, signing, signature);
}

/** A CA of its own: its certificate, and itself as a signer. */
export interface ForgedCa extends Signer {
  readonly der: Buffer;
  readonly pem: string;
}

export function forgeRoot(
  cn: string,
  extensions: readonly Buffer[] = CA_EXTENSIONS,
  key = ecKey(),
): ForgedCa {
  const own = { name: named(cn), key };
  const der = forge({ issuer: own, subject: own.name, key, extensions });
  return { ...own, der, pem: pemOf(der) };
}

export function forgeIntermediate(
  issuer: Signer,
  cn: string,
  changes: Partial<ForgeRequest> & { readonly key?: KeyObject } = {},
): ForgedCa {
  const own = { name: named(cn), key: changes.key ?? ecKey() };
  const subject = own.name;
  const der = forge({ extensions: CA_EXTENSIONS, ...changes, issuer, subject, key: own.key });
  return { ...own, der, pem: pemOf(der) };
}

export interface CrlRequest {
  readonly issuer: Signer;
  /** Serial numbers: two's complement. */
  readonly revoked?: readonly Buffer[];
  readonly entryExtensions?: readonly Buffer[];
  readonly extensions?: readonly Buffer[];
}

/** A CRL in DER, an hour old. */
export function forgeCrl({ issuer, revoked = [], ...request }: CrlRequest): Buffer {
  const { entryExtensions = [], extensions = [] } = request;
  const signing = signingOf(issuer);
  const when = utcTime(Date.now() - DAY_MS / 24);
  const entryEnd = entryExtensions.length === 0 ? [] : [seq(...entryExtensions)];
  const entries = revoked.map((serial) => seq(tlv(0x02, serial), when, ...entryEnd));
  const content = seq(
    integer(1n),
    algorithmOf(signing),
    issuer.name,
    when,
    utcTime(Date.now() + DAY_MS),
    ...(entries.length === 0 ? [] : [seq(...entries)]),
    ...(extensions.length === 0 ? [] : [context(0, seq(...extensions))]),
  );
  return signed(content, issuer, signing);
}

/**
 * The same certificate again, with the other signature that its CA's key has: (r, n - s).
 * @param order of the CA's curve
 */
export function twinOfEcdsa(der: Buffer, order: bigint): Buffer {
  const [content, algorithm, signature] = membersOf(der) as [Buffer, Buffer, Buffer];
  const [r, s] = membersOf(contentOf(signature).subarray(1)) as [Buffer, Buffer];
  const other = order - BigInt(`0x${contentOf(s).toString('hex')}`);
  return seq(content, algorithm, bits(seq(r, integer(other))));
}

function membersOf(value: Buffer): Buffer[] {
  const members: Buffer[] = [];
  for (let rest = contentOf(value); rest.length > 0; ) {
    const end = headBytes(rest) + contentOf(rest).length;
    members.push(rest.subarray(0, end));
    rest = rest.subarray(end);
  }
  return members;
}

/** Of the first value. */
function contentOf(value: Buffer): Buffer {
  const start = headBytes(value);
  const length = start === 2 ? (value[1] as number) : value.readUIntBE(2, start - 2);
  return value.subarray(start, start + length);
}

function headBytes(value: Buffer): number {
  const first = value[1] as number;
  return first < 0x80 ? 2 : 2 + (first & 0x7f);
}

export const P256_ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

export function pemOf(der: Buffer, label = 'CERTIFICATE'): string {
  const base64 = der.toString('base64').replace(/(.{64})(?=.)/g, '$1\n');
  return `-----BEGIN ${label}-----\n${base64}\n-----END ${label}-----\n`;
}

export function keyPemOf(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }) as string;
}

function signed(content: Buffer, { key }: Signer, signing: Signing, signature?: Buffer): Buffer {
  return seq(content, algorithmOf(signing), bits(signature ?? sign(signing[1], content, key)));
}

function signingOf({ key }: Signer): Signing {
  return key.asymmetricKeyType === 'rsa' ? Signing.rsa : Signing.ecdsa;
}

function algorithmOf([id, , hasNull]: Signing): Buffer {
  return seq(oid(id), ...(hasNull ? [NULL] : []));
}

function utcTime(ms: number): Buffer {
  const text = new Date(ms).toISOString().replaceAll(/[-:T]|\.\d+/g, '');
  return tlv(0x17, Buffer.from(text.slice(2)));
}

function hexBytes(hex: string): Buffer {
  return Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex');
}
