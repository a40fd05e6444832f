/** The certificate files of one node process: read when the node asks, and watched, so that new ones come into force. */
import { readFile } from 'node:fs/promises';
import { textOf } from '../../src/base/realms.js';
import type { MeshNode } from '../../src/index.js';
import { digestOf, type Pems } from './cert-files.js';
import { watchFiles } from './cert-watcher.js';
import type { IdentityReport, TlsFiles } from './protocol.js';

export class NodeCerts {
  readonly #files: TlsFiles;
  #inForce = '';
  #lastRead = '';
  #lastFlaw: string | undefined;

  constructor(files: TlsFiles) {
    this.#files = files;
  }

  /** What the files hold now: what `tls` takes. */
  readonly read = async (): Promise<Pems> => {
    const { ca, cert, key } = this.#files;
    const texts = await Promise.all([ca, cert, key].map((path) => readFile(path, 'utf8')));
    const material = {
      ca: texts[0] as string,
      cert: texts[1] as string,
      key: texts[2] as string,
    };
    this.#lastRead = digestOf(material);
    return material;
  };

  /** Puts into force what the files hold, whenever they change. @returns what ends that */
  follow(node: MeshNode): () => void {
    const { ca, cert, key } = this.#files;
    this.#inForce = this.#lastRead;
    return watchFiles([ca, cert, key], () => void this.#reload(node));
  }

  /** What is in force, and what peers have shown. */
  report(node: MeshNode): IdentityReport {
    const shown = node.peers.flatMap(({ nodeId, connections }) =>
      connections.map(({ role, certificate }) => ({ by: nodeId, role, ...certificate })),
    );
    return { inForce: this.#inForce, flaw: this.#lastFlaw ?? null, shown };
  }

  /** What cannot be used leaves the old in force, until the next change. */
  async #reload(node: MeshNode): Promise<void> {
    try {
      await node.reloadTls();
      this.#inForce = this.#lastRead;
      this.#lastFlaw = undefined;
    } catch (error) {
      this.#lastFlaw = textOf(error);
    }
  }
}
