/** Certificates of any shape, made and judged by the `openssl` command: what its users may bring. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

export type KeyKind = 'ec' | 'rsa' | 'rsa-1024' | 'rsa-pss' | 'ed25519' | 'ed448';

export interface CertificateRequest {
  /** Its file, unless there is one already. */
  readonly name: string;
  /** Whose key it is for. Default: `name`. Keys are made when they are first named. */
  readonly key?: string;
  readonly kind?: KeyKind;
  /** Default `/CN=` and `name`. */
  readonly subject?: string;
  /** Default: self-signed. */
  readonly issuer?: string;
  /** Lines of an openssl section of extensions; none: a certificate of version 1. Other sections may follow. */
  readonly extensions?: string;
  /** Hours from now. Default -24 and 24. */
  readonly from?: number;
  readonly to?: number;
  /** Default `'sha256'`; keys of Ed448 bring their own: `'null'`. */
  readonly digest?: 'sha1' | 'sha256' | 'null';
  /** Sign by RSA with PSS. */
  readonly pss?: boolean;
}

/** What openssl says of a chain. */
export interface OpensslVerdict {
  readonly isOk: boolean;
  /** For people. */
  readonly text: string;
}

export class OpensslPki {
  readonly #directory: string;
  readonly #keys = new Map<string, Promise<string>>();
  readonly #certificates = new Map<string, Promise<string>>();
  #signing: Promise<unknown> = Promise.resolve();

  private constructor(directory: string) {
    this.#directory = directory;
  }

  static async create(): Promise<OpensslPki> {
    const directory = await mkdtemp(join(tmpdir(), 'quicmesh-pki-'));
    await Promise.all([
      writeFile(join(directory, 'index.txt'), ''),
      writeFile(join(directory, 'index.txt.attr'), 'unique_subject = no\n'),
      writeFile(join(directory, 'serial'), '1000\n'),
    ]);
    return new OpensslPki(directory);
  }

  async close(): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true });
  }

  /** A key, PKCS #8. */
  key(name: string, kind: KeyKind = 'ec'): Promise<string> {
    return memoized(this.#keys, name, async () => {
      const file = `${name}.key`;
      await this.#run(['genpkey', ...KEY_OPTIONS[kind], '-out', file]);
      return this.#read(file);
    });
  }

  /** A certificate, PEM. Its issuer's was made before. */
  certificate(request: CertificateRequest): Promise<string> {
    return memoized(this.#certificates, request.name, () => {
      // Its database takes one at a time.
      const signed = this.#signing.then(() => this.#sign(request));
      this.#signing = signed.catch(() => {});
      return signed;
    });
  }

  /** The certificates that were made under these names, one PEM text. */
  async bundle(names: readonly string[]): Promise<string> {
    const texts = await Promise.all(
      names.map((name) => {
        const made = this.#certificates.get(name);
        if (made === undefined) throw new Error(`there is no certificate ${name}`);
        return made;
      }),
    );
    return texts.join('');
  }

  /** What `openssl verify` says of a chain, leaf first. */
  async verify(
    ca: readonly string[],
    chain: readonly string[],
    purpose: 'sslserver' | 'sslclient',
    options: readonly string[] = [],
  ): Promise<OpensslVerdict> {
    const id = ++fileCount;
    await writeFile(join(this.#directory, `ca-${id}.pem`), await this.bundle(ca));
    await writeFile(join(this.#directory, `chain-${id}.pem`), await this.bundle(chain.slice(1)));
    await writeFile(join(this.#directory, `leaf-${id}.pem`), await this.bundle(chain.slice(0, 1)));
    const untrusted = chain.length > 1 ? ['-untrusted', `chain-${id}.pem`] : [];
    const only = ['-no-CApath', '-no-CAstore', '-CAfile', `ca-${id}.pem`, ...untrusted];
    const args = ['verify', '-auth_level', '2', '-purpose', purpose, ...options, ...only];
    try {
      const text = await this.#run([...args, `leaf-${id}.pem`]);
      return { isOk: true, text };
    } catch (thrown) {
      const { stderr = '' } = thrown as { stderr?: string };
      const text = stderr.split('\n').find((line) => line.startsWith('error ')) ?? stderr;
      if (!/^error \d+ at/.test(text)) throw thrown;
      return { isOk: false, text };
    }
  }

  async #sign(request: CertificateRequest): Promise<string> {
    const { name, key = name, kind, issuer, extensions, digest = 'sha256', pss = false } = request;
    const { subject = `/CN=${name}`, from = -24, to = 24 } = request;
    await this.key(key, kind);
    const config = `${CONFIG}${extensions === undefined ? '' : `x509_extensions = v3\n[v3]\n${extensions}\n`}`;
    await writeFile(join(this.#directory, 'ca.cnf'), config);
    await this.#run([
      ...['req', '-new', '-config', 'ca.cnf', '-key', `${key}.key`],
      ...['-subj', subject, '-out', 'request.csr'],
    ]);
    const by =
      issuer === undefined
        ? ['-selfsign', '-keyfile', `${key}.key`]
        : ['-cert', `${issuer}.crt`, '-keyfile', `${await this.#keyOf(issuer)}.key`];
    await this.#run([
      ...['ca', '-batch', '-notext', '-config', 'ca.cnf', ...by, '-md', digest],
      ...['-in', 'request.csr', '-out', `${name}.crt`, '-startdate', at(from), '-enddate', at(to)],
      ...(pss ? ['-sigopt', 'rsa_padding_mode:pss', '-sigopt', 'rsa_pss_saltlen:digest'] : []),
    ]);
    this.#keyNames.set(name, key);
    return this.#read(`${name}.crt`);
  }

  readonly #keyNames = new Map<string, string>();

  async #keyOf(certificate: string): Promise<string> {
    return this.#keyNames.get(certificate) ?? certificate;
  }

  async #run(args: readonly string[]): Promise<string> {
    const { stdout } = await promisify(execFile)('openssl', args, { cwd: this.#directory });
    return stdout.trim();
  }

  #read(file: string): Promise<string> {
    return readFile(join(this.#directory, file), 'utf8');
  }
}

let fileCount = 0;

function memoized(
  made: Map<string, Promise<string>>,
  name: string,
  make: () => Promise<string>,
): Promise<string> {
  const known = made.get(name) ?? make();
  made.set(name, known);
  return known;
}

function at(hours: number): string {
  const date = new Date(Date.now() + hours * 60 * 60 * 1000);
  return date.toISOString().replaceAll(/[-:T]|\.\d+/g, '');
}

const KEY_OPTIONS: Readonly<Record<KeyKind, readonly string[]>> = {
  ec: ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:prime256v1'],
  rsa: ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'],
  'rsa-1024': ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:1024'],
  'rsa-pss': ['-algorithm', 'RSA-PSS', '-pkeyopt', 'rsa_keygen_bits:2048'],
  ed25519: ['-algorithm', 'ED25519'],
  ed448: ['-algorithm', 'ED448'],
};

const CONFIG = `
[req]
distinguished_name = none
[none]
[ca]
default_ca = own
[own]
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
email_in_dn = yes
[any]
countryName = optional
organizationName = optional
organizationalUnitName = optional
commonName = optional
emailAddress = optional
[own]
`;
