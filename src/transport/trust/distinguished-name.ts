/**
 * Distinguished names (RFC 5280, section 4.1.2.4). Two are the same if they differ in case, spaces or string type only: so says
 * section 7.1, and OpenSSL does the same. Case is that of ASCII: other letters have several lower cases. Pure.
 */
import { DerReader, Tag } from './der-reader.js';

/** emailAddress of PKCS #9, which old certificates have in their subject. */
const EMAIL_ATTRIBUTE = '2a864886f70d010901';

const SHOWN_ATTRIBUTES: ReadonlyMap<string, string> = new Map([
  ['550403', 'CN'],
  ['550406', 'C'],
  ['550407', 'L'],
  ['550408', 'ST'],
  ['55040a', 'O'],
  ['55040b', 'OU'],
]);
const MAX_SHOWN_CHARACTERS = 200;

interface Attribute {
  /** Object identifier, in hex. */
  readonly id: string;
  readonly tag: number;
  readonly content: Buffer;
}

/**
 * One key for each relative distinguished name. Names are the same if their keys are.
 * @param name a Name in DER
 * @throws MeshError InvalidOptions when it cannot be read
 */
export function rdnKeys(name: Buffer): readonly string[] {
  return rdnsOf(name).map((rdn) => rdn.map(attributeKey).sort().join('+'));
}

/** The e-mail addresses of a name. @throws MeshError InvalidOptions when it cannot be read */
export function emailsOf(name: Buffer): readonly string[] {
  const attributes = rdnsOf(name).flat();
  return attributes.filter(({ id }) => id === EMAIL_ATTRIBUTE).map((own) => textOf(own) ?? '');
}

/** A name for people: short, and without control characters. */
export function nameText(name: Buffer): string {
  const shown = rdnsOf(name)
    .flat()
    .flatMap((attribute) => {
      const type = SHOWN_ATTRIBUTES.get(attribute.id);
      return type === undefined ? [] : [`${type}=${textOf(attribute) ?? '?'}`];
    });
  const text = shown.join(', ').replaceAll(/\p{C}/gu, '?');
  return text === '' ? 'a certificate' : text.slice(0, MAX_SHOWN_CHARACTERS);
}

function rdnsOf(name: Buffer): readonly (readonly Attribute[])[] {
  const rdns: Attribute[][] = [];
  for (const list = new DerReader(name).sequence(); !list.isDone; ) {
    const rdn: Attribute[] = [];
    for (const set = new DerReader(list.take(Tag.set).content); !set.isDone; ) {
      const fields = set.sequence();
      const id = fields.take(Tag.oid).content.toString('hex');
      const { tag, content } = fields.take();
      rdn.push({ id, tag, content });
    }
    rdns.push(rdn);
  }
  return rdns;
}

/** No text has a NUL or `+` outside of quotes. */
function attributeKey(attribute: Attribute): string {
  const { id, tag, content } = attribute;
  const text = textOf(attribute);
  if (text === undefined) return `${id}#${tag}#${content.toString('hex')}`;
  return `${id}=${JSON.stringify(foldAscii(text))}`;
}

/** The text of a value of a string type. */
function textOf({ tag, content }: Attribute): string | undefined {
  switch (tag) {
    case Tag.utf8String:
      return content.toString('utf8');
    case Tag.printableString:
    case Tag.t61String:
    case Tag.ia5String:
    case Tag.visibleString:
      return content.toString('latin1');
    case Tag.bmpString:
      return content.length % 2 === 0
        ? Buffer.from(content).swap16().toString('utf16le')
        : undefined;
    default:
      return undefined;
  }
}

function foldAscii(text: string): string {
  const spaced = text.replaceAll(/[ \t\n\v\f\r]+/g, ' ').replaceAll(/^ | $/g, '');
  return spaced.replaceAll(/[A-Z]+/g, (letters) => letters.toLowerCase());
}
