/** The certificates of a node: what is in force, and which open connections it does not allow any more. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type MeshError, toMeshError } from '../errors.js';
import type { Connection, TlsMaterial } from '../transport/connection.js';
import { TrustStore } from '../transport/trust/identity.js';
import {
  checkAnchors,
  checkQuicKey,
  checkTlsMaterial,
  type Doubt,
  doubtsAbout,
} from '../transport/trust/tls-material.js';
import { type NodeConfig, resolveTlsMaterial } from './options/resolve.js';
import type { TlsOption } from './options/types.js';

/** A connection whose peer would not be let in now. */
export interface Unacceptable {
  readonly connection: Connection;
  /** The code is one of the Certificate* codes. */
  readonly error: MeshError;
}

/** Connections held against new material before others have their turn: each costs a few signatures. */
const REVIEWED_AT_ONCE = 64;

/** What certificates have to serve. */
export interface CertificatesOptions {
  readonly tls: TlsOption;
  readonly nodeId: string;
  /** Those given by name go by them; those that the user brings have certificates of their own. */
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
  #reloading: Promise<unknown> = Promise.resolve();

  /** @throws MeshError InvalidOptions when they cannot be read or used, or do not belong together */
  static async load(options: CertificatesOptions): Promise<Certificates> {
    return new Certificates(options, await readTls(options));
  }

  private constructor(options: CertificatesOptions, inForce: TlsMaterial) {
    this.#options = options;
    this.#inForce = inForce;
  }

  get inForce(): TlsMaterial {
    return this.#inForce;
  }

  /** CAs whose CRL should have been replaced by now. It holds all the same. */
  get outdatedCrls(): ReturnType<TrustStore['outdatedCrls']> {
    return TrustStore.of(this.#inForce).outdatedCrls(Date.now());
  }

  /** What may keep this node from its peers as long as it lasts. */
  get doubts(): readonly Doubt[] {
    return doubtsAbout(this.#inForce, this.#options.nodeId, Date.now());
  }

  /**
   * Reads them again, one time after the other: what was read last is in force.
   * @returns whether this node shows another certificate now
   * @throws MeshError InvalidOptions, or what the user's function throws; then nothing changes
   */
  reload(): Promise<boolean> {
    const reloaded = this.#reloading.then(async () => {
      const before = this.#inForce;
      this.#inForce = await readTls(this.#options);
      return this.#inForce.cert !== before.cert;
    });
    this.#reloading = reloaded.catch(() => {});
    return reloaded;
  }

  /** Whether the connection goes by them: over a transport that the user brought it does not. */
  governs({ transport }: Connection): boolean {
    return this.#options.transports.some((known) => known === transport);
  }

  /** Remembers a connection that goes by them, as long as it is open. */
  watch(connection: Connection): void {
    if (!this.governs(connection) || this.#connections.has(connection)) return;
    this.#connections.add(connection);
    void connection.closed.then(() => this.#connections.delete(connection));
  }

  /** Holds every open connection against what is in force, as if its peer came now. */
  async review(): Promise<readonly Unacceptable[]> {
    // Connections that were checked before the reload, and are on their way here, arrive first.
    await nextTurn();
    const trust = TrustStore.of(this.#inForce);
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

/** Checked as far as it can be without a peer. */
async function readTls({ tls: option, transports }: CertificatesOptions): Promise<TlsMaterial> {
  const tls = resolveTlsMaterial(typeof option === 'function' ? await option() : option);
  checkTlsMaterial(tls);
  if (transports.includes('quic')) checkQuicKey(tls);
  checkAnchors(tls, Date.now());
  return tls;
}
