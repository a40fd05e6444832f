/** createNode and MeshNode: where transports, handshake, calls and peers come together. */
import { setMaxListeners } from 'node:events';
import type { Logger } from 'pino';
import { DialQueue } from './calls/dial-queue.js';
import type { Handlers } from './calls/incoming-call.js';
import { CallSession, type SessionAgreement } from './calls/session.js';
import type { Handler, HandlerKind } from './calls/types.js';
import { dialPeer } from './dialing.js';
import { MeshError, toMeshError } from './errors.js';
import {
  type NodeConfig,
  type NodeOptions,
  resolveOptions,
  resolveTlsMaterial,
} from './options.js';
import { Peer } from './peer.js';
import { MessageCodec } from './protocol/codec.js';
import { type Algorithm, loadCompression } from './protocol/compression.js';
import { FrameCodec } from './protocol/frame-codec.js';
import { type HandshakeConfig, type Negotiated, sameNodeId } from './protocol/handshake.js';
import { ReplayGuard } from './protocol/replay-guard.js';
import { Renewal } from './renewal.js';
import { type NodeEvent, StatusFeed } from './status.js';
import { createLogger } from './telemetry/logging.js';
import { abortable } from './transport/abortable.js';
import {
  type Connection,
  DEFAULT_STREAM_LIMITS,
  type Listener,
  MAX_UNAGREED_BYTES,
  type PathEvent,
  type Refusal,
  type SocketAddress,
  type TlsMaterial,
  type Transport,
  type TransportName,
} from './transport/connection.js';
import type { PeerTarget } from './transport/discovery.js';
import { awaitHandshake } from './transport/handshaker.js';
import { certifiedNodeIds, checkTlsMaterial, parsePem } from './transport/identity.js';
import { KeyLog } from './transport/key-log.js';
import { TransportManager } from './transport/manager.js';
import { QuicTransport } from './transport/quic/transport.js';
import { TcpTransport } from './transport/tcp/transport.js';

/**
 * Starts a node: reads its certificates and, with `listen`, accepts peers.
 * @throws MeshError InvalidOptions naming what is wrong; ConnectFailed when the address is taken;
 *   TransportUnavailable when none of the transports works on this platform
 */
export async function createNode(options: NodeOptions): Promise<MeshNode> {
  const config = resolveOptions(options);
  const node = new MeshNode(config, await loadTls(config));
  try {
    await node.start();
  } catch (thrown) {
    await node.close();
    throw thrown;
  }
  return node;
}

export interface ConnectOptions {
  readonly signal?: AbortSignal | undefined;
}

/** Counts of a node: its transports' own, and its handshakes. */
export interface NodeCounters {
  readonly transports: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly handshakes: { readonly accepted: number; readonly refused: number };
}

export class MeshNode {
  readonly nodeId: string;
  readonly #config: NodeConfig;
  readonly #log: Logger;
  readonly #codec = new MessageCodec();
  readonly #replayGuard = new ReplayGuard();
  readonly #manager: TransportManager;
  readonly #handlers = new Map<HandlerKind, Handler<HandlerKind>>();
  /** By lower-case node id, in which form node ids compare. */
  readonly #peers = new Map<string, Peer>();
  readonly #sessions = new Set<CallSession>();
  readonly #dials = new Map<string, Dial>();
  readonly #status = new StatusFeed();
  readonly #handshakes = { accepted: 0, refused: 0 };
  readonly #stopping = new AbortController();
  readonly #renewal: Renewal;
  #tls: TlsMaterial;
  /** What this node can compress with, best first. */
  #algorithms: readonly Algorithm[] = [];
  #listener: Listener | undefined;
  #closing: Promise<void> | undefined;

  /** Nodes are made by {@link createNode}. */
  constructor(config: NodeConfig, tls: TlsMaterial) {
    this.nodeId = config.nodeId;
    this.#config = config;
    this.#tls = tls;
    this.#log = createLogger(config.logger, config.nodeId);
    // Every dial under way listens.
    setMaxListeners(0, this.#stopping.signal);
    const keyLog = this.#createKeyLog();
    this.#renewal = this.#createRenewal(config);
    this.#manager = new TransportManager({
      transports: config.transports.map((name) => this.#createTransport(name, keyLog)),
      onUnavailable: ({ name }, error) => {
        this.#log.warn({ transport: name, code: error.code }, error.message);
      },
      fallbackDelayMs: config.fallbackDelayMs,
      discovery: config.discovery,
    });
  }

