/**
 * Development certificates in a directory.
 *
 * Several processes may fill one directory at the same time, each with its own nodes, and there is no lock
 * that a killed process could leave behind. It rests on three rules. A key is created by linking a finished
 * file to its name, so only one process's key wins and the others use it. Certificates are made for the key
 * that is on disk, and replaced by renaming a finished file. And a pass over the directory is repeated until
 * one finds nothing to write: whoever wrote last has then seen everything fit together.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { MeshError } from '../errors.js';
import { assertNodeIds } from '../protocol/node-id.js';
import {
  type DevCert,
  type DevCertOptions,
  type DevCerts,
  makeCaCert,
  makeKey,
  openIssuer,
  resolveValidity,
} from './dev-certs.js';
import { createSecretFile, readFileIfExists, readSecretFile, replaceFile } from './files.js';
import { assertHosts } from './hosts.js';
import { type Issuer, issueLeafCert } from './x509.js';

/** How to fill a directory with development certificates. */
export interface WriteDevCertsOptions extends Pick<DevCertOptions, 'validityDays' | 'extraHosts'> {
  /**
   * Make a new CA, and new keys for the given nodes, in place of existing ones. Other nodes' certificates in
   * the directory are left, and are no longer signed by its CA. Default false.
   */
  readonly force?: boolean;
}

/** What a directory holds after {@link writeDevCerts}. */
export interface WrittenDevCerts<Id extends string = string> extends DevCerts<Id> {
  /** Where it is: paths under the directory, as given. */
  readonly paths: {
    readonly ca: string;
    readonly caKey: string;
    readonly nodes: Readonly<Record<Id, { readonly cert: string; readonly key: string }>>;
  };
  /** The paths that this call wrote, in order; what it kept is not among them. */
  readonly written: readonly string[];
}

/**
 * Makes sure that a directory holds a development CA and a certificate for every node id.
 *
 * Files: `ca.pem`, `ca-key.pem`, and `<node id>.pem`, `<node id>-key.pem` for each node. Keys have mode 0600
 * from the moment they exist, certificates 0644. Existing keys are kept, and so are node certificates that
 * are valid now, signed by the CA and carry the names asked for; anything else is made anew. Safe to call
 * from several processes at once (without `force`).
 *
 * @throws {MeshError} `InvalidArgument` for what {@link generateDevCerts} refuses, for ids whose files would
 *   take the place of others (`ca` and those ending in `-key`), and when the directory's CA cannot sign.
 * @throws the file system's own errors.
 */
export async function writeDevCerts<const Id extends string>(
  directory: string,
  nodeIds: readonly Id[],
  options: WriteDevCertsOptions = {},
): Promise<WrittenDevCerts<Id>> {
  assertNodeIds(nodeIds);
  assertFileNames(nodeIds);
  assertHosts(options.extraHosts ?? []);
  resolveValidity(options);

  await mkdir(directory, { recursive: true });
  const store: Store = { directory, nodeIds, options, written: [] };
  if (options.force === true) await replaceKeys(store);
  for (let pass = 1; pass <= MAX_PASSES; pass += 1) {
    const writtenBefore = store.written.length;
    const certs = await completeDirectory(store);
    const isComplete = store.written.length === writtenBefore;
    if (isComplete) return describe(store, certs) as WrittenDevCerts<Id>;
  }
  throw new MeshError('InternalError', `other processes keep rewriting the certs in ${directory}`);
}

const KEY_MODE = 0o600;
const CERT_MODE = 0o644;

/** How often a call looks again because something was not as it should be. Each rival causes about one pass. */
const MAX_PASSES = 20;

/** One call of {@link writeDevCerts}. */
interface Store {
  readonly directory: string;
  readonly nodeIds: readonly string[];
  readonly options: WriteDevCertsOptions;
  /** Grows with every file written. */
  readonly written: string[];
}

/** One pass: reads everything, writes what is missing or does not fit. */
async function completeDirectory(store: Store): Promise<DevCerts> {
  const caKey = await keepOrMakeCaKey(store);
  const ca = await keepOrMakeCaCert(store, caKey);
  const issuer = openIssuer(ca, caKey);
  const nodes: Record<string, DevCert> = Object.create(null);
  for (const id of store.nodeIds) {
    const key = await keepOrMakeNodeKey(store, id);
    nodes[id] = { key, cert: await keepOrMakeNodeCert(store, id, key, issuer) };
  }
  return { ca, caKey, nodes };
}

