/** What happens to the links of a node, in its log and its status. */
import type { X509Certificate } from 'node:crypto';
import type { CallSession } from '../calls/session/session.js';
import { isOrderly, type MeshError } from '../errors.js';
import type { MemberState, MemberStateKind } from '../pool/member.js';
import type { ConnectionClass } from '../protocol/connection-class.js';
import { sourceOf } from '../transport/admission/half-open.js';
import type { PathEvent, Refusal, TransportName } from '../transport/connection.js';
import type { TrustStore } from '../transport/trust/identity.js';
import type { Doubt } from '../transport/trust/tls-material.js';
import { LINE_INTERVAL_MS, LineLimit } from './line-limit.js';
import type { NodeLog } from './logging.js';
import { type NodeEvent, StatusFeed, type StatusOptions } from './status.js';

/** How much of a text that is not this library's goes into one line. */
const MAX_FLAW_CHARACTERS = 300;

/** What to warn of in the certificates in force. */
export interface CertificateFindings {
  readonly outdatedCrls: ReturnType<TrustStore['outdatedCrls']>;
  readonly doubts: readonly Doubt[];
}

/**
 * Tells the log of a node, and those who follow its status, what happens to its links.
 *
 * Nobody outside may fill the log. A source is an address, until it has proved which node it is. Each source gets at
 * most one line a second on what it can cause at will: that it was refused or is lost, or that a function of the user's failed
 * over what it asked. A later line says how many were left out.
 */
export class Reports {
  readonly #log: NodeLog;
  readonly #status = new StatusFeed();
  readonly #lines = new LineLimit();
  #leftOutTimer: NodeJS.Timeout | undefined;

  constructor(log: NodeLog) {
    this.#log = log;
  }

  follow(options: StatusOptions): AsyncIterableIterator<NodeEvent> {
    return this.#status.follow(options);
  }

