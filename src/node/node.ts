/** createNode and MeshNode: where transports, handshake, calls and peers come together. */
import { AsyncResource } from 'node:async_hooks';
import type { Logger } from 'pino';
import { abortable, joinSignals } from '../base/abortable.js';
import { SYSTEM_CLOCK } from '../base/clock.js';
import { isError, isPromised } from '../base/realms.js';
import { ByteBudget } from '../calls/byte-budget.js';
import type { Handlers } from '../calls/incoming/incoming-call.js';
import { MessageCopies } from '../calls/outgoing/message-copies.js';
import {
  CallSession,
  type SessionAgreement,
  type SessionBudgets,
} from '../calls/session/session.js';
import { ResumedTransfers } from '../calls/transfers/resumed-transfers.js';
import type { Handler, HandlerKind } from '../calls/types.js';
import { MeshError, toMeshError } from '../errors.js';
import { MessageCodec } from '../protocol/codec.js';
import { type Algorithm, loadCompression } from '../protocol/compression.js';
import { FrameCodec } from '../protocol/frame-codec.js';
import { type HandshakeConfig, type Negotiated, sameNodeId } from '../protocol/handshake.js';
import { ReplayGuard } from '../protocol/replay-guard.js';
import { createLogger } from '../telemetry/logging.js';
import { isOffence, Reports } from '../telemetry/reports.js';
import type { NodeEvent, StatusOptions } from '../telemetry/status.js';
import {
  type Connection,
  type Listener,
  MAX_PRE_HANDSHAKE_BYTES,
  type Refusal,
  type SocketAddress,
  type TransportName,
} from '../transport/connection.js';
import { checkTarget, type PeerTarget } from '../transport/dialing/discovery.js';
import { awaitHandshake } from '../transport/dialing/handshaker.js';
import { TransportManager } from '../transport/dialing/manager.js';
import { dialableAddresses } from '../transport/local-addresses.js';
import { certifiedNodeIds } from '../transport/trust/identity.js';
import { parsePem } from '../transport/trust/pem.js';
import { Certificates, type Unacceptable } from './certificates.js';
import { createTransports } from './create-transports.js';
import { dialPeer } from './dial-peer.js';
import { KnownPeers } from './known-peers.js';
import { Link, type LinkDialOptions, type NamedTarget } from './link.js';
import { type NodeConfig, type NodeOptions, resolveOptions } from './options.js';
import type { Peer } from './peer.js';
import { Renewal } from './renewal.js';

/**
 * Starts a node: reads its certificates and, with `listen`, accepts peers.
 * @throws MeshError InvalidOptions naming what is wrong; ConnectFailed when the address is taken;
 *   TransportUnavailable when none of the transports works on this platform
 */
export async function createNode(options: NodeOptions): Promise<MeshNode> {
  const config = resolveOptions(options);
  const { tls, nodeId, transports } = config;
  const usesQuic = transports.includes('quic');
  const node = new MeshNode(config, await Certificates.load({ tls, nodeId, usesQuic }));
  try {
    await node.start();
  } catch (thrown) {
    await node.close();
    throw thrown;
  }
  return node;
}

/** How to reach a peer once and for all. */
export interface ConnectOptions {
  readonly signal?: AbortSignal | undefined;
  /** Whether to go on dialing, with growing pauses, until the peer is reached. Default false. */
  readonly retry?: boolean | undefined;
}

/** Counts of a node: its transports' own, its handshakes, and what it refused after them. */
export interface NodeCounters {
  readonly transports: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly handshakes: { readonly accepted: number; readonly refused: number };
  /** What peers that were let in got wrong. */
  readonly refusals: {
    /** Calls answered with an error that is no handler's. */
    readonly calls: number;
    /** Connections that this node closed over what the peer sent. */
    readonly connections: number;
  };
}

