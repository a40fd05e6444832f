/** Certificate files for every node of a mesh, each node's its own, in a directory that is gone with the run. */
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { replaceFile } from '../../src/certs/files.js';
import type { TlsMaterial } from '../../src/index.js';
import type { TlsFiles } from './protocol.js';

export type Pems = Pick<TlsMaterial, 'ca' | 'cert' | 'key'>;

/** Tells certificates apart; says nothing of the key. */
export function digestOf({ ca, cert }: Pems): string {
  return createHash('sha256').update(ca).update('\0').update(cert).digest('hex');
}

export class CertFiles {
  readonly #directory: string;

  static async create(): Promise<CertFiles> {
    return new CertFiles(await mkdtemp(join(tmpdir(), 'quicmesh-rotate-')));
  }

  private constructor(directory: string) {
    this.#directory = directory;
  }

  of(nodeId: string): TlsFiles {
    const path = (name: string) => join(this.#directory, nodeId, name);
    return { ca: path('ca.pem'), cert: path('cert.pem'), key: path('key.pem') };
  }

  /** Puts them in the place of those that are there. */
  async write(nodeId: string, { ca, cert, key }: Pems): Promise<void> {
    const files = this.of(nodeId);
    await mkdir(join(this.#directory, nodeId), { recursive: true });
    await replaceFile(files.key, key, 0o600);
    await replaceFile(files.cert, cert, 0o644);
    await replaceFile(files.ca, ca, 0o644);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true });
  }
}
