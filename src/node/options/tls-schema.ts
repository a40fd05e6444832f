/** The schema of `tls`: certificates as PEM texts. What is in them is checked when they are loaded. */
import * as v from 'valibot';
import { isBytes } from '../../base/realms.js';
import { redactFields } from '../../base/redact.js';
import type { TlsMaterial } from '../../transport/connection.js';
import type { Agree, Differences } from './agreement.js';
import type { TlsOption } from './types.js';
import { type Check, callback, group, is, listOf } from './values.js';

const NOT_A_PATH =
  "this looks like a file path: pass the file's content, e.g. readFileSync(path, 'utf8')";

const pem = v.pipe(
  v.string(({ input }) => `must be PEM text${adviceOn(input)}`),
  v.check((text) => !isPath(text), NOT_A_PATH),
);

type Crl = NonNullable<TlsMaterial['crl']>;

const crl = v.pipe(
  is<Crl>(
    (value) => entriesOf(value).every((entry) => typeof entry === 'string' || isBytes(entry)),
    'must be a CRL as PEM text or DER bytes, or an array of them',
  ),
  v.check((value) => !entriesOf(value).some(isPath), NOT_A_PATH),
  v.transform((value): Crl => (Array.isArray(value) ? Object.freeze([...value]) : value)),
);

const FINGERPRINTS =
  'must be an array of fingerprints or serial numbers in hex, or of certificates as PEM texts';

/** What `tls` is, or what a function gave for it. */
export const tlsMaterial = group(
  {
    ca: pem,
    cert: pem,
    key: pem,
    revoked: v.optional(listOf(v.string(FINGERPRINTS), FINGERPRINTS)),
    crl: v.optional(crl),
  },
  'must be an object with ca, cert and key as PEM texts, or a function that gives one',
);

const redactedMaterial = v.pipe(
  tlsMaterial,
  v.transform((material) => redactFields(material, ['key'])),
);

/** {@link tlsMaterial}, or a function, which is not called here. */
export const tlsOption: Check<TlsOption> = v.lazy((given) =>
  typeof given === 'function' ? callback<TlsOption>() : redactedMaterial,
);

/** See `schema.ts`. */
export type TypesAgree = Agree<Differences<TlsMaterial, v.InferInput<typeof tlsMaterial>>>;

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
