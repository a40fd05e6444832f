/** The schema of `tls`: certificates as PEM texts. What is in them is checked when they are loaded. */
import { isBytes } from '../../base/realms.js';
import { redactFields } from '../../base/redact.js';
import type { TlsMaterial } from '../../transport/connection.js';
import type { Agree, Differences } from './agreement.js';
import { Check, group, type InputOf, is, listOf, WRONG } from './check.js';
import type { TlsOption } from './types.js';

const NOT_A_PATH =
  "this looks like a file path: pass the file's content, e.g. readFileSync(path, 'utf8')";

const pem = is<string>(
  (value) => typeof value === 'string',
  (value) => `must be PEM text${adviceOn(value)}`,
).refine((text) => !isPath(text), NOT_A_PATH);

type Crl = NonNullable<TlsMaterial['crl']>;

const crl = is<Crl>(
  (value) => entriesOf(value).every((entry) => typeof entry === 'string' || isBytes(entry)),
  'must be a CRL as PEM text or DER bytes, or an array of them',
)
  .refine((value) => !entriesOf(value).some(isPath), NOT_A_PATH)
  .transform((value): Crl => (Array.isArray(value) ? Object.freeze([...value]) : value));

const FINGERPRINTS =
  'must be an array of fingerprints or serial numbers in hex, or of certificates as PEM texts';

/** What `tls` is, or what a function gave for it. */
export const tlsMaterial = group(
  {
    ca: pem,
    cert: pem,
    key: pem,
    revoked: listOf(
      is<string>((value) => typeof value === 'string', FINGERPRINTS),
      FINGERPRINTS,
    ).optional(),
    crl: crl.optional(),
  },
  'must be an object with ca, cert and key as PEM texts, or a function that gives one',
);

/** {@link tlsMaterial}, or a function, which is not called here. */
export const tlsOption = new Check<TlsOption, TlsOption>((value, path, problems) => {
  if (typeof value === 'function') return value as TlsOption;
  const material = tlsMaterial.read(value, path, problems);
  return material === WRONG ? WRONG : redactFields(material, ['key']);
});

/** See `schema.ts`. */
export type TypesAgree = Agree<Differences<TlsMaterial, InputOf<typeof tlsMaterial>>>;

/** What is often given in place of a text. */
function adviceOn(input: unknown): string {
  if (isBytes(input)) return ", not bytes: read the file as text, e.g. readFileSync(path, 'utf8')";
  return Array.isArray(input) ? ', not an array: join several by newlines' : '';
}

function entriesOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [value];
}

const PATH = /^(?:file:|~?\.{0,2}[\\/]|[a-z]:[\\/])|\.(?:pem|crt|cer|der|key|crl)$/i;

/** PEM has lines, and base64 of a certificate begins with M. */
function isPath(value: unknown): boolean {
  return typeof value === 'string' && !value.includes('\n') && PATH.test(value);
}