  /** Where the node listens; `undefined` when it only dials. */
  get address(): SocketAddress | undefined {
    return this.#listener?.address;
  }

  /** Peers that this node has, or had, a connection with, or has dialed early. */
  get peers(): readonly Peer[] {
    return [...this.#peers.values()];
  }

  get counters(): NodeCounters {
    return { transports: this.#manager.counters, handshakes: { ...this.#handshakes } };
  }

  /** Links going up and down, and peers refused, from now on. Each follower keeps at most 1024 unread events. */
  status(): AsyncIterableIterator<NodeEvent> {
    return this.#status.follow();
  }

  /**
   * Serves a kind of call from now on.
   * @throws MeshError InvalidArgument when the kind has a handler already
   */
  handle<K extends HandlerKind>(kind: K, handler: Handler<K>): this {
    if (!HANDLER_KINDS.has(kind))
      throw new MeshError('InvalidArgument', `there is no call of kind ${String(kind)}`);
    if (this.#handlers.has(kind))
      throw new MeshError('InvalidArgument', `${kind} has a handler already`);
    this.#handlers.set(kind, handler as unknown as Handler<HandlerKind>);
    return this;
  }

  /** The peer of that name, if this node has met it. */
  peer(nodeId: string): Peer | undefined {
    return this.#peers.get(nodeId.toLowerCase());
  }

  /**
   * Connects to a peer, or answers with the connection there is. Without `nodeId` the peer is whoever certificate
   * and handshake agree on.
   * @throws MeshError why the peer could not be reached, or which side refused the other and why; Cancelled
   */
  connect(target: PeerTarget, options: ConnectOptions = {}): Promise<Peer> {
    if (this.#closing !== undefined)
      return Promise.reject(new MeshError('NodeClosed', 'node is closed'));
    const { nodeId } = target;
    if (nodeId === undefined) return abortable(this.#dial(target, options.signal), options.signal);
    const known = this.peer(nodeId);
    if (known?.isConnected) return Promise.resolve(known);
    return abortable(this.#dialOnce(nodeId, target, options.signal).peer, options.signal);
  }

  /**
   * Connects to a peer without waiting for it: calls made on the peer meanwhile leave with the handshake, as early as
   * is safe. They fail with the dial, which is logged and reported as `dialFailed`. A `connect` to the same node waits
   * for this dial; the signal ends it. The message of a call must not be changed before the call has settled.
   * @throws MeshError InvalidArgument without `nodeId`, NodeClosed
   */
  connectEarly(target: PeerTarget, options: ConnectOptions = {}): Peer {
    const { nodeId } = target;
    if (nodeId === undefined) {
      throw new MeshError(
        'InvalidArgument',
        'calls can only be sent early to a node that is named',
      );
    }
    if (this.#closing !== undefined) throw new MeshError('NodeClosed', 'node is closed');
    const known = this.peer(nodeId);
    if (known?.isConnected) return known;
    const peer = known ?? new Peer(nodeId);
    this.#peers.set(nodeId.toLowerCase(), peer);
    const dial = this.#dialOnce(nodeId, target, options.signal);
    peer.dialing(dial.queue);
    this.#reportFailure(nodeId, dial);
    return peer;
  }

  /**
   * Reads the certificates again. New connections use them; open ones stay.
   * @throws MeshError InvalidOptions when they cannot be read; then the old ones stay in force
   */
  async reloadTls(): Promise<void> {
    this.#tls = await loadTls(this.#config);
  }

  /**
   * Ends the node: takes no new calls, gives those under way `drainTimeoutMs`, closes every connection and the
   * sockets. Calling it again waits for the same end.
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
    const names = certifiedNodeIds(parsePem(this.#tls.cert)[0]);
    if (!names.some((name) => sameNodeId(name, this.nodeId))) {
      this.#log.warn({ names }, 'the certificate does not name this node: peers will refuse it');
    }
    await this.#loadCompressions();
    const { listen } = this.#config;
    if (listen === undefined) return;
    this.#listener = await this.#manager.listen({
      ...listen,
      onConnection: (connection) => void this.#greet(connection),
      onRefused: (refusal) => this.#refused(refusal),
    });
    this.#log.info(this.#listener.address, 'listening');
  }

  async #loadCompressions(): Promise<void> {
    const loaded: Algorithm[] = [];
    for (const name of this.#config.compressions) {
      try {
        loaded.push(await loadCompression(name));
      } catch (thrown) {
        this.#log.warn(
          { compression: name },
          `cannot be used here: ${toMeshError(thrown).message}`,
        );
      }
    }
    this.#algorithms = loaded;
  }

  #agreement({ peerNodeId, capabilities }: Negotiated): SessionAgreement {
    const { compressions, maxMessageBytes } = capabilities;
    const agreed = compressions.map((name) =>
      this.#algorithms.find((known) => known.name === name),
    );
    const algorithms = agreed.filter((algorithm) => algorithm !== undefined);
    return { peerNodeId, capabilities, maxMessageBytes, algorithms };
  }

  async #close(): Promise<void> {
    this.#stopping.abort(new MeshError('NodeClosed', 'node is closing'));
    this.#renewal.close();
    const sessions = [...this.#sessions];
    await Promise.all(sessions.map((session) => session.drain(this.#config.drainTimeoutMs)));
    await Promise.all(sessions.map(({ connection }) => connection.close('NoError', 'node closed')));
    await this.#listener?.close();
    await this.#manager.close();
    this.#status.close();
    this.#log.info('closed');
  }

  #reportDial(nodeId: string, error: MeshError): void {
    this.#log.warn({ peer: nodeId, code: error.code, side: error.side }, 'cannot connect');
    this.#status.emit({ kind: 'dialFailed', nodeId, error });
  }

  /** The dial of a node that is under way, or a new one. */
  #dialOnce(nodeId: string, target: PeerTarget, signal: AbortSignal | undefined): Dial {
    const key = nodeId.toLowerCase();
    const underWay = this.#dials.get(key);
    if (underWay !== undefined) return underWay;
    const queue = this.#createDialQueue();
    const peer = this.#dial(target, signal, queue).finally(() => this.#dials.delete(key));
    const dial = { queue, peer, isReported: false };
    this.#dials.set(key, dial);
    return dial;
  }

  async #dial(
    target: PeerTarget,
    signal: AbortSignal | undefined,
    queue = this.#createDialQueue(),
    betterThan?: TransportName,
  ): Promise<Peer> {
    const { connectTimeoutMs, handshakeTimeoutMs } = this.#config;
    const stopping = this.#stopping.signal;
    let peer: Peer | undefined;
    try {
      await dialPeer(
        target,
        signal === undefined ? stopping : AbortSignal.any([signal, stopping]),
        {
          manager: this.#manager,
          config: () => this.#handshakeConfig(),
          codec: this.#codec,
          connectTimeoutMs,
          handshakeTimeoutMs,
          betterThan,
          queue,
          createSession: (connection) => this.#createSession(connection, target.nodeId ?? ''),
          accepted: (session, negotiated) => {
            session.agree(this.#agreement(negotiated));
            peer = this.#admit(session);
            this.#remember(peer, session, target);
            queue.offer(session);
            return session.accept;
          },
        },
      );
      // Every call has left by now, unless the connection is over already.
      queue.fail(new MeshError('ConnectionLost', 'the connection was lost as soon as it was made'));
    } catch (thrown) {
      queue.fail(toMeshError(thrown));
      throw thrown;
    } finally {
      if (target.nodeId !== undefined) this.peer(target.nodeId)?.dialed(queue);
    }
    return peer as unknown as Peer;
  }

  /** How the peer was reached serves again: when the connection grows old, and when it is lost. */
  #remember(peer: Peer, session: CallSession, given: PeerTarget): void {
    const { nodeId } = peer;
    const target = { ...given, nodeId };
    this.#renewal.watch(session, target);
    peer.dialedBy(() => {
      if (this.#closing !== undefined) throw new MeshError('NodeClosed', 'node is closed');
      const dial = this.#dialOnce(nodeId, target, undefined);
      this.#reportFailure(nodeId, dial);
      return dial.queue;
    });
  }

  /** For a dial that nobody waits for. */
  #reportFailure(nodeId: string, dial: Dial): void {
    if (dial.isReported) return;
    dial.isReported = true;
    dial.peer.catch((thrown: unknown) => this.#reportDial(nodeId, toMeshError(thrown)));
  }

  #createDialQueue(): DialQueue {
    const { maxMessageBytes } = this.#config;
    const { maxQueuedStreams, connectionWindowBytes } = DEFAULT_STREAM_LIMITS;
    return new DialQueue(this.#codec.withLimit(maxMessageBytes), {
      maxCalls: maxQueuedStreams,
      maxBytes: maxMessageBytes + connectionWindowBytes,
    });
  }

  /** Takes a dialer through the handshake, or turns it away. */
  async #greet(connection: Connection): Promise<void> {
    try {
      await awaitHandshake(connection, {
        config: this.#handshakeConfig(),
        codec: this.#codec,
        timeoutMs: this.#config.handshakeTimeoutMs,
        signal: this.#stopping.signal,
        replayGuard: this.#replayGuard,
        accepted: (negotiated) => {
          const session = this.#createSession(connection, negotiated.peerNodeId, negotiated);
          this.#admit(session);
          return session.accept;
        },
      });
    } catch (thrown) {
      const { transport, remoteAddress } = connection;
      const error = toMeshError(thrown);
      // A dialer that left, because another of its transports was faster, was not turned away.
      if (error.code === 'ConnectionClosed' && error.side === 'remote') return;
      this.#refused({ error, remoteAddress, transport });
    }
  }

  /** @param negotiated undefined while the handshake is still to be answered */
  #createSession(
    connection: Connection,
    peerNodeId: string,
    negotiated?: Negotiated | undefined,
  ): CallSession {
    const own = this.#handshakeConfig().capabilities;
    const { compressionThresholdBytes: thresholdBytes } = this.#config;
    const frames =
      negotiated === undefined
        ? { maxMessageBytes: MAX_UNAGREED_BYTES, algorithms: [] }
        : this.#agreement(negotiated);
    const session: CallSession = new CallSession({
      connection,
      peerNodeId,
      capabilities: negotiated?.capabilities ?? own,
      agreed: negotiated !== undefined,
      codec: new FrameCodec({ codec: this.#codec, thresholdBytes, ...frames }),
      handlers: this.#handlers satisfies Handlers,
      onHandlerFailure: (type, { code }) => {
        this.#log.debug({ peer: session.peer.nodeId, type, code }, 'handler failed');
      },
    });
    return session;
  }

  /** Takes up a session whose handshake is done. */
  #admit(session: CallSession): Peer {
    const {
      connection,
      peer: { nodeId },
    } = session;
    const peer = this.peer(nodeId) ?? new Peer(nodeId);
    this.#peers.set(nodeId.toLowerCase(), peer);
    this.#sessions.add(session);
    peer.attach(session);
    this.#handshakes.accepted += 1;
    connection.onPathEvent = (event) => this.#pathChanged(peer.nodeId, connection.transport, event);
    if (connection.state.kind === 'open') this.#announce(session);
    else void connection.opened.then((opened) => opened && this.#announce(session));
    void connection.closed.then((error) => this.#lost(session, peer, error));
    return peer;
  }

  /** A peer is up once TLS is done: until then its early data may be a recording. */
  #announce({ connection, peer: { nodeId } }: CallSession): void {
    const { transport, role, remoteAddress } = connection;
    this.#log.info({ peer: nodeId, transport, role }, 'peer up');
    this.#status.emit({ kind: 'peerUp', nodeId, transport, role, remoteAddress });
  }

  #pathChanged(nodeId: string, transport: TransportName, event: PathEvent): void {
    this.#status.emit({ nodeId, transport, ...event });
    const { kind, ...details } = event;
    if (kind === 'migrated') this.#log.info({ peer: nodeId, ...details }, 'peer migrated');
    else this.#log.warn({ peer: nodeId, ...details }, 'path failed');
  }

  #createRenewal({ renewAfterStreams, renewAfterMs }: NodeConfig): Renewal {
    return new Renewal({
      afterStreams: renewAfterStreams,
      afterMs: renewAfterMs,
      dial: async (target, betterThan) => {
        const peer = await this.#dial(target, undefined, undefined, betterThan);
        // The peer makes no calls by a connection whose TLS is not done at its end: an answer shows that it is.
        await peer.ping();
      },
      mayImprove: ({ connection }) => this.#manager.mayImprove(connection),
      onRenewed: ({ transport, peer: { nodeId } }) => {
        this.#log.info({ peer: nodeId, transport }, 'connection renewed');
        this.#status.emit({ kind: 'renewed', nodeId, transport });
        const now = this.peer(nodeId)?.transport;
        if (now !== undefined && now !== transport) {
          this.#log.info({ peer: nodeId, from: transport, to: now }, 'transport changed');
          this.#status.emit({ kind: 'transportChanged', nodeId, from: transport, to: now });
        }
      },
      onFailed: ({ peer: { nodeId } }, { code, side }) => {
        this.#log.warn({ peer: nodeId, code, side }, 'cannot renew the connection');
      },
    });
  }

  async #lost(session: CallSession, peer: Peer, error: MeshError): Promise<void> {
    this.#sessions.delete(session);
    this.#renewal.forget(session);
    peer.detach(session);
    const { nodeId } = peer;
    const { transport, connection } = session;
    if (!(await connection.opened)) {
      this.#refused({ error, remoteAddress: connection.remoteAddress, transport });
      return;
    }
    const level = error.code === 'NoError' ? 'info' : 'warn';
    this.#log[level]({ peer: nodeId, transport, code: error.code, side: error.side }, 'peer down');
    this.#status.emit({ kind: 'peerDown', nodeId, transport, error });
  }

  #refused({ error, remoteAddress, transport }: Refusal): void {
    if (this.#stopping.signal.aborted) return;
    this.#handshakes.refused += 1;
    this.#log.warn(
      { ...remoteAddress, transport, code: error.code, side: error.side },
      'peer refused',
    );
    this.#status.emit({ kind: 'refused', error, remoteAddress, transport });
  }

