/** The ASN.1 that certificates need, in DER, over node-forge: values as bytes rather than forge's strings. */
import forge from 'node-forge';

const { asn1 } = forge;
const { Class, Type } = asn1;

/** One ASN.1 value. */
export type Asn1 = forge.asn1.Asn1;

export function encodeDer(node: Asn1): Buffer {
  return Buffer.from(asn1.toDer(node).getBytes(), 'latin1');
}

/** @throws {Error} forge's own, when the bytes are not DER. */
export function decodeDer(der: Buffer): Asn1 {
  return asn1.fromDer(bytesOf(der));
}

/** The members of a constructed value; none for a primitive one. */
export function childrenOf(node: Asn1 | undefined): Asn1[] {
  return Array.isArray(node?.value) ? node.value : [];
}

/** The bytes of a primitive value; none for a constructed one. */
export function contentOf(node: Asn1): Buffer {
  return Buffer.from(typeof node.value === 'string' ? node.value : '', 'latin1');
}

export function isContextual(node: Asn1, tag: number): boolean {
  return node.tagClass === Class.CONTEXT_SPECIFIC && Number(node.type) === tag;
}

export function sequence(...members: Asn1[]): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.SEQUENCE, true, members);
}

export function set(...members: Asn1[]): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.SET, true, members);
}

/** `[tag] EXPLICIT` */
export function constructed(tag: number, member: Asn1): Asn1 {
  return asn1.create(Class.CONTEXT_SPECIFIC, tag, true, [member]);
}

/** `[tag] IMPLICIT` of a primitive type. */
export function contextual(tag: number, content: Buffer): Asn1 {
  return asn1.create(Class.CONTEXT_SPECIFIC, tag, false, bytesOf(content));
}

export function oid(id: string): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.OID, false, asn1.oidToDer(id).getBytes());
}

export function oidOf(node: Asn1): string {
  return asn1.derToOid(bytesOf(contentOf(node)));
}

export function boolean(value: boolean): Asn1 {
  return primitive(Type.BOOLEAN, Buffer.of(value ? 0xff : 0));
}

/** Two's complement, big-endian, no longer than needed. */
export function integer(content: Buffer): Asn1 {
  return primitive(Type.INTEGER, content);
}

export function octetString(content: Buffer): Asn1 {
  return primitive(Type.OCTETSTRING, content);
}

/** `unusedBits` at the end of the last byte do not belong to the value. */
export function bitString(unusedBits: number, content: Buffer): Asn1 {
  return primitive(Type.BITSTRING, Buffer.concat([Buffer.of(unusedBits), content]));
}

export function utf8String(text: string): Asn1 {
  return primitive(Type.UTF8, Buffer.from(text));
}

/** RFC 5280, 4.1.2.5: two-digit years through 2049, four digits from then on. */
export function time(date: Date): Asn1 {
  return date.getUTCFullYear() < 2050
    ? asn1.create(Class.UNIVERSAL, Type.UTCTIME, false, asn1.dateToUtcTime(date))
    : asn1.create(Class.UNIVERSAL, Type.GENERALIZEDTIME, false, asn1.dateToGeneralizedTime(date));
}

function primitive(type: forge.asn1.Type, content: Buffer): Asn1 {
  return asn1.create(Class.UNIVERSAL, type, false, bytesOf(content));
}

/** forge takes and gives bytes as strings of one character per byte. */
function bytesOf(buffer: Buffer): string {
  return buffer.toString('latin1');
}
