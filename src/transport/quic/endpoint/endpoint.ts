/**
 * One UDP port for every QUIC connection, dialed and accepted: routes datagrams by connection ID and turns
 * away what belongs to none. Nothing that arrives here may end the process: it is served, or dropped and
 * counted.
 */
import { AsyncResource } from 'node:async_hooks';
import { randomBytes } from 'node:crypto';
import { MeshError } from '../../../errors.js';
import type { PeerIdentity, SocketAddress, StreamLimits } from '../../connection.js';
import { FrameMemory } from '../../frame-memory.js';
import type { AdmissionLimits } from '../admission/admission-policy.js';
import type { HalfOpenGuard } from '../admission/half-open-guard.js';
import { HandshakeQueue } from '../admission/handshake-queue.js';
import { type AcceptedInitial, InitialHandler } from '../admission/initial-handler.js';
import { mayBeReset, ResetTokens } from '../admission/stateless-reset.js';
import type { ConnectionKeys } from '../binding/connection-keys.js';
import {
  type NativeConfig,
  type NativeConnection,
  type NativeQuic,
  readNativeFailure,
} from '../binding/native.js';
import { QuicConnection } from '../connection/connection.js';
import { BumpBuffer } from '../io/bump-buffer.js';
import type { EndpointCounters } from '../io/counters.js';
import { ListeningSockets } from '../io/listening-sockets.js';
import { CONNECTION_ID_BYTES, type DropReason, routeDatagram } from '../io/packet.js';
import { SendFailures } from '../io/send-failures.js';
import { SendMemory } from '../io/send-memory.js';
import { UdpSocket, type UdpSocketHandler } from '../io/udp-socket.js';
import type { PacerClocks } from '../paths/pacer-clocks.js';
import { nativeAddress } from '../paths/path.js';
import type { PathMtuLimits } from '../paths/path-mtu.js';
import {
  ConnectionSlot,
  type Dial,
  type EndpointAcceptor,
  type EndpointDialOptions,
  type SlotHost,
} from './connection-slot.js';
import { DialedConnections } from './dialed-connections.js';

export interface EndpointOptions {
  readonly native: NativeQuic;
  readonly limits: StreamLimits;
  readonly connectTimeoutMs: number;
  readonly keepAliveMs: number;
  readonly idleTimeoutMs: number;
  /** Whether connections may change their paths. */
  readonly migration: boolean;
  /** Handshakes of dialers under way at once, and what is asked of dialers meanwhile. */
  readonly admission: AdmissionLimits;
  /** Private key, in PEM, that the tokens of stateless resets come from. */
  readonly resetKey: string;
  /** The binding's configuration for a connection with this peer, with the certificates in force now. */
  /** @param takenBytes the largest datagram that the peer takes, where that is known */
  readonly configFor: (
    remote: SocketAddress,
    local: SocketAddress,
    takenBytes?: number,
  ) => NativeConfig;
  /** Sizes that datagrams between two addresses may have. */
  readonly datagramLimits: (remote: SocketAddress, local: SocketAddress) => PathMtuLimits;
  /** Hears of hosts with which the pacer's clock ran ahead. */
  readonly pacerClocks: PacerClocks;
  readonly keys?: ConnectionKeys | undefined;
  /** Checks a dialer's certificates. @throws MeshError with a Certificate* code */
  readonly verifyDialer: (chain: readonly Uint8Array[]) => PeerIdentity;
}

const READ_BUFFER_BYTES = 64 * 1024;
const MIN_READ_BYTES = 4 * 1024;

/** How often connections are looked after that have nothing to do, at least. */
const MAX_MAINTENANCE_INTERVAL_MS = 1000;

const DROP_COUNTERS = {
  malformed: 'droppedMalformed',
  unknownVersion: 'droppedUnknownVersion',
  shortInitial: 'droppedShortInitial',
  unknownConnection: 'droppedUnknownConnection',
} as const;

export class QuicEndpoint implements SlotHost, UdpSocketHandler {
  readonly sendMemory = new SendMemory();
  readonly readBuffer = new BumpBuffer(READ_BUFFER_BYTES, MIN_READ_BYTES);
  readonly frameMemory = new FrameMemory();
  readonly counters: EndpointCounters;
  acceptor: EndpointAcceptor | undefined;

