/** createNode and MeshNode: where transports, handshake, calls and peers come together. */
import { abortable } from '../base/abortable.js';
import type { Handler, HandlerKind } from '../calls/types.js';
import { MeshError } from '../errors.js';
import { sameNodeId } from '../protocol/handshake.js';
import type { NodeEvent, StatusOptions } from '../telemetry/status.js';
import type { SocketAddress } from '../transport/connection.js';
import { checkTarget, type PeerTarget } from '../transport/dialing/discovery.js';
import { certifiedNodeIds } from '../transport/trust/identity.js';
import { parsePem } from '../transport/trust/pem.js';
import { Certificates } from './certificates.js';
import { composeNode, type NodeParts } from './compose-node.js';
import type { ConnectOptions, NodeCounters } from './mesh-node.js';
import { type NodeOptions, resolveOptions } from './options.js';
import type { Peer } from './peer.js';

/**
 * Starts a node: reads its certificates and, with `listen`, accepts peers.
 * @throws MeshError InvalidOptions naming what is wrong; ConnectFailed when the address is taken;
 *   TransportUnavailable when none of the transports works on this platform
 */
export async function createNode(options: NodeOptions): Promise<MeshNode> {
  const config = resolveOptions(options);
  const node = new MeshNode(composeNode(config, await Certificates.load(config)));
  try {
    await node.start();
  } catch (thrown) {
    await node.close();
    throw thrown;
  }
  return node;
}

/** A node that runs. It holds its parts; each of them owns what it keeps. */
export class MeshNode {
  readonly nodeId: string;
  readonly #parts: NodeParts;
  #closing: Promise<void> | undefined;

  /** Nodes are made by {@link createNode}. */
  constructor(parts: NodeParts) {
    this.nodeId = parts.config.nodeId;
    this.#parts = parts;
  }

  /**
   * Where the node can be dialed; `undefined` when it only dials. Of one that listens on a wildcard, `0.0.0.0` or `::`,
   * the first of `addresses`.
   */
  get address(): SocketAddress | undefined {
    return this.addresses[0];
  }

  /**
   * Every address at which the node can be dialed, as this machine's interfaces are now; those that other machines may
   * reach come first. Empty when it only dials.
   */
  get addresses(): readonly SocketAddress[] {
    return this.#parts.acceptor.addresses;
  }

  /**
   * Peers that this node has a connection with or dials, and those that are gone: for a minute, and no more than 128. A peer
   * that is forgotten, and that somebody holds, is the same again when its node is back.
   */
  get peers(): readonly Peer[] {
    return this.#parts.links.all.map(({ peer }) => peer);
  }

  get counters(): NodeCounters {
    const { manager, counts } = this.#parts;
    return {
      transports: manager.counters,
      handshakes: { ...counts.handshakes },
      refusals: { ...counts.refusals },
    };
  }

  /** Links going up and down, and peers refused, from now on. Each follower keeps at most 1024 unread events. */
  status(options: StatusOptions = {}): AsyncIterableIterator<NodeEvent> {
    return this.#parts.reports.follow(options);
  }

  /**
   * Serves a kind of call from now on.
   * @throws MeshError InvalidArgument when the kind has a handler already
   */
  handle<K extends HandlerKind>(kind: K, handler: Handler<K>): this {
    this.#parts.handlers.register(kind, handler);
    return this;
  }

  /** The peer of that name, if it is one of {@link peers}. */
  peer(nodeId: string): Peer | undefined {
    return this.#parts.links.get(nodeId)?.peer;
  }

