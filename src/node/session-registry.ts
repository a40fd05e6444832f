/** The sessions of a node whose handshake is done, by connection, from then until the connection is closed. */
import type { CallSession } from '../calls/session/session.js';
import { isOffence, type MeshError } from '../errors.js';
import type { Reports } from '../telemetry/reports.js';
import type { Connection, Refusal } from '../transport/connection.js';
import type { KnownPeers } from './known-peers.js';
import type { Link } from './link.js';
import type { NodeCounts } from './node-counts.js';
import type { PeerErrors } from './peer-errors.js';

/** What a {@link SessionRegistry} is made of. */
export interface SessionRegistryOptions {
  readonly links: KnownPeers<Link>;
  readonly counts: NodeCounts;
  readonly reports: Reports;
  readonly errors: PeerErrors;
  /** Called when the connection of a session is closed. */
  readonly onClosed: (session: CallSession) => void;
  /** Called when a connection ended before TLS was done on both sides, so that nobody has called over it. */
  readonly onRefused: (refusal: Refusal) => void;
}

/** Holds every session, and hands each to the pool of its peer. */
export class SessionRegistry {
  readonly #options: SessionRegistryOptions;
  readonly #sessions = new Map<Connection, CallSession>();
  /** How many connections each node has dialed to this one. */
  readonly #accepted = new Map<string, number>();

  constructor(options: SessionRegistryOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** Connections that a node has dialed to this one, from its handshake on: those with early data alone count too. */
  acceptedFrom(nodeId: string): number {
    return this.#accepted.get(nodeId) ?? 0;
  }

  get all(): readonly CallSession[] {
    return [...this.#sessions.values()];
  }

  get(connection: Connection): CallSession | undefined {
    return this.#sessions.get(connection);
  }

  /**
   * Registers a session whose handshake is done. The pool uses it once TLS is done, too: until then the peer's early data
   * may be a replay.
   * @param isPinned whether the limits of the peer's pool do not count the connection
   */
  register(session: CallSession, isPinned = false): void {
    const { links, counts, reports } = this.#options;
    const { connection } = session;
    const link = links.obtain(session.peer.nodeId);
    session.join(link.account);
    this.#sessions.set(connection, session);
    this.#count(session, 1);
    counts.handshakes.accepted += 1;
    connection.onPathEvent = (event) => reports.pathChanged(session, event);
    const use = (): void => {
      reports.peerUp(session);
      links.obtain(link.nodeId).poolOf(session).add(session, { isPinned });
    };
    if (connection.state.kind === 'open') use();
    else void connection.opened.then((opened) => opened && use());
    void connection.closed.then((error) => this.#forget(session, error));
  }

  #count({ connection: { role }, peer: { nodeId } }: CallSession, change: 1 | -1): void {
    if (role !== 'acceptor') return;
    const count = this.acceptedFrom(nodeId) + change;
    if (count > 0) this.#accepted.set(nodeId, count);
    else this.#accepted.delete(nodeId);
  }

  async #forget(session: CallSession, error: MeshError): Promise<void> {
    const { counts, reports, errors, onClosed, onRefused } = this.#options;
    const { transport, connection } = session;
    this.#sessions.delete(connection);
    this.#count(session, -1);
    onClosed(session);
    if (isOffence(error)) {
      counts.refusals.connections += 1;
      errors.noteConnection(connection.peerIdentity, performance.now());
    }
    if (await connection.opened) reports.peerDown(session, error);
    else onRefused({ error, remoteAddress: connection.remoteAddress, transport });
  }
}