  readonly routes = new Map<string, ConnectionSlot>();
  readonly #sockets: ListeningSockets;
  /** The async context that connections live in, whoever moves them to another socket. */
  readonly #asyncScope = new AsyncResource('quicmesh.QuicEndpoint');
  /** Those that connections moved to. */
  readonly #extraSockets = new Set<UdpSocket>();
  readonly #options: EndpointOptions;
  readonly #slots = new Set<ConnectionSlot>();
  #failures = new SendFailures();
  /** Datagrams whose memory the system may still read. */
  #sendsUnderWay = 0;
  #toFlush: ConnectionSlot[] = [];
  readonly #initials: InitialHandler;
  readonly #resetTokens: ResetTokens;
  readonly #handshakes = new HandshakeQueue();
  readonly #dialed = new DialedConnections();
  readonly #maintenanceTimer: NodeJS.Timeout;
  #closed = false;
  #retiring = false;

  /**
   * Listens.
   * @param address a port of 0 lets the system pick
   * @throws MeshError ConnectFailed when the address cannot be bound
   */
  static async bind(
    address: SocketAddress,
    options: EndpointOptions,
    counters: EndpointCounters,
  ): Promise<QuicEndpoint> {
    return new QuicEndpoint(await ListeningSockets.listen(address), options, counters);
  }

