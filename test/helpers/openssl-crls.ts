/** CRLs made by the `openssl` command-line tool, for a CA whose key is at hand. */
import { execFile } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

export interface OpensslCrlRequest {
  readonly ca: string;
  readonly caKey: string;
  /** Certificates to revoke, PEM. */
  readonly revoked?: readonly string[];
  /** Default: an hour ago, in two hours. */
  readonly lastUpdate?: Date;
  readonly nextUpdate?: Date;
  /** Lines of a section of CRL extensions. Default: a CRL of version 1, without any. */
  readonly extensions?: string;
  readonly digest?: 'sha1' | 'sha256' | 'sha384' | 'sha512';
  /** Sign by RSA with PSS. */
  readonly pss?: boolean;
}

export interface OpensslCrl {
  readonly pem: string;
  readonly der: Buffer;
}

/** A CRL of the CA. */
export async function opensslCrl(request: OpensslCrlRequest): Promise<OpensslCrl> {
  const directory = await mkdtemp(join(tmpdir(), 'quicmesh-crl-'));
  try {
    return await makeCrl(directory, request);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function makeCrl(
  directory: string,
  { ca, caKey, revoked = [], lastUpdate, nextUpdate, extensions, digest, pss }: OpensslCrlRequest,
): Promise<OpensslCrl> {
  const run = (args: readonly string[]) => promisify(execFile)('openssl', args, { cwd: directory });
  await writeFile(join(directory, 'ca.pem'), ca);
  const key = createPrivateKey(caKey).export({ type: 'pkcs8', format: 'pem' });
  await writeFile(join(directory, 'ca-key.pem'), key);
  await writeFile(join(directory, 'index.txt'), revoked.map(indexLine).join(''));
  await writeFile(join(directory, 'number'), '01\n');
  await writeFile(join(directory, 'openssl.cnf'), `${CONFIG}\n[extensions]\n${extensions ?? ''}\n`);
  await run([
    ...['ca', '-gencrl', '-config', 'openssl.cnf', '-md', digest ?? 'sha256', '-out', 'crl.pem'],
    ...['-crl_lastupdate', asTime(lastUpdate ?? hoursFromNow(-1))],
    ...['-crl_nextupdate', asTime(nextUpdate ?? hoursFromNow(2))],
    ...(extensions === undefined ? [] : ['-crlexts', 'extensions']),
    ...(pss === true ? ['-sigopt', 'rsa_padding_mode:pss'] : []),
  ]);
  await run(['crl', '-in', 'crl.pem', '-outform', 'DER', '-out', 'crl.der']);
  const pem = await readFile(join(directory, 'crl.pem'), 'utf8');
  return { pem, der: await readFile(join(directory, 'crl.der')) };
}

/** A line of openssl's database of certificates: revoked, until when it was valid, when revoked, serial. */
function indexLine(cert: string): string {
  const { validTo, serialNumber, subject } = new X509Certificate(cert);
  const until = asTime(new Date(validTo)).slice(2);
  const when = asTime(hoursFromNow(-2)).slice(2);
  return `R\t${until}\t${when}\t${serialNumber}\tunknown\t/${subject.split('\n')[0]}\n`;
}

function asTime(date: Date): string {
  return `${date.toISOString().replaceAll(/[-:T]|\.\d+/g, '')}`;
}

export function hoursFromNow(hours: number): Date {
  return new Date(Date.now() + hours * 60 * 60 * 1000);
}

const CONFIG = `
[ca]
default_ca = own
[own]
database = index.txt
crlnumber = number
certificate = ca.pem
private_key = ca-key.pem
default_md = sha256
`;
