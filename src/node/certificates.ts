/** The certificates of a node: which are in force, and which open connections they no longer allow. */

import { setImmediate as nextTurn } from 'node:timers/promises';
import { handleRejection } from '../base/realms.js';
import { type MeshError, toMeshError } from '../errors.js';
import type { Connection, TlsMaterial } from '../transport/connection.js';
import type { TrustStore } from '../transport/trust/identity.js';
import {
  checkAnchors,
  checkQuicKey,
  checkTlsMaterial,
  type Doubt,
  doubtsAbout,
} from '../transport/trust/tls-material.js';
import { type NodeConfig, resolveTlsMaterial } from './options/resolve.js';
import type { TlsOption } from './options/types.js';

/** A connection whose peer would not be accepted now. */
export interface Unacceptable {
  readonly connection: Connection;
  /** The code is one of the Certificate* codes. */
  readonly error: MeshError;
}

/** How many connections are checked before other work has its turn: each check costs a few signatures. */
const REVIEWED_AT_ONCE = 64;

/** Where certificates come from, and what uses them. */
export interface CertificatesOptions {
  readonly tls: TlsOption;
  /** Transports given by name use these certificates. Transport objects that the user passed in have their own. */
  readonly transports: NodeConfig['transports'];
}

/**
 * Holds the certificates in force, and every open connection that was made under them: after a reload it finds those
 * that the new ones do not allow.
 */
export class Certificates {
  readonly #options: CertificatesOptions;
  readonly #connections = new Set<Connection>();
  #inForce: TlsMaterial;
  #trust: TrustStore;
  #reloading: Promise<unknown> = Promise.resolve();

  /** @throws MeshError InvalidOptions when they cannot be read or used, or do not belong together */
  static async load(options: CertificatesOptions): Promise<Certificates> {
    return new Certificates(options, await readTls(options));
  }

  private constructor(options: CertificatesOptions, { tls, trust }: ReadTls) {
    this.#options = options;
    this.#inForce = tls;
    this.#trust = trust;
  }

  get inForce(): TlsMaterial {
    return this.#inForce;
  }

  /** CAs whose CRL should have been replaced by now. An outdated CRL still applies. */
  get outdatedCrls(): ReturnType<TrustStore['outdatedCrls']> {
    return this.#trust.outdatedCrls(Date.now());
  }

  /** What is wrong with the certificates and may keep this node from its peers. */
  get doubts(): readonly Doubt[] {
    return doubtsAbout(this.#inForce, this.#trust, Date.now());
  }

  /**
   * Reads the certificates again. Reloads run one after the other, so what was read last is in force.
   * @returns whether this node shows another certificate now
   * @throws MeshError InvalidOptions, or what the user's function throws; then nothing changes
   */
  reload(): Promise<boolean> {
    const reloaded = this.#reloading.then(async () => {
      const before = this.#inForce;
      const { tls, trust } = await readTls(this.#options);
      this.#inForce = tls;
      this.#trust = trust;
      return this.#inForce.cert !== before.cert;
    });
    this.#reloading = reloaded.catch(() => {});
    return reloaded;
  }

  /** Whether the connection uses these certificates. Over a transport object of the user it does not. */
  governs({ transport }: Connection): boolean {
    return this.#options.transports.some((known) => known === transport);
  }

  /** Remembers a connection that uses these certificates, as long as it is open. */
  watch(connection: Connection): void {
    if (!this.governs(connection) || this.#connections.has(connection)) return;
    this.#connections.add(connection);
    void connection.closed.then(() => this.#connections.delete(connection));
  }

  /** Checks every open connection against the certificates in force, as if its peer connected now. */
  async review(): Promise<readonly Unacceptable[]> {
    // Let connections arrive first that were checked before the reload and are on their way here.
    await nextTurn();
    const trust = this.#trust;
    const found: Unacceptable[] = [];
    let reviewed = 0;
    for (const connection of [...this.#connections]) {
      const error = objectionTo(connection, trust);
      if (error !== undefined) found.push({ connection, error });
      reviewed += 1;
      if (reviewed % REVIEWED_AT_ONCE === 0) await nextTurn();
    }
    return found;
  }
}

function objectionTo(connection: Connection, trust: TrustStore): MeshError | undefined {
  const { peerIdentity, role } = connection;
  try {
    trust.verify(peerIdentity.chain, role === 'dialer' ? 'acceptor' : 'dialer', Date.now());
    return undefined;
  } catch (thrown) {
    return toMeshError(thrown, 'CertificateInvalid');
  }
}

/** What the user's function throws passes as it is. If that is a promise, nobody waits for it. */
async function ask(option: () => TlsMaterial | Promise<TlsMaterial>): Promise<TlsMaterial> {
  try {
    return await option();
  } catch (thrown) {
    handleRejection(thrown);
    throw thrown;
  }
}

/** A material, and its trust store. */
interface ReadTls {
  readonly tls: TlsMaterial;
  readonly trust: TrustStore;
}

/** Reads the material, and checks it as far as that is possible without a peer. */
async function readTls({ tls: option, transports }: CertificatesOptions): Promise<ReadTls> {
  const tls = resolveTlsMaterial(typeof option === 'function' ? await ask(option) : option);
  const { trust, key } = checkTlsMaterial(tls);
  if (transports.includes('quic')) checkQuicKey(key);
  checkAnchors(tls, Date.now());
  return { tls, trust };
}
