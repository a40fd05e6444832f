/** Puts new certificates in force, and ends the connections that they do not allow. */
import type { Reports } from '../telemetry/reports.js';
import { parsePem } from '../transport/trust/pem.js';
import type { Certificates, Unacceptable } from './certificates.js';
import type { Renewal } from './renewal.js';
import type { SessionRegistry } from './session-registry.js';

/** What a {@link TlsReload} is made of. */
export interface TlsReloadOptions {
  readonly certificates: Certificates;
  readonly sessions: SessionRegistry;
  readonly renewal: Renewal;
  readonly reports: Reports;
  /** How long calls may take to move over from a connection whose peer would not be let in now. */
  readonly drainMs: number;
}

/** One per node; `reloadTls()` of the node is {@link TlsReload.run}. */
export class TlsReload {
  readonly #options: TlsReloadOptions;

  constructor(options: TlsReloadOptions) {
    this.#options = options;
  }

  /**
   * See `MeshNode.reloadTls`. Fulfils when every open connection has been looked at; renewals go on behind.
   * @throws MeshError InvalidOptions, or what `tls` as a function throws; then nothing changes
   */
  async run(): Promise<void> {
    const { certificates, renewal, reports } = this.#options;
    const isAnother = await certificates.reload();
    const [leaf] = parsePem(certificates.inForce.cert);
    if (leaf !== undefined) reports.tlsReloaded(leaf);
    reports.certificates(certificates);
    for (const unacceptable of await certificates.review()) void this.#closeUntrusted(unacceptable);
    if (isAnother) void renewal.renewAll(({ connection }) => certificates.governs(connection));
  }

  /**
   * Closes a connection whose certificate is no longer trusted. A peer that was dialed is dialed again first: it may have a
   * better certificate by now.
   */
  async #closeUntrusted({ connection, error }: Unacceptable): Promise<void> {
    const { sessions, renewal, drainMs } = this.#options;
    const session = sessions.get(connection);
    const mayImprove = connection.role === 'dialer' && error.code !== 'CertificateRevoked';
    if (session === undefined || !mayImprove) {
      connection.fail(error);
      return;
    }
    const limit = setTimeout(() => connection.fail(error), drainMs).unref();
    void connection.closed.then(() => clearTimeout(limit));
    const isReplaced = await renewal.renewNow(session);
    if (!isReplaced && !connection.isGoingAway) connection.fail(error);
  }
}