  #handshakeConfig(): HandshakeConfig {
    const { nodeId, cluster, authToken, capabilities, maxStreams, maxMessageBytes, checksum } =
      this.#config;
    const compressions = this.#algorithms.map(({ name }) => name);
    return {
      nodeId,
      cluster,
      capabilities: { ...capabilities, maxStreams, maxMessageBytes, compressions, checksum },
      ...(authToken === undefined ? {} : { authToken }),
    };
  }

  #createKeyLog(): KeyLog | undefined {
    const { tlsKeyLogFile } = this.#config;
    if (tlsKeyLogFile === undefined) return undefined;
    const where = { tlsKeyLogFile };
    this.#log.warn(
      where,
      'the secrets of every connection are written to a file: for debugging only',
    );
    return new KeyLog(tlsKeyLogFile, (error) => {
      this.#log.error({ ...where, code: error.code }, `cannot log secrets: ${error.message}`);
    });
  }

  #createTransport(name: 'quic' | 'tcp', keyLog: KeyLog | undefined): Transport {
    const { connectTimeoutMs, keepAliveMs, idleTimeoutMs, maxDatagramBytes } = this.#config;
    const { maxMessageBytes, maxStreams, door, migration, congestionControl } = this.#config;
    const { earlyData, sessionStore, ticketKeyLifetimeMs } = this.#config;
    const limits = { maxMessageBytes, maxIncomingStreams: maxStreams };
    const tls = () => this.#tls;
    if (name === 'tcp') {
      return new TcpTransport({ tls, limits, door, connectTimeoutMs, keepAliveMs, keyLog });
    }
    return new QuicTransport({
      tls,
      limits,
      door,
      connectTimeoutMs,
      keepAliveMs,
      idleTimeoutMs,
      maxDatagramBytes,
      earlyData,
      sessionStore,
      ticketKeyLifetimeMs,
      keyLog,
      migration,
      congestionControl,
    });
  }
}

/** A dial of a node that is under way. */
interface Dial {
  /** Calls that ride along. */
  readonly queue: DialQueue;
  /** Fulfils once the handshake is done. */
  readonly peer: Promise<Peer>;
  /** Its failure reaches log and status, because somebody does not wait for it. */
  isReported: boolean;
}

const HANDLER_KINDS: ReadonlySet<string> = new Set<HandlerKind>([
  'query',
  'replicationLog',
  'consensus',
  'dataTransfer',
  'request',
]);

/** The certificates, checked as far as they can be without a peer. */
async function loadTls(config: NodeConfig): Promise<TlsMaterial> {
  const tls = resolveTlsMaterial(
    typeof config.tls === 'function' ? await config.tls() : config.tls,
  );
  checkTlsMaterial(tls);
  return tls;
}