  /**
   * Connects to a peer, or answers with the connection there is, and keeps the peer connected from then on: a lost
   * connection is dialed again, until either side closes the peer. Without `nodeId` the peer is whoever certificate and
   * handshake agree on, and the connection is one of its own.
   * @throws MeshError why the peer could not be reached, or which side refused the other and why; Cancelled
   */
  async connect(target: PeerTarget, options: ConnectOptions = {}): Promise<Peer> {
    this.#checkOpen();
    checkTarget(target);
    const { nodeId } = target;
    const { signal, retry } = options;
    if (nodeId === undefined) return abortable(this.#connectUnnamed(target, signal), signal);
    const link = this.#parts.links.obtain(nodeId);
    link.reachBy({ ...target, nodeId });
    await abortable(link.pool.connect({ signal, retry }), signal);
    return link.peer;
  }

  /**
   * Connects to a peer without waiting for it: calls made on the peer meanwhile leave with the handshake, as early as
   * is safe. They fail with the dial, which is logged and reported as `dialFailed`. A `connect` to the same node waits
   * for this dial; the signal ends it.
   * @throws MeshError InvalidArgument without `nodeId`, NodeClosed
   */
  connectEarly(target: PeerTarget, { signal }: ConnectOptions = {}): Peer {
    const { nodeId } = target;
    if (nodeId === undefined) {
      throw new MeshError(
        'InvalidArgument',
        'calls can only be sent early to a node that is named',
      );
    }
    this.#checkOpen();
    checkTarget(target);
    const link = this.#parts.links.obtain(nodeId);
    link.reachBy({ ...target, nodeId });
    link.pool.begin(signal);
    return link.peer;
  }

  /**
   * Reads the certificates again: `tls` as a function is asked. From then on all new connections go by them, on both
   * transports; those that the user brought see to theirs. Open ones stay, without losing a call, but for two cases. Where this node's own certificate is another
   * one, the connections that it dialed are renewed, so that its peers see it. And a connection whose peer would not be
   * let in any more is closed, with the code that says why on both sides: at once, unless this node dialed it and its
   * peer was not revoked. That peer is asked first whether it has a better certificate by now, in a new connection; calls
   * then move over, and have `timeouts.drainMs`.
   *
   * Fulfils when every open connection has been looked at. Renewals go on behind.
   * @throws MeshError InvalidOptions when they cannot be read, or what `tls` as a function throws; then the old ones stay in
   *   force. NodeClosed
   */
  async reloadTls(): Promise<void> {
    this.#checkOpen();
    await this.#parts.tlsReload.run();
  }

  /**
   * Ends the node: tells its peers to make no more calls, gives those under way `timeouts.drainMs`, closes every connection
   * and the sockets. Calling it again waits for the same end.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** @internal Starts to listen. */
  async start(): Promise<void> {
    const { certificates, log, reports, negotiation, acceptor } = this.#parts;
    const names = certifiedNodeIds(parsePem(certificates.inForce.cert)[0]);
    if (!names.some((name) => sameNodeId(name, this.nodeId))) {
      log.warn({ names }, 'the certificate does not name this node: peers will refuse it');
    }
    reports.certificates(certificates);
    await negotiation.load();
    await acceptor.start();
  }

  async #close(): Promise<void> {
    const { config, log, reports, manager, links, renewal, acceptor, stopping } = this.#parts;
    const error = new MeshError('NodeClosed', 'node is closing');
    stopping.abort(error);
    renewal.close();
    for (const link of links.held) link.close(error);
    links.close();
    const sessions = this.#parts.sessions.all;
    await Promise.all(sessions.map((session) => session.drain(config.timeouts.drainMs)));
    await Promise.all(
      sessions.map(({ connection }) => connection.close('GoingAway', 'node closed')),
    );
    await acceptor.close();
    await manager.close();
    reports.close();
    log.info('closed');
  }

  /** @throws MeshError NodeClosed */
  #checkOpen(): void {
    if (this.#closing !== undefined) throw new MeshError('NodeClosed', 'node is closed');
  }

  /** Every such call makes a connection, to a node that is known only then. */
  async #connectUnnamed(target: PeerTarget, signal: AbortSignal | undefined): Promise<Peer> {
    const { dialer, links } = this.#parts;
    const session = await dialer.dial(target, { signal, isPinned: true });
    const { nodeId } = session.peer;
    const link = links.obtain(nodeId);
    if (!link.pool.canDial) link.reachBy({ ...target, nodeId });
    await link.pool.connect();
    return link.peer;
  }
}