async function keepOrMakeCaKey(store: Store): Promise<string> {
  const { cert, key } = pathsOf(store, 'ca');
  // In this order: the key is created before the certificate, so a certificate seen here has had its key.
  const isCertThere = (await readFileIfExists(cert)) !== undefined;
  const existing = await readSecretFile(key);
  if (existing !== undefined) return existing;
  if (!isCertThere) return createKey(store, key);
  // Someone removed the key, perhaps to keep others from signing.
  throw new MeshError(
    'InvalidArgument',
    `${cert} has no ${key} beside it: bring the key back, or make everything anew with force`,
  );
}

async function keepOrMakeCaCert(store: Store, caKey: string): Promise<string> {
  const { cert, key } = pathsOf(store, 'ca');
  assertEcKey(key, caKey);
  const existing = await readFileIfExists(cert);
  if (existing !== undefined && isUsableCa(existing, caKey)) return existing;
  return writeFile(store, cert, makeCaCert(caKey), CERT_MODE);
}

async function keepOrMakeNodeKey(store: Store, id: string): Promise<string> {
  const { key } = pathsOf(store, id);
  const existing = await readSecretFile(key);
  if (existing === undefined) return createKey(store, key);
  if (isPrivateKey(existing)) return existing;
  return writeFile(store, key, await makeKey(), KEY_MODE);
}

async function keepOrMakeNodeCert(
  store: Store,
  id: string,
  key: string,
  issuer: Issuer,
): Promise<string> {
  const { cert } = pathsOf(store, id);
  const names = [id, ...(store.options.extraHosts ?? [])] as const;
  const existing = await readFileIfExists(cert);
  if (existing !== undefined && isUsableNodeCert(existing, key, names, issuer)) return existing;
  const validity = resolveValidity(store.options);
  return writeFile(store, cert, issueLeafCert({ issuer, key, names, validity }), CERT_MODE);
}

/** New keys for everything; the certificates, which fit no longer, follow in the next pass. */
async function replaceKeys(store: Store): Promise<void> {
  for (const name of ['ca', ...store.nodeIds]) {
    await writeFile(store, pathsOf(store, name).key, await makeKey(), KEY_MODE);
  }
}

async function createKey(store: Store, path: string): Promise<string> {
  const { content, created } = await createSecretFile(path, await makeKey());
  if (created) store.written.push(path);
  return content;
}

async function writeFile(
  store: Store,
  path: string,
  content: string,
  mode: number,
): Promise<string> {
  await replaceFile(path, content, mode);
  store.written.push(path);
  return content;
}

function isUsableCa(ca: string, caKey: string): boolean {
  try {
    openIssuer(ca, caKey);
    return true;
  } catch {
    return false;
  }
}

function isUsableNodeCert(
  pem: string,
  key: string,
  names: readonly string[],
  issuer: Issuer,
): boolean {
  try {
    const cert = new X509Certificate(pem);
    const now = Date.now();
    return (
      Date.parse(cert.validFrom) <= now &&
      now < Date.parse(cert.validTo) &&
      cert.checkPrivateKey(createPrivateKey(key)) &&
      cert.checkIssued(issuer.cert) &&
      cert.verify(issuer.cert.publicKey) &&
      names.every((name) => (isIP(name) === 0 ? cert.checkHost(name) : cert.checkIP(name)))
    );
  } catch {
    return false;
  }
}

function assertEcKey(path: string, pem: string): void {
  if (isPrivateKey(pem) && createPrivateKey(pem).asymmetricKeyType === 'ec') return;
  // Overwriting it could destroy a CA that someone relies on.
  throw new MeshError('InvalidArgument', `${path} is not an unencrypted EC private key`);
}

function isPrivateKey(pem: string): boolean {
  try {
    createPrivateKey(pem);
    return true;
  } catch {
    return false;
  }
}

function assertFileNames(nodeIds: readonly string[]): void {
  for (const id of nodeIds) {
    if (!/^ca$|-key$/i.test(id)) continue;
    throw new MeshError(
      'InvalidArgument',
      `"${id}" cannot be the name of a certificate file: "ca" and names ending in "-key" are taken`,
    );
  }
}

function pathsOf(store: Store, name: string): { cert: string; key: string } {
  return {
    cert: join(store.directory, `${name}.pem`),
    key: join(store.directory, `${name}-key.pem`),
  };
}

function describe(store: Store, certs: DevCerts): WrittenDevCerts {
  const ca = pathsOf(store, 'ca');
  const nodes: Record<string, { cert: string; key: string }> = Object.create(null);
  for (const id of store.nodeIds) nodes[id] = pathsOf(store, id);
  return {
    ...certs,
    paths: { ca: ca.cert, caKey: ca.key, nodes },
    // A file that was replaced in a second pass is still one file.
    written: [...new Set(store.written)],
  };
}
