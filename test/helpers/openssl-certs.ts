/** Certificates made by the `openssl` command-line tool: what users bring who do not use our generator. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** `chain`: ECDSA keys, and an intermediate CA between root and nodes, sent along in every node's `cert`. */
export type OpensslCertKind = 'ecdsa' | 'rsa' | 'chain';

export interface OpensslCertRequest<Id extends string> {
  readonly kind: OpensslCertKind;
  readonly nodeIds: readonly Id[];
}

export interface OpensslCerts<Id extends string> {
  /** The root, PEM. */
  readonly ca: string;
  readonly caKey: string;
  /** The CA that signed the nodes' certificates: the root or the intermediate. */
  readonly issuer: { readonly ca: string; readonly caKey: string };
  /** PEM; with the kind `chain`, `cert` is the leaf followed by the intermediate. */
  readonly nodes: Readonly<Record<Id, { readonly cert: string; readonly key: string }>>;
}

/** A CA and a certificate for every node id, valid for two days. */
export async function opensslCerts<const Id extends string>(
  request: OpensslCertRequest<Id>,
): Promise<OpensslCerts<Id>> {
  const directory = await mkdtemp(join(tmpdir(), 'quicmesh-openssl-'));
  try {
    await writeFile(join(directory, 'openssl.cnf'), CONFIG);
    return await makeCerts(directory, request);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function makeCerts<Id extends string>(
  directory: string,
  { kind, nodeIds }: OpensslCertRequest<Id>,
): Promise<OpensslCerts<Id>> {
  const issuing = { directory, kind };
  await issue({ ...issuing, file: 'root', subject: 'openssl root', section: 'ca' });
  if (kind === 'chain') {
    const signer = 'root';
    const subject = 'openssl intermediate';
    await issue({ ...issuing, file: 'intermediate', subject, section: 'ca', signer });
  }
  const signer = kind === 'chain' ? 'intermediate' : 'root';
  const read = (file: string) => readFile(join(directory, file), 'utf8');
  const intermediate = kind === 'chain' ? await read('intermediate.pem') : '';

  const nodes: Record<string, { cert: string; key: string }> = Object.create(null);
  for (const [index, id] of nodeIds.entries()) {
    const file = `node${index}`;
    await issue({ ...issuing, file, subject: id, section: 'node', signer });
    const cert = (await read(`${file}.pem`)) + intermediate;
    nodes[id] = { cert, key: await read(`${file}-key.pem`) };
  }
  return {
    ca: await read('root.pem'),
    caKey: await read('root-key.pem'),
    issuer: { ca: await read(`${signer}.pem`), caKey: await read(`${signer}-key.pem`) },
    nodes: nodes as Record<Id, { cert: string; key: string }>,
  };
}

interface Issue {
  readonly directory: string;
  readonly kind: OpensslCertKind;
  /** `<file>.pem` and `<file>-key.pem`; `<signer>.pem` likewise. */
  readonly file: string;
  readonly subject: string;
  readonly section: 'ca' | 'node';
  /** Without: signed by itself. */
  readonly signer?: string;
}

async function issue({ directory, kind, file, subject, section, signer }: Issue): Promise<void> {
  const run = (args: string[]) =>
    promisify(execFile)('openssl', args, {
      cwd: directory,
      // The section `node` takes its alternative name from here.
      env: { ...process.env, NODE_SAN: `DNS:${subject.replaceAll(' ', '-')}` },
    });
  const key = ['-newkey', ...NEW_KEY[kind], '-nodes', '-keyout', `${file}-key.pem`];
  const request = ['req', '-new', '-config', 'openssl.cnf', '-subj', `/CN=${subject}`, ...key];
  if (signer === undefined) {
    const selfSigned = ['-x509', '-days', '2', '-extensions', section, '-out', `${file}.pem`];
    await run([...request, ...selfSigned]);
    return;
  }
  await run([...request, '-out', `${file}.csr`]);
  const extensions = ['-extfile', 'openssl.cnf', '-extensions', section];
  const authority = ['-CA', `${signer}.pem`, '-CAkey', `${signer}-key.pem`, '-CAcreateserial'];
  const files = ['-in', `${file}.csr`, '-out', `${file}.pem`];
  await run(['x509', '-req', '-sha256', '-days', '2', ...authority, ...extensions, ...files]);
}

const EC_KEY = ['ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'];
const NEW_KEY: Record<OpensslCertKind, readonly string[]> = {
  ecdsa: EC_KEY,
  rsa: ['rsa:2048'],
  chain: EC_KEY,
};

const CONFIG = `
[req]
distinguished_name = empty
default_md = sha256
[empty]
[ca]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[node]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = $ENV::NODE_SAN
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
`;
