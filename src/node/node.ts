/** createNode: where transports, handshake, calls and peers come together. */
import { abortable } from '../base/abortable.js';
import type { Handler, HandlerKind } from '../calls/types.js';
import { MeshError } from '../errors.js';
import { canonicalNodeId } from '../protocol/node-id.js';
import type { NodeEvent, StatusOptions } from '../telemetry/status.js';
import type { SocketAddress } from '../transport/connection.js';
import { canonicalTarget, type PeerTarget } from '../transport/dialing/discovery.js';
import { certifiedNodeIds } from '../transport/trust/identity.js';
import { parsePem } from '../transport/trust/pem.js';
import { Certificates } from './certificates.js';
import { composeNode, type NodeParts } from './compose-node.js';
import type { ConnectOptions, MeshNode, NodeCounters } from './mesh-node.js';
import { resolveOptions } from './options/resolve.js';
import type { NodeOptions } from './options/types.js';
import type { Peer } from './peer.js';

/**
 * Starts a node: reads its certificates and, with `listen`, accepts peers.
 * @throws MeshError InvalidOptions naming what is wrong; ConnectFailed when the address is taken;
 *   TransportUnavailable when none of the transports works on this platform. What `tls` as a function throws passes as it is
 */
export async function createNode(options: NodeOptions): Promise<MeshNode> {
  const config = resolveOptions(options);
  const node = new RunningNode(composeNode(config, await Certificates.load(config)));
  try {
    await node.start();
  } catch (thrown) {
    await node.close();
    throw thrown;
  }
  return node;
}

/** A node that runs. It holds its parts, and each part owns its state. See {@link MeshNode} for what its methods do. */
class RunningNode implements MeshNode {
  readonly nodeId: string;
  readonly #parts: NodeParts;
  #closing: Promise<void> | undefined;

  constructor(parts: NodeParts) {
    this.nodeId = parts.config.nodeId;
    this.#parts = parts;
  }

  get address(): SocketAddress | undefined {
    return this.addresses[0];
  }

  get addresses(): readonly SocketAddress[] {
    return this.#parts.acceptor.addresses;
  }

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

  status(options: StatusOptions = {}): AsyncIterableIterator<NodeEvent> {
    return this.#parts.reports.follow(options);
  }

  handle<K extends HandlerKind>(kind: K, handler: Handler<K>): this {
    this.#parts.handlers.register(kind, handler);
    return this;
  }

  peer(nodeId: string): Peer | undefined {
    const id = canonicalNodeId(nodeId);
    return id === undefined ? undefined : this.#parts.links.get(id)?.peer;
  }

  async connect(given: PeerTarget, options: ConnectOptions = {}): Promise<Peer> {
    this.#checkOpen();
    const target = canonicalTarget(given);
    const { nodeId } = target;
    const { signal, retry } = options;
    if (nodeId === undefined) return abortable(this.#connectUnnamed(target, signal), signal);
    const link = this.#parts.links.obtain(nodeId);
    link.reachBy({ ...target, nodeId });
    await abortable(link.pool.connect({ signal, retry }), signal);
    return link.peer;
  }

  connectEarly(given: PeerTarget, { signal }: ConnectOptions = {}): Peer {
    this.#checkOpen();
    const target = canonicalTarget(given);
    const { nodeId } = target;
    if (nodeId === undefined) {
      throw new MeshError(
        'InvalidArgument',
        'calls can only be sent early to a node that is named',
      );
    }
    const link = this.#parts.links.obtain(nodeId);
    link.reachBy({ ...target, nodeId });
    link.pool.begin(signal);
    return link.peer;
  }

  async reloadTls(): Promise<void> {
    this.#checkOpen();
    await this.#parts.tlsReload.run();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Loads what it needs, and starts to listen. */
  async start(): Promise<void> {
    const { certificates, log, reports, negotiation, acceptor } = this.#parts;
    const names = certifiedNodeIds(parsePem(certificates.inForce.cert)[0]);
    if (!names.includes(this.nodeId)) {
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
    log.info({}, 'closed');
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
