/** Development certificates in memory: a CA, and one certificate for each node. */
import { createPrivateKey, generateKeyPair, X509Certificate } from 'node:crypto';
import { promisify } from 'node:util';
import { MeshError } from '../errors.js';
import { assertNodeIds } from '../protocol/node-id.js';
import { assertHosts } from './hosts.js';
import { type Issuer, issueCaCert, issueLeafCert, type Validity } from './x509.js';

/** A certificate and its private key. */
export interface DevCert {
  /** PEM. */
  readonly cert: string;
  /** PKCS#8 PEM, not encrypted. */
  readonly key: string;
}

/** A development CA and what it signed. */
export interface DevCerts<Id extends string = string> {
  /** The CA's certificate, PEM. Every node trusts this one. */
  readonly ca: string;
  /** The CA's key, PKCS#8 PEM. Who holds it can become any node. */
  readonly caKey: string;
  /** Certificate and key by node id. The record has no prototype: every id is just a key. */
  readonly nodes: Readonly<Record<Id, DevCert>>;
}

/** How to make development certificates. */
export interface DevCertOptions {
  /** How many days from now node certificates are valid, 1 to 36,500. Default 365. A new CA is valid for 10 years. */
  readonly validityDays?: number;
  /** Sign with this CA, which must have an EC key, and make no new one. PEM. */
  readonly existing?: { readonly ca: string; readonly caKey: string };
  /**
   * More DNS names or IP addresses for every node's certificate. Default none: nodes are known by their ids,
   * whatever the address. A name given here is one that each of these nodes can claim as its id.
   */
  readonly extraHosts?: readonly string[];
  /** When node certificates begin to be valid. Default five minutes ago, so that clocks may differ. */
  readonly notBefore?: Date;
  /** When node certificates end to be valid. Default: `validityDays` from now. */
  readonly notAfter?: Date;
}

/**
 * Makes a development CA and a certificate for every node id, signed by it. Nothing is written to disk.
 *
 * Keys are ECDSA on P-256. A node's id is the certificate's common name and a DNS alternative name; its
 * certificate serves both ends of a connection (server and client authentication). These certificates are
 * for development and tests: the CA's key is not protected and nothing can be revoked.
 *
 * @throws {MeshError} `InvalidArgument` when a node id is no DNS name (or given twice: ids are compared
 *   without regard to case), an extra host is no host, the validity is no span of time, or the existing CA
 *   cannot sign.
 */
export async function generateDevCerts<const Id extends string>(
  nodeIds: readonly Id[],
  options: DevCertOptions = {},
): Promise<DevCerts<Id>> {
  const { extraHosts = [] } = options;
  assertNodeIds(nodeIds);
  assertHosts(extraHosts);
  const validity = resolveValidity(options);
  const { ca, caKey } = options.existing ?? (await makeCa());
  const issuer = openIssuer(ca, caKey);

  const nodes: Record<string, DevCert> = Object.create(null);
  for (const id of nodeIds) {
    const key = await makeKey();
    nodes[id] = { cert: issueLeafCert({ issuer, key, names: [id, ...extraHosts], validity }), key };
  }
  return { ca, caKey, nodes: nodes as Record<Id, DevCert> };
}

/** A new private key on P-256, PKCS#8 PEM: the form that OpenSSL and BoringSSL both read. */
export async function makeKey(): Promise<string> {
  const { privateKey } = await promisify(generateKeyPair)('ec', { namedCurve: 'prime256v1' });
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** A CA's certificate for its key (EC, PEM), valid from now for ten years. */
export function makeCaCert(caKey: string): string {
  return issueCaCert(caKey, validityOfDays(CA_VALIDITY_DAYS));
}

/**
 * A CA made ready to sign.
 *
 * @throws {MeshError} `InvalidArgument` when the texts are no certificate and key, do not belong together,
 *   or are no CA with an EC key that is still valid.
 */
export function openIssuer(ca: string, caKey: string): Issuer {
  const issuer = parseIssuer(ca, caKey);
  const flaw = flawOfCa(issuer);
  if (flaw !== undefined) throw new MeshError('InvalidArgument', `the dev CA cannot sign: ${flaw}`);
  return issuer;
}

/**
 * The validity of a node's certificate.
 *
 * @throws {MeshError} `InvalidArgument`
 */
export function resolveValidity(options: DevCertOptions): Validity {
  const { validityDays = DEFAULT_VALIDITY_DAYS } = options;
  if (!Number.isInteger(validityDays) || validityDays < 1 || validityDays > MAX_VALIDITY_DAYS) {
    throw new MeshError(
      'InvalidArgument',
      `validityDays must be a whole number from 1 to ${MAX_VALIDITY_DAYS}`,
    );
  }
  const { notBefore, notAfter } = { ...validityOfDays(validityDays), ...definedDates(options) };
  if (!(notBefore < notAfter)) {
    throw new MeshError('InvalidArgument', 'notBefore must be an earlier date than notAfter');
  }
  return { notBefore, notAfter };
}

const DAY_MS = 24 * 60 * 60 * 1000;
const CLOCK_SKEW_MS = 5 * 60 * 1000;
const DEFAULT_VALIDITY_DAYS = 365;
const MAX_VALIDITY_DAYS = 36_500;
const CA_VALIDITY_DAYS = 3652;

async function makeCa(): Promise<{ ca: string; caKey: string }> {
  const caKey = await makeKey();
  return { ca: makeCaCert(caKey), caKey };
}

function parseIssuer(ca: string, caKey: string): Issuer {
  try {
    return { cert: new X509Certificate(ca), key: createPrivateKey(caKey) };
  } catch (cause) {
    const message = 'the dev CA cannot sign: certificate or key is not readable PEM';
    throw new MeshError('InvalidArgument', message, { cause });
  }
}

function flawOfCa({ cert, key }: Issuer): string | undefined {
  if (key.asymmetricKeyType !== 'ec') return 'its key is not an EC key';
  if (!cert.checkPrivateKey(key)) return 'the key does not belong to the certificate';
  if (!cert.ca) return 'the certificate is not a CA certificate';
  if (Date.parse(cert.validTo) < Date.now()) return `it expired on ${cert.validTo}`;
  return undefined;
}

function validityOfDays(days: number): Validity {
  const now = Date.now();
  return { notBefore: new Date(now - CLOCK_SKEW_MS), notAfter: new Date(now + days * DAY_MS) };
}

function definedDates({ notBefore, notAfter }: DevCertOptions): Partial<Validity> {
  return { ...(notBefore && { notBefore }), ...(notAfter && { notAfter }) };
}