  close(): void {
    clearTimeout(this.#leftOutTimer);
    this.#status.close();
  }

  peerUp({ connection, connectionClass, peer: { nodeId } }: CallSession): void {
    const { transport, role, remoteAddress } = connection;
    this.#log.info({ peer: nodeId, transport, role, connectionClass }, 'peer up');
    this.#status.emit({
      kind: 'peerUp',
      nodeId,
      transport,
      connectionClass,
      role,
      remoteAddress,
    });
  }

  peerDown(session: CallSession, error: MeshError): void {
    const { transport, connectionClass } = session;
    const { nodeId } = session.peer;
    const wasOrderly = isOrderly(error.code);
    const level = wasOrderly ? 'info' : 'warn';
    if (wasOrderly || this.#mayWrite(`node ${nodeId}`)) {
      const { code, side } = error;
      const details = { peer: nodeId, transport, connectionClass, code, side };
      this.#log[level](details, 'peer down');
    }
    this.#status.emit({ kind: 'peerDown', nodeId, transport, connectionClass, error });
  }

  refused({ error, remoteAddress, transport }: Refusal): void {
    if (this.#mayWrite(sourceOf(remoteAddress.host))) {
      const details = { ...remoteAddress, transport, code: error.code, side: error.side };
      this.#log.warn(details, 'peer refused');
    }
    this.#status.emit({ kind: 'refused', error, remoteAddress, transport });
  }

  /** `auth.verify` or `auth.authorize` failed over what a peer asked, which counts as a no. */
  authFailed(which: 'verify' | 'authorize', nodeId: string, text: string): void {
    if (!this.#mayWrite(`node ${nodeId}`)) return;
    const flaw = text.slice(0, MAX_FLAW_CHARACTERS);
    this.#log.error({ peer: nodeId, flaw }, `auth.${which} failed`);
  }

  dialFailed(nodeId: string, error: MeshError, retryInMs: number | undefined): void {
    const details = { peer: nodeId, code: error.code, side: error.side, retryInMs };
    this.#log.warn(details, 'cannot connect');
    this.#status.emit({ kind: 'dialFailed', nodeId, error, retryInMs });
  }

  /** Transfers go by the connection for calls meanwhile. */
  bulkDialFailed(nodeId: string, { code, side }: MeshError): void {
    this.#log.info({ peer: nodeId, code, side }, 'cannot make a connection for bulk transfers');
  }

  tlsReloaded({ fingerprint256, validTo }: X509Certificate): void {
    const validToMs = Date.parse(validTo);
    this.#log.info({ fingerprint256, validToMs }, 'tlsReloaded');
    this.#status.emit({ kind: 'tlsReloaded', fingerprint256, validToMs });
  }

  /** Warns of what is wrong with the certificates that are in force now. */
  certificates({ outdatedCrls, doubts }: CertificateFindings): void {
    for (const crl of outdatedCrls) {
      this.#log.warn(crl, 'a CRL is out of date: it holds all the same');
    }
    for (const { text, error } of doubts) {
      this.#log.warn({ code: error?.code, reason: error?.message }, text);
    }
  }

  renewed({ transport, connectionClass, peer: { nodeId } }: CallSession): void {
    this.#log.info({ peer: nodeId, transport, connectionClass }, 'connection renewed');
    this.#status.emit({ kind: 'renewed', nodeId, transport, connectionClass });
  }

  cannotRenew({ peer: { nodeId } }: CallSession, { code, side }: MeshError): void {
    this.#log.warn({ peer: nodeId, code, side }, 'cannot renew the connection');
  }

  transportChanged(nodeId: string, from: TransportName, to: TransportName): void {
    this.#log.info({ peer: nodeId, from, to }, 'transport changed');
    this.#status.emit({ kind: 'transportChanged', nodeId, from, to });
  }

  pathChanged({ transport, peer: { nodeId } }: CallSession, event: PathEvent): void {
    this.#status.emit({ nodeId, transport, ...event });
    const { kind, ...details } = event;
    if (kind === 'migrated') this.#log.info({ peer: nodeId, ...details }, 'peer migrated');
    else if (kind === 'datagramSizeChanged') this.#datagramSizeChanged(nodeId, event);
    else this.#log.warn({ peer: nodeId, ...details }, 'path failed');
  }

  #datagramSizeChanged(nodeId: string, { from, to }: { from: number; to: number }): void {
    const details = { peer: nodeId, from, to };
    if (to > from) this.#log.debug(details, 'path carries larger datagrams');
    else this.#log.info(details, 'path swallows large datagrams');
  }

  suspected(session: CallSession, isSuspect: boolean): void {
    const { transport, connectionClass } = session;
    const { nodeId } = session.peer;
    const details = { peer: nodeId, transport, connectionClass };
    if (isSuspect) this.#log.warn(details, 'peer is silent');
    else this.#log.info(details, 'peer is heard of again');
    const kind = isSuspect ? 'suspected' : 'recovered';
    this.#status.emit({ kind, nodeId, transport, connectionClass });
  }

  connectionChanged(
    nodeId: string,
    connectionClass: ConnectionClass,
    transport: TransportName | undefined,
    from: MemberStateKind | undefined,
    to: MemberState,
  ): void {
    const change = { transport, connectionClass, from, to: to.kind };
    this.#log.debug({ peer: nodeId, ...change }, 'connection changed');
    this.#status.emit({ kind: 'connectionChanged', nodeId, ...change });
  }

  /** Whether a line about that source may be written now. */
  #mayWrite(source: string): boolean {
    const mayWrite = this.#lines.take(source, performance.now());
    this.#leftOutTimer ??= setTimeout(() => this.#tellLeftOut(), LINE_INTERVAL_MS).unref();
    return mayWrite;
  }

  #tellLeftOut(): void {
    for (const { source, lines } of this.#lines.takeLeftOut(performance.now())) {
      this.#log.warn({ source, lines }, 'more of the same kind, not logged one by one');
    }
    this.#leftOutTimer = this.#lines.isEmpty
      ? undefined
      : setTimeout(() => this.#tellLeftOut(), LINE_INTERVAL_MS).unref();
  }
}