  /**
   * @param sockets opened in this turn of the event loop, and closed with the endpoint
   */
  constructor(sockets: ListeningSockets, options: EndpointOptions, counters: EndpointCounters) {
    const socket = sockets.main;
    this.#sockets = sockets;
    this.#options = options;
    this.counters = counters;
    sockets.begin(this, (its) => this.#connections.some((connection) => connection.sendsBy(its)));
    counters.receiveBufferBytes = socket.receiveBufferBytes;
    counters.sendBufferBytes = socket.sendBufferBytes;
    this.#resetTokens = new ResetTokens(options.resetKey, socket.address);
    this.#initials = new InitialHandler({
      native: options.native,
      resetTokens: this.#resetTokens,
      limits: options.admission,
      counters,
      send: (datagram, to, by) => this.sendDatagram(datagram, to, by),
    });
    this.#maintenanceTimer = setInterval(
      () => this.#maintain(),
      Math.min(options.keepAliveMs / 2, MAX_MAINTENANCE_INTERVAL_MS),
    ).unref();
  }

  get localAddress(): SocketAddress {
    return this.#sockets.main.address;
  }

  /** Whether nothing can be dialed from here any more. */
  get isClosed(): boolean {
    return this.#closed;
  }

  /**
   * Starts a connection. It settles through `established` or `ended`, which the returned promise follows. Where a
   * session is resumed that allows early data, the connection is `early` at once.
   */
  dial(
    remote: SocketAddress,
    options: EndpointDialOptions,
  ): { connection: QuicConnection; ready: Promise<void> } {
    const connectionId = randomBytes(CONNECTION_ID_BYTES);
    const native = this.#connectNative(connectionId, remote, options);
    let dial: Dial | undefined;
    const ready = new Promise<void>((resolve, reject) => {
      dial = { options, resolve, reject };
    });
    // Where what follows throws, nobody gets to wait for it.
    ready.catch(() => {});
    const connection = this.#register(native, 'dialer', remote, {
      socket: this.#sockets.main,
      ids: [connectionId.toString('latin1')],
      connectTimeoutMs: options.connectTimeoutMs,
      dial,
    });
    this.counters.dialed += 1;
    this.#dialed.add(connection, remote);
    connection.flush();
    if (connection.beginEarly()) this.counters.earlyDialed += 1;
    return { connection, ready };
  }

  /** A session is used only if its certificate would be taken now: its early data goes to whoever had that. */
  #connectNative(
    connectionId: Buffer,
    remote: SocketAddress,
    { session, verifyPeer }: EndpointDialOptions,
  ): NativeConnection {
    const config = this.#options.configFor(remote, this.localAddress);
    const connect = () =>
      this.#options.native.Connection.connect(
        null,
        connectionId,
        nativeAddress(this.localAddress),
        nativeAddress(remote),
        config,
      );
    const fresh = connect();
    if (session === undefined) return fresh;
    try {
      fresh.setSession(session);
      verifyPeer(fresh.peerCertChain() ?? []);
      return fresh;
    } catch {
      this.counters.sessionsUnusable += 1;
      return connect();
    }
  }

  /** Accepts no more. The socket lives as long as its connections, and the port with it; this does not wait for that. */
  async retire(): Promise<void> {
    this.acceptor = undefined;
    this.#retiring = true;
    if (this.#slots.size === 0) await this.close(new MeshError('NoError', 'listener closed'));
  }

  /** Closes every connection with this code, then the socket. */
  async close(error: MeshError): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#maintenanceTimer);
    const connections = this.#connections;
    for (const connection of connections) connection.fail(error);
    for (const connection of connections) connection.release();
    await this.#sockets.close();
  }

  // ---- SlotHost -----------------------------------------------------------------------------------------

  sendDatagram(datagram: Buffer, to: SocketAddress, socket: UdpSocket): void {
    this.counters.datagramsSent += 1;
    this.counters.bytesSent += datagram.length;
    if (socket.send(datagram, to)) this.#sendsUnderWay += 1;
  }

  async openSocket(address: SocketAddress): Promise<UdpSocket> {
    const socket = await this.#asyncScope.runInAsyncScope(() => UdpSocket.bind(address));
    socket.handler = this;
    this.#extraSockets.add(socket);
    return socket;
  }

  closeSocket(socket: UdpSocket): void {
    if (this.#extraSockets.delete(socket)) void socket.close();
  }

  isListening(socket: UdpSocket): boolean {
    return this.#sockets.has(socket);
  }

  resetTokenOf(connectionId: Uint8Array): bigint {
    return this.#resetTokens.numberOf(connectionId);
  }

  flushSoon(slot: ConnectionSlot): void {
    this.#toFlush.push(slot);
    // After the poll phase: answers to all datagrams of this turn share packets and acknowledgements.
    if (this.#toFlush.length === 1) setImmediate(() => this.#flushAll());
  }

  verifyDialer(chain: readonly Uint8Array[]): PeerIdentity {
    return this.#options.verifyDialer(chain);
  }

  pacerRanAhead(host: string): void {
    this.#options.pacerClocks.ranAhead(host);
  }

  leave(source: string): void {
    this.#initials.leave(source);
  }

  forget(slot: ConnectionSlot): void {
    this.#slots.delete(slot);
    if (slot.connection !== undefined) this.#dialed.delete(slot.connection);
    if (this.#retiring) void this.retire();
  }

  // ---- Datagrams in -------------------------------------------------------------------------------------

  onDatagram(datagram: Buffer, from: SocketAddress, socket: UdpSocket): void {
    this.counters.datagramsReceived += 1;
    this.counters.bytesReceived += datagram.length;
    const route = routeDatagram(datagram, this.#isKnown);
    if (route.kind === 'drop') {
      this.#drop(route.reason, datagram, from, socket);
      return;
    }
    const { connectionId } = route;
    const connection =
      route.kind === 'known'
        ? this.#route(datagram, connectionId, from)
        : this.#accept(datagram, connectionId, from, socket);
    if (connection === undefined) return;
    if (connection.isOpen || connection.isOver) {
      connection.receive(datagram, from, socket, connectionId);
    } else {
      this.#receiveInTurn(connection, datagram, from, socket, connectionId);
    }
  }

  /** For a connection that has yet to prove itself. What is not let in at all never comes to wait. */
  #receiveInTurn(
    connection: QuicConnection,
    datagram: Buffer,
    from: SocketAddress,
    socket: UdpSocket,
    connectionId: string,
  ): void {
    const receive = () => connection.receive(datagram, from, socket, connectionId);
    if (!this.#handshakes.take(datagram.length, receive))
      this.counters.droppedHandshakeQueueFull += 1;
  }

  #drop(reason: DropReason, datagram: Buffer, from: SocketAddress, socket: UdpSocket): void {
    this.counters[DROP_COUNTERS[reason]] += 1;
    if (reason === 'unknownConnection') this.#receiveStray(datagram, from, socket);
    if (reason === 'unknownVersion' && this.acceptor !== undefined) {
      this.#initials.answerUnknownVersion(datagram, from, socket);
    }
  }

  /** The connection, unless its guard refuses the datagram. */
  #route(datagram: Buffer, connectionId: string, from: SocketAddress): QuicConnection | undefined {
    const connection = this.routes.get(connectionId)?.connection;
    const refused = connection?.guard?.refuses(datagram, connection.isRemote(from));
    if (refused === undefined) return connection;
    this.counters[refused] += 1;
    return undefined;
  }

  /**
   * A packet for no connection: a peer that was started anew says so by one (RFC 9000, section 10.3), and is told so
   * by one.
   */
  #receiveStray(datagram: Buffer, from: SocketAddress, socket: UdpSocket): void {
    if (!mayBeReset(datagram)) return;
    for (const connection of this.#dialed.at(from)) {
      if (!connection.receiveReset(datagram)) continue;
      this.counters.statelessResetsReceived += 1;
      return;
    }
    if (this.acceptor === undefined || !this.#sockets.has(socket)) return;
    this.#initials.answerUnknownConnection(datagram, from, socket);
  }

  onSent(): void {
    this.#sendsUnderWay -= 1;
    if (this.#sendsUnderWay === 0) this.sendMemory.release();
  }

  onUnanswerable(bytes: number): void {
    this.counters.datagramsReceived += 1;
    this.counters.bytesReceived += bytes;
    this.counters.droppedUnanswerable += 1;
  }

  onSocketError(socket: UdpSocket, code: string | undefined, to: SocketAddress | undefined): void {
    this.counters.sendErrors += 1;
    const failures = this.#failures;
    const isFirst = failures.isEmpty;
    failures.add(socket, code, to);
    if (!isFirst || failures.isEmpty) return;
    setImmediate(() => {
      this.#failures = new SendFailures();
      for (const connection of this.#connections) connection.checkPath(failures);
    });
  }

  /** A connection for a dialer's first packet, where one may still be accepted. */
  #accept(
    datagram: Buffer,
    routeId: string,
    from: SocketAddress,
    socket: UdpSocket,
  ): QuicConnection | undefined {
    if (!this.#sockets.has(socket)) {
      // Where a connection moved to, nobody listens.
      this.counters.droppedUnknownConnection += 1;
      return undefined;
    }
    if (this.acceptor === undefined || this.#closed) {
      this.counters.droppedNotAccepting += 1;
      return undefined;
    }
    this.#sockets.arrivedAt(socket);
    const admission = this.#initials.accept(datagram, routeId, from, socket);
    if (admission === undefined) return undefined;
    const { routes, source, guard } = admission;
    try {
      const native = this.#acceptNative(admission, socket, from);
      const given = { socket, ids: routes, halfOpenSource: source, guard };
      return this.#register(native, 'acceptor', from, given);
    } catch {
      // An address that the binding cannot read.
      this.counters.droppedMalformed += 1;
      return undefined;
    }
  }

  /**
   * quiche 0.18.0 writes its transport parameters into 128 bytes, and refuses the connection where they do not fit: after
   * a Retry, with the client's first connection ID among them, which is up to 20 bytes long. The one that can be done
   * without is the token of stateless resets; such a peer finds out by silence that this node was started anew.
   */
  #acceptNative(
    { connectionId, originalId, guard }: AcceptedInitial,
    socket: UdpSocket,
    from: SocketAddress,
  ): NativeConnection {
    const config = this.#options.configFor(from, socket.address, guard.takenBytes);
    const [local, remote] = [nativeAddress(socket.address), nativeAddress(from)];
    const accept = (resetToken: bigint | null) => {
      // The binding takes the token from the configuration, which all connections share, and at once.
      config.setStatelessResetToken(resetToken);
      const { Connection } = this.#options.native;
      return Connection.accept(connectionId, originalId, local, remote, config);
    };
    try {
      return accept(this.#resetTokens.numberOf(connectionId));
    } catch (thrown) {
      if (readNativeFailure(thrown).name !== 'BufferTooShort') throw thrown;
      return accept(null);
    }
  }

  #register(
    native: NativeConnection,
    role: 'dialer' | 'acceptor',
    remoteAddress: SocketAddress,
    given: NewConnection,
  ): QuicConnection {
    const { halfOpenSource, guard, connectTimeoutMs } = given;
    const slot = new ConnectionSlot(this, {
      ...given,
      collectKeys: this.#options.keys?.watch(native),
    });
    const connection = new QuicConnection({
      native,
      host: slot,
      role,
      remoteAddress,
      limits: this.#options.limits,
      idleTimeoutMs: this.#options.idleTimeoutMs,
      migration: this.#options.migration,
      datagramLimits: this.#options.datagramLimits,
      connectTimeoutMs: connectTimeoutMs ?? this.#options.connectTimeoutMs,
      guard,
    });
    slot.connection = connection;
    if (halfOpenSource !== undefined) this.#initials.enter(halfOpenSource);
    this.#slots.add(slot);
    return connection;
  }

  #flushAll(): void {
    const slots = this.#toFlush;
    this.#toFlush = [];
    for (const slot of slots) slot.isFlushDue = false;
    for (const { connection } of slots) connection?.flush();
  }

  #maintain(): void {
    const nowMs = performance.now();
    for (const connection of this.#connections) {
      connection.maintain(nowMs, this.#options.keepAliveMs);
    }
  }

  get #connections(): QuicConnection[] {
    return [...this.#slots].flatMap(({ connection }) => connection ?? []);
  }

  readonly #isKnown = (connectionId: string): boolean => this.routes.has(connectionId);
}

interface NewConnection {
  readonly socket: UdpSocket;
  readonly ids: readonly string[];
  readonly halfOpenSource?: string;
  readonly guard?: HalfOpenGuard;
  readonly connectTimeoutMs?: number;
  readonly dial?: Dial | undefined;
}
