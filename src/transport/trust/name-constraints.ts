/** Which names a CA may certify (RFC 5280, section 4.2.1.10). Pure. */
import { type CertificateFields, type GeneralName, NameTag } from './certificate-fields.js';
import { DerReader, Tag } from './der-reader.js';

/** emailAddress of PKCS #9, which old certificates have in their subject. */
const EMAIL_ATTRIBUTE = '2a864886f70d010901';

/** Whether a CA's constraints allow all names of a certificate below it. */
export function allowsNames(ca: CertificateFields, certificate: CertificateFields): boolean {
  const { nameConstraints } = ca;
  if (nameConstraints === undefined) return true;
  const { permitted, excluded } = nameConstraints;
  return namesOf(certificate).every((name) => {
    const isOfItsKind = ({ tag }: GeneralName) => tag === name.tag;
    const allowed = permitted.filter(isOfItsKind);
    const forbidden = excluded.filter(isOfItsKind);
    const matches = MATCHES.get(name.tag);
    const isFree = allowed.length === 0 && forbidden.length === 0;
    if (isFree || matches === undefined || !isReadable(name)) return isFree;
    const isWithin = ({ content }: GeneralName) => matches(name.content, content);
    return (allowed.length === 0 || allowed.some(isWithin)) && !forbidden.some(isWithin);
  });
}

/** All names of a certificate, those of its subject included. */
function namesOf({ subject, names }: CertificateFields): readonly GeneralName[] {
  const rdns = new DerReader(subject).take(Tag.sequence).content;
  if (rdns.length === 0) return names;
  const emails = attributesOf(rdns)
    .flat()
    .filter(([id]) => id === EMAIL_ATTRIBUTE)
    .map(([, value]) => ({ tag: NameTag.email, content: Buffer.from(value) }));
  return [{ tag: NameTag.directory, content: subject }, ...emails, ...names];
}

/** A URI without a host could be anybody's. */
function isReadable({ tag, content }: GeneralName): boolean {
  return tag !== NameTag.uri || hostOfUri(lower(content)) !== '';
}

type Matches = (name: Buffer, constraint: Buffer) => boolean;

const MATCHES: ReadonlyMap<number, Matches> = new Map<number, Matches>([
  [NameTag.dns, (name, constraint) => isInDomain(lower(name), lower(constraint))],
  [NameTag.email, (name, constraint) => isMailboxIn(name.toString('latin1'), constraint)],
  [NameTag.uri, (name, constraint) => isHostIn(hostOfUri(lower(name)), lower(constraint))],
  [NameTag.ip, isAddressIn],
  [NameTag.directory, isDirectoryIn],
]);

function lower(text: Buffer): string {
  return lowerAscii(text.toString('latin1'));
}

/** Hosts are ASCII (RFC 5280, section 7.2). Other letters have no case here: À is not à. */
function lowerAscii(text: string): string {
  return text.replaceAll(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

/** A constraint with a leading dot means subdomains only. */
function isInDomain(name: string, domain: string): boolean {
  if (domain === '') return true;
  const suffix = domain.startsWith('.') ? domain : `.${domain}`;
  return name === domain || name.endsWith(suffix);
}

/** A constraint names one host, or with a leading dot any host below a domain. */
function isHostIn(host: string, constraint: string): boolean {
  if (constraint === '') return true;
  return constraint.startsWith('.') ? host.endsWith(constraint) : host === constraint;
}

function isMailboxIn(mailbox: string, constraint: Buffer): boolean {
  const wanted = constraint.toString('latin1');
  const [host, local] = splitMailbox(mailbox);
  if (!wanted.includes('@')) return isHostIn(host, lowerAscii(wanted));
  const [wantedHost, wantedLocal] = splitMailbox(wanted);
  return host === wantedHost && (wantedLocal === '' || local === wantedLocal);
}

function splitMailbox(mailbox: string): [host: string, local: string] {
  const at = mailbox.lastIndexOf('@');
  return [lowerAscii(mailbox.slice(at + 1)), mailbox.slice(0, Math.max(at, 0))];
}

function hostOfUri(uri: string): string {
  const [, authority = ''] = /^[^:]+:\/\/([^/?#]*)/.exec(uri) ?? [];
  return authority.slice(authority.lastIndexOf('@') + 1).replace(/:\d*$/, '');
}

/** The constraint is an address and a mask of its length. */
function isAddressIn(address: Buffer, constraint: Buffer): boolean {
  const { length } = address;
  if (constraint.length !== 2 * length) return false;
  return address.every((byte, at) => {
    const mask = constraint[length + at] as number;
    return (byte & mask) === ((constraint[at] as number) & mask);
  });
}

function isDirectoryIn(name: Buffer, constraint: Buffer): boolean {
  const [own, wanted] = [name, constraint].map((der) =>
    attributesOf(new DerReader(der).take(Tag.sequence).content).map((rdn) =>
      rdn
        .map(([id, value]) => `${id}=${folded(value)}`)
        .sort()
        .join('+'),
    ),
  ) as [string[], string[]];
  return wanted.every((rdn, at) => own[at] === rdn);
}

/** The attributes of each relative distinguished name: object identifiers in hex, and values. */
function attributesOf(rdns: Buffer): readonly (readonly (readonly [string, string])[])[] {
  const found: (readonly [string, string])[][] = [];
  for (const list = new DerReader(rdns); !list.isDone; ) {
    const attributes: (readonly [string, string])[] = [];
    for (const set = new DerReader(list.take(Tag.set).content); !set.isDone; ) {
      const attribute = set.sequence();
      const id = attribute.take(Tag.oid).content.toString('hex');
      const { tag, content } = attribute.take();
      attributes.push([id, textOf(tag, content)]);
    }
    found.push(attributes);
  }
  return found;
}

const BMP_STRING = 0x1e;
const UTF8_STRING = 0x0c;

function textOf(tag: number, content: Buffer): string {
  if (tag === BMP_STRING && content.length % 2 === 0)
    return Buffer.from(content).swap16().toString('utf16le');
  return content.toString(tag === UTF8_STRING ? 'utf8' : 'latin1');
}

/** RFC 5280, section 7.1: case and the number of spaces do not matter. */
function folded(text: string): string {
  return text.trim().replaceAll(/\s+/g, ' ').toLowerCase();
}