export class MeshNode {
  readonly nodeId: string;
  /** The async context of the node's creation. */
  readonly #home = new AsyncResource('quicmesh.Node');
  readonly #config: NodeConfig;
  readonly #log: Logger;
  readonly #reports: Reports;
  readonly #codec = new MessageCodec();
  readonly #replayGuard = new ReplayGuard();
  readonly #manager: TransportManager;
  readonly #handlers = new Map<HandlerKind, Handler<HandlerKind>>();
  readonly #transfers = new ResumedTransfers();
  readonly #links = new KnownPeers<Link>((nodeId) => this.#createLink(nodeId), SYSTEM_CLOCK);
  readonly #sessions = new Set<CallSession>();
  readonly #handshakes = { accepted: 0, refused: 0 };
  readonly #refusals = { calls: 0, connections: 0 };
  readonly #budgets: SessionBudgets;
  readonly #stopping = new AbortController();
  readonly #renewal: Renewal;
  readonly #certificates: Certificates;
  #dials = 0;
  /** What this node can compress with, best first. */
  #algorithms: readonly Algorithm[] = [];
  #listener: Listener | undefined;
  #closing: Promise<void> | undefined;

  /** Nodes are made by {@link createNode}. */
  constructor(config: NodeConfig, certificates: Certificates) {
    this.nodeId = config.nodeId;
    this.#config = config;
    this.#certificates = certificates;
    this.#log = createLogger(config.logger, config.nodeId);
    this.#reports = new Reports(this.#log);
    const { connectionBytes, nodeBytes } = config.limits;
    this.#budgets = {
      connectionBytes,
      send: new ByteBudget(nodeBytes),
      nested: new ByteBudget(nodeBytes),
      chunks: new ByteBudget(nodeBytes),
      receive: new ByteBudget(nodeBytes),
      nestedReceive: new ByteBudget(nodeBytes),
      copies: new MessageCopies(nodeBytes),
    };
    this.#renewal = this.#createRenewal(config);
    this.#manager = new TransportManager({
      transports: createTransports(config, () => certificates.inForce, this.#log),
      onUnavailable: ({ name }, error) => {
        this.#log.warn({ transport: name, code: error.code }, error.message);
      },
      fallbackDelayMs: config.fallbackDelayMs,
      discovery: config.discovery,
    });
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
    return this.#listener === undefined ? [] : dialableAddresses(this.#listener.address);
  }

  /**
   * Peers that this node has a connection with or dials, and those that are gone: for a minute, and no more than 128. A peer
   * that is forgotten, and that somebody holds, is the same again when its node is back.
   */
  get peers(): readonly Peer[] {
    return this.#links.all.map(({ peer }) => peer);
  }

  get counters(): NodeCounters {
    return {
      transports: this.#manager.counters,
      handshakes: { ...this.#handshakes },
      refusals: { ...this.#refusals },
    };
  }

  /** Links going up and down, and peers refused, from now on. Each follower keeps at most 1024 unread events. */
  status(options: StatusOptions = {}): AsyncIterableIterator<NodeEvent> {
    return this.#reports.follow(options);
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

  /** The peer of that name, if it is one of {@link peers}. */
  peer(nodeId: string): Peer | undefined {
    return this.#links.get(nodeId)?.peer;
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
    const link = this.#links.obtain(nodeId);
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
    const link = this.#links.obtain(nodeId);
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
   * then move over, and have `drainTimeoutMs`.
   *
   * Fulfils when every open connection has been looked at. Renewals go on behind.
   * @throws MeshError InvalidOptions when they cannot be read, or what `tls` as a function throws; then the old ones stay in
   *   force. NodeClosed
   */
  async reloadTls(): Promise<void> {
    this.#checkOpen();
    const isAnother = await this.#certificates.reload();
    const [leaf] = parsePem(this.#certificates.inForce.cert);
    if (leaf !== undefined) this.#reports.tlsReloaded(leaf);
    this.#reports.certificates(this.#certificates);
    for (const unacceptable of await this.#certificates.review())
      void this.#closeUntrusted(unacceptable);
    if (isAnother) void this.#renewal.renewAll((session) => this.#goesByTls(session.connection));
  }

  /**
   * Ends the node: tells its peers to make no more calls, gives those under way `drainTimeoutMs`, closes every connection
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
    const names = certifiedNodeIds(parsePem(this.#certificates.inForce.cert)[0]);
    if (!names.some((name) => sameNodeId(name, this.nodeId))) {
      this.#log.warn({ names }, 'the certificate does not name this node: peers will refuse it');
    }
    this.#reports.certificates(this.#certificates);
    await this.#loadCompressions();
    const { listen } = this.#config;
    if (listen === undefined) return;
    this.#listener = await this.#manager.listen({
      ...listen,
      onConnection: (connection) => void this.#acceptPeer(connection),
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

  async #close(): Promise<void> {
    const error = new MeshError('NodeClosed', 'node is closing');
    this.#stopping.abort(error);
    this.#renewal.close();
    for (const link of this.#links.held) link.close(error);
    this.#links.close();
    const sessions = [...this.#sessions];
    await Promise.all(sessions.map((session) => session.drain(this.#config.drainTimeoutMs)));
    await Promise.all(
      sessions.map(({ connection }) => connection.close('GoingAway', 'node closed')),
    );
    await this.#listener?.close();
    await this.#manager.close();
    this.#reports.close();
    this.#log.info('closed');
  }

  /** @throws MeshError NodeClosed */
  #checkOpen(): void {
    if (this.#closing !== undefined) throw new MeshError('NodeClosed', 'node is closed');
  }

  #createLink(nodeId: string): Link {
    return new Link({
      nodeId,
      // The one with the greater name gives way; both know both names.
      yields: this.nodeId.toLowerCase() > nodeId.toLowerCase(),
      config: this.#config,
      codec: this.#codec,
      copies: this.#budgets.copies,
      reports: this.#reports,
      dial: (target, options) => this.#dialLink(target, options),
      onRest: () => this.#links.reviewOne(nodeId),
    });
  }

  /** Every such call makes a connection, to a node that is known only then. */
  async #connectUnnamed(target: PeerTarget, signal: AbortSignal | undefined): Promise<Peer> {
    const session = await this.#dial(target, { signal, isPinned: true });
    const { nodeId } = session.peer;
    const link = this.#links.obtain(nodeId);
    if (!link.pool.canDial) link.reachBy({ ...target, nodeId });
    await link.pool.connect();
    return link.peer;
  }

  #dialLink(target: NamedTarget, { signal, offer, rttMs }: LinkDialOptions): Promise<CallSession> {
    return this.#dial(target, { signal, offer, rttMs });
  }

  /**
   * In the node's own async context, and not in that of whoever wants the peer: what a connection's sockets and timers call
   * runs in the one that they were made in, and that are handlers, for as long as the connection lives.
   * @throws MeshError as `connect`, and ConnectionLimitExceeded
   */
  #dial(target: PeerTarget, options: NodeDialOptions): Promise<CallSession> {
    return this.#home.runInAsyncScope(() => this.#dialFromHome(target, options));
  }

  async #dialFromHome(target: PeerTarget, options: NodeDialOptions): Promise<CallSession> {
    const { signal, offer = () => {}, rttMs, betterThan, isPinned } = options;
    const { connectTimeoutMs, handshakeTimeoutMs, maxConnections } = this.#config;
    if (this.#sessions.size + this.#dials >= maxConnections) {
      throw new MeshError('ConnectionLimitExceeded', `node has ${maxConnections} connections`);
    }
    const ends = joinSignals(signal, this.#stopping.signal);
    this.#dials += 1;
    const { cert } = this.#certificates.inForce;
    try {
      return await dialPeer(target, ends.signal, {
        manager: this.#manager,
        config: () => this.#handshakeConfig(),
        codec: this.#codec,
        connectTimeoutMs,
        handshakeTimeoutMs,
        betterThan,
        rttMs,
        offer,
        createSession: (connection) => this.#createSession(connection, target.nodeId ?? ''),
        accepted: (session, negotiated) => {
          session.agree(this.#agreement(negotiated));
          const isOld = cert !== this.#certificates.inForce.cert;
          this.#renewal.watch(session, target, isOld && this.#goesByTls(session.connection));
          this.#register(session, isPinned);
          return session.accept;
        },
      });
    } finally {
      ends.release();
      this.#dials -= 1;
    }
  }

  /** Runs the handshake with a peer that dialed, and registers its session or refuses it. */
  async #acceptPeer(connection: Connection): Promise<void> {
    this.#watchCertificate(connection);
    try {
      await awaitHandshake(connection, {
        config: this.#handshakeConfig(),
        codec: this.#codec,
        timeoutMs: this.#config.handshakeTimeoutMs,
        replayGuard: this.#replayGuard,
        refusalOf: (nodeId) => this.#refusalOf(nodeId),
        accepted: (negotiated) => {
          const session = this.#createSession(connection, negotiated.peerNodeId, negotiated);
          this.#register(session);
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

  /** Why that node may not have another connection, if it may not. */
  #refusalOf(nodeId: string): MeshError | undefined {
    if (this.#closing !== undefined) return new MeshError('GoingAway', 'node is closing');
    const { maxConnections, maxConnectionsPerPeer } = this.#config;
    const members = this.#links.get(nodeId)?.pool.members ?? [];
    const accepted = members.filter(({ connection }) => connection.role === 'acceptor').length;
    if (this.#sessions.size < maxConnections && accepted < maxConnectionsPerPeer) return undefined;
    return new MeshError('ConnectionLimitExceeded', 'too many connections, of this node or in all');
  }

  #agreement({ peerNodeId, capabilities }: Negotiated): SessionAgreement {
    const { compressions, maxMessageBytes } = capabilities;
    const agreed = compressions.map((name) =>
      this.#algorithms.find((known) => known.name === name),
    );
    const algorithms = agreed.filter((algorithm) => algorithm !== undefined);
    return { peerNodeId, capabilities, maxMessageBytes, algorithms };
  }

  /** @param negotiated undefined while the handshake is still to be answered */
  #createSession(
    connection: Connection,
    peerNodeId: string,
    negotiated?: Negotiated | undefined,
  ): CallSession {
    this.#watchCertificate(connection);
    const own = this.#handshakeConfig().capabilities;
    const { compressionThresholdBytes: thresholdBytes } = this.#config;
    const frames =
      negotiated === undefined
        ? { maxMessageBytes: MAX_PRE_HANDSHAKE_BYTES, algorithms: [] }
        : this.#agreement(negotiated);
    const session: CallSession = new CallSession({
      connection,
      peerNodeId,
      capabilities: negotiated?.capabilities ?? own,
      agreed: negotiated !== undefined,
      codec: new FrameCodec({ codec: this.#codec, thresholdBytes, ...frames }),
      handlers: this.#handlers satisfies Handlers,
      budgets: this.#budgets,
      transfers: this.#transfers,
      onHandlerFailure: (type, { code }) => {
        this.#log.debug({ peer: session.peer.nodeId, type, code }, 'handler failed');
      },
      authorize: this.#config.authorize,
      onAuthorizeFailure: ({ message }) => {
        this.#log.error({ peer: session.peer.nodeId }, `authorize failed: ${message}`);
      },
      onCallRefused: () => {
        this.#refusals.calls += 1;
      },
    });
    return session;
  }

  /**
   * Registers a session whose handshake is done. The pool uses it once TLS is done, too: until then the peer's early data
   * may be a replay.
   */
  #register(session: CallSession, isPinned = false): void {
    const { connection } = session;
    const link = this.#links.obtain(session.peer.nodeId);
    session.slots = link.slots;
    this.#sessions.add(session);
    this.#handshakes.accepted += 1;
    connection.onPathEvent = (event) => this.#reports.pathChanged(session, event);
    const take = (): void => {
      this.#reports.peerUp(session);
      this.#links.obtain(link.nodeId).pool.add(session, { isPinned });
    };
    if (connection.state.kind === 'open') take();
    else void connection.opened.then((opened) => opened && take());
    void connection.closed.then((error) => this.#lost(session, error));
  }

  async #lost(session: CallSession, error: MeshError): Promise<void> {
    this.#sessions.delete(session);
    this.#renewal.forget(session);
    if (isOffence(error)) this.#refusals.connections += 1;
    const { transport, connection } = session;
    if (await connection.opened) this.#reports.peerDown(session, error);
    else this.#refused({ error, remoteAddress: connection.remoteAddress, transport });
  }

  #watchCertificate(connection: Connection): void {
    if (this.#goesByTls(connection)) this.#certificates.watch(connection);
  }

  /** A transport that the user brought has certificates of its own. */
  #goesByTls({ transport }: Connection): boolean {
    return this.#config.transports.some((known) => known === transport);
  }

  /**
   * Closes a connection whose certificate is no longer trusted. A peer that was dialed is dialed again first: it may have a
   * better certificate by now.
   */
  async #closeUntrusted({ connection, error }: Unacceptable): Promise<void> {
    const session = [...this.#sessions].find((candidate) => candidate.connection === connection);
    const mayImprove = connection.role === 'dialer' && error.code !== 'CertificateRevoked';
    if (session === undefined || !mayImprove) {
      connection.fail(error);
      return;
    }
    const limit = setTimeout(() => connection.fail(error), this.#config.drainTimeoutMs).unref();
    void connection.closed.then(() => clearTimeout(limit));
    const isReplaced = await this.#renewal.renewNow(session);
    if (!isReplaced && !connection.isGoingAway) connection.fail(error);
  }

  #refused(refusal: Refusal): void {
    if (this.#stopping.signal.aborted) return;
    this.#handshakes.refused += 1;
    this.#reports.refused(refusal);
  }

  #createRenewal({ renewAfterStreams, renewAfterMs }: NodeConfig): Renewal {
    return new Renewal({
      afterStreams: renewAfterStreams,
      afterMs: renewAfterMs,
      dial: (target, betterThan) => this.#dial(target, { betterThan }),
      mayImprove: ({ connection }) => this.#manager.mayImprove(connection),
      onRenewed: (session) => {
        this.#reports.renewed(session);
        this.#links.obtain(session.peer.nodeId).pool.retire(session, 'connection was renewed');
      },
      onFailed: (session, error) => this.#reports.cannotRenew(session, error),
    });
  }

  #handshakeConfig(): HandshakeConfig {
    const { nodeId, cluster, authToken, capabilities, maxStreams, maxMessageBytes, checksum } =
      this.#config;
    const compressions = this.#algorithms.map(({ name }) => name);
    return {
      nodeId,
      cluster,
      capabilities: { ...capabilities, maxStreams, maxMessageBytes, compressions, checksum },
      ...(authToken?.token === undefined ? {} : { authToken: authToken.token }),
      ...(authToken?.verify === undefined ? {} : { verifyToken: this.#verifyToken }),
    };
  }

  /** The user's function; of what it throws only the kind is told, since the text might quote a token. */
  readonly #verifyToken = (token: string | undefined, nodeId: string): boolean => {
    let verdict: unknown;
    let flaw: string | undefined;
    try {
      verdict = this.#config.authToken?.verify?.(token, nodeId);
    } catch (thrown) {
      flaw = isError(thrown) ? thrown.name : typeof thrown;
    }
    if (isPromised(verdict)) {
      flaw = 'it answered by a promise, which is no answer';
    }
    if (flaw !== undefined) this.#log.error({ peer: nodeId, flaw }, 'authToken.verify failed');
    return verdict === true;
  };
}

interface NodeDialOptions {
  readonly signal?: AbortSignal | undefined;
  readonly offer?: ((session: CallSession) => void) | undefined;
  readonly rttMs?: number | undefined;
  /** Only by a transport that is preferred to this one. */
  readonly betterThan?: TransportName | undefined;
  /** The connection stands beside those that the peer's pool may have. */
  readonly isPinned?: boolean | undefined;
}

const HANDLER_KINDS: ReadonlySet<string> = new Set<HandlerKind>([
  'query',
  'replicationLog',
  'consensus',
  'dataTransfer',
  'request',
]);
