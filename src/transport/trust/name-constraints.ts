/** Which names a CA may certify (RFC 5280, section 4.2.1.10). Pure. */
import { type GeneralName, NameTag } from './certificate-extensions.js';
import type { CertificateFields } from './certificate-fields.js';
import { emailsOf, rdnKeys } from './distinguished-name.js';

/** How many comparisons {@link allowsNames} makes at most. */
export function comparisonsOf(ca: CertificateFields, certificate: CertificateFields): number {
  if (ca.nameConstraints === undefined) return 0;
  const { permitted, excluded } = ca.nameConstraints;
  return namesOf(certificate).length * (permitted.length + excluded.length);
}

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
  if (rdnKeys(subject).length === 0) return names;
  const emails = emailsOf(subject).map((text) => ({
    tag: NameTag.email,
    content: Buffer.from(text),
  }));
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
  const own = rdnKeys(name);
  return rdnKeys(constraint).every((rdn, at) => own[at] === rdn);
}
