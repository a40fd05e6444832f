/** Good certificates for the nodes of tests, and bad ones of every kind. */
import {
  type DevCert,
  type DevCertOptions,
  type DevCerts,
  generateDevCerts,
  makeKey,
  openIssuer,
  resolveValidity,
} from '../../src/certs/dev-certs.js';
import { issueLeafCert } from '../../src/certs/x509.js';

/** What one node's `tls` options take. */
export interface NodeCredentials extends DevCert {
  /** The CA that signed `cert`. */
  readonly ca: string;
}

/** The nodes that {@link devCerts} knows. */
export type TestNodeId = 'n1' | 'n2' | 'n3' | 'n4' | 'n5';

let memoized: Promise<DevCerts<TestNodeId>> | undefined;

/** Good certificates for n1 to n5, made once per process. */
export function devCerts(): Promise<DevCerts<TestNodeId>> {
  memoized ??= generateDevCerts(['n1', 'n2', 'n3', 'n4', 'n5']);
  return memoized;
}

/** A good certificate of one of {@link devCerts}' nodes, with the CA. */
export async function nodeCert(nodeId: TestNodeId): Promise<NodeCredentials> {
  const { ca, nodes } = await devCerts();
  return { ca, ...nodes[nodeId] };
}

/** A good certificate for any name, signed by {@link devCerts}' CA. */
export function certNamed(name: string, options: DevCertOptions = {}): Promise<NodeCredentials> {
  return signedByDevCa(name, options);
}

/** Signed by {@link devCerts}' CA for DNS names that nobody checks: empty ones, wildcards, control characters. */
export async function certSpelled(...names: [string, ...string[]]): Promise<NodeCredentials> {
  const { ca, caKey } = await devCerts();
  const key = await makeKey();
  const issuer = openIssuer(ca, caKey);
  const cert = issueLeafCert({ issuer, key, names, validity: resolveValidity({}) });
  return { ca, cert, key };
}

/** The right name, signed by a CA that no one else knows; `ca` is that one. */
export async function otherCaCert(nodeId: string): Promise<NodeCredentials> {
  const { ca, nodes } = await generateDevCerts([nodeId]);
  return { ca, ...nodes[nodeId]! };
}

/** Signed by {@link devCerts}' CA, and expired an hour ago. */
export function expiredCert(nodeId: string): Promise<NodeCredentials> {
  return signedByDevCa(nodeId, { notBefore: hoursFromNow(-2), notAfter: hoursFromNow(-1) });
}

/** Signed by {@link devCerts}' CA, and valid in an hour. */
export function notYetValidCert(nodeId: string): Promise<NodeCredentials> {
  return signedByDevCa(nodeId, { notBefore: hoursFromNow(1), notAfter: hoursFromNow(2) });
}

/** Signed by {@link devCerts}' CA, for e-mail only: neither a server's nor a client's. */
export async function wrongUsageCert(nodeId: string): Promise<NodeCredentials> {
  const { ca, caKey } = await devCerts();
  const key = await makeKey();
  const cert = issueLeafCert({
    issuer: openIssuer(ca, caKey),
    key,
    names: [nodeId],
    validity: resolveValidity({}),
    purposes: ['emailProtection'],
  });
  return { ca, cert, key };
}

async function signedByDevCa(name: string, options: DevCertOptions): Promise<NodeCredentials> {
  const { ca, caKey } = await devCerts();
  const { nodes } = await generateDevCerts([name], { ...options, existing: { ca, caKey } });
  return { ca, ...nodes[name]! };
}

function hoursFromNow(hours: number): Date {
  return new Date(Date.now() + hours * 60 * 60 * 1000);
}
