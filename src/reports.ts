/** What happens to a node's links, told to its log and to whoever follows its status. */
import type { X509Certificate } from 'node:crypto';
import type { Logger } from 'pino';
import type { CallSession } from './calls/session.js';
import type { MeshError } from './errors.js';
import type { MemberState, MemberStateKind } from './pool/member.js';
import { type NodeEvent, StatusFeed, type StatusOptions } from './status.js';
import type { PathEvent, Refusal, TransportName } from './transport/connection.js';

export class Reports {
  readonly #log: Logger;
  readonly #status = new StatusFeed();

  constructor(log: Logger) {
    this.#log = log;
  }

  follow(options: StatusOptions): AsyncIterableIterator<NodeEvent> {
    return this.#status.follow(options);
  }

  close(): void {
    this.#status.close();
  }

  peerUp({ connection, peer: { nodeId } }: CallSession): void {
    const { transport, role, remoteAddress } = connection;
    this.#log.info({ peer: nodeId, transport, role }, 'peer up');
    this.#status.emit({ kind: 'peerUp', nodeId, transport, role, remoteAddress });
  }

  peerDown({ transport, peer: { nodeId } }: CallSession, error: MeshError): void {
    const isInOrder = error.code === 'NoError' || error.code === 'GoingAway';
    const level = isInOrder ? 'info' : 'warn';
    this.#log[level]({ peer: nodeId, transport, code: error.code, side: error.side }, 'peer down');
    this.#status.emit({ kind: 'peerDown', nodeId, transport, error });
  }

  refused({ error, remoteAddress, transport }: Refusal): void {
    this.#log.warn(
      { ...remoteAddress, transport, code: error.code, side: error.side },
      'peer refused',
    );
    this.#status.emit({ kind: 'refused', error, remoteAddress, transport });
  }

  dialFailed(nodeId: string, error: MeshError, retryInMs: number | undefined): void {
    const details = { peer: nodeId, code: error.code, side: error.side, retryInMs };
    this.#log.warn(details, 'cannot connect');
    this.#status.emit({ kind: 'dialFailed', nodeId, error, retryInMs });
  }

  tlsReloaded({ fingerprint256, validTo }: X509Certificate): void {
    const validToMs = Date.parse(validTo);
    this.#log.info({ fingerprint256, validToMs }, 'tlsReloaded');
    this.#status.emit({ kind: 'tlsReloaded', fingerprint256, validToMs });
  }

  outdatedCrls(crls: readonly { readonly issuer: string; readonly nextUpdateMs: number }[]): void {
    for (const crl of crls) this.#log.warn(crl, 'a CRL is out of date: it holds all the same');
  }

  renewed({ transport, peer: { nodeId } }: CallSession): void {
    this.#log.info({ peer: nodeId, transport }, 'connection renewed');
    this.#status.emit({ kind: 'renewed', nodeId, transport });
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
    else this.#log.warn({ peer: nodeId, ...details }, 'path failed');
  }

  suspected({ transport, peer: { nodeId } }: CallSession, isSuspect: boolean): void {
    const details = { peer: nodeId, transport };
    if (isSuspect) this.#log.warn(details, 'peer is silent');
    else this.#log.info(details, 'peer is heard of again');
    this.#status.emit({ kind: isSuspect ? 'suspected' : 'recovered', nodeId, transport });
  }

  connectionChanged(
    nodeId: string,
    transport: TransportName | undefined,
    from: MemberStateKind | undefined,
    to: MemberState,
  ): void {
    this.#log.debug({ peer: nodeId, transport, from, to: to.kind }, 'connection changed');
    this.#status.emit({ kind: 'connectionChanged', nodeId, transport, from, to: to.kind });
  }
}
