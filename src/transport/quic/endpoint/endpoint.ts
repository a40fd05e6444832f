/**
 * One UDP port for all QUIC connections, dialed and accepted. It routes datagrams to them by connection ID, and hands
 * datagrams that belong to none to admission. Nothing that arrives may end the process: it is served, or dropped and
 * counted.
 */
import { AsyncResource } from 'node:async_hooks';
import { randomBytes } from 'node:crypto';
import type { Alarms } from '../../../base/alarms.js';
import { MeshError } from '../../../errors.js';
import { KNOCK_BYTES } from '../../../protocol/knock.js';
import { KnockGate } from '../../admission/knock-gate.js';
import type { PeerIdentity, Role, SocketAddress } from '../../connection.js';
import { FrameMemory } from '../../frame-memory.js';
import { PeerRates } from '../../peer-rates.js';
import { ReadingTurns } from '../../reading-turns.js';
import type { HalfOpenGuard } from '../admission/half-open-guard.js';
import { HandshakeQueue } from '../admission/handshake-queue.js';
import { InitialHandler } from '../admission/initial-handler.js';
import { mayBeReset, ResetTokens } from '../admission/stateless-reset.js';
import type { NativeConnection } from '../binding/native.js';
import { QuicConnection } from '../connection/connection.js';
import { BumpBuffer } from '../io/bump-buffer.js';
import type { EndpointCounters } from '../io/counters.js';
import { ListeningSockets } from '../io/listening-sockets.js';
import { CONNECTION_ID_BYTES, type DropReason, routeDatagram, routeOf } from '../io/packet.js';
import { PeerSockets } from '../io/peer-sockets.js';
import { SendFailures } from '../io/send-failures.js';
import { SendMemory } from '../io/send-memory.js';
import { UdpSocket, type UdpSocketHandler } from '../io/udp-socket.js';
import {
  ConnectionSlot,
  type Dial,
  type EndpointAcceptor,
  type EndpointDialOptions,
  type SlotHost,
} from './connection-slot.js';
import { DialedConnections } from './dialed-connections.js';
import type { EndpointOptions } from './endpoint-options.js';
import { FlushQueue } from './flush-queue.js';
import { NativeConnections } from './native-connections.js';

const READ_BUFFER_BYTES = 64 * 1024;
const MIN_READ_BYTES = 4 * 1024;

/** The first connection ID of a dialer is its knock, and quiche reads all of a connection at the length of the first. */
const DIALER_ID_BYTES = KNOCK_BYTES;

const DROP_COUNTERS = {
  malformed: 'droppedMalformed',
  unknownVersion: 'droppedUnknownVersion',
  shortInitial: 'droppedShortInitial',
  unknownConnection: 'droppedUnknownConnection',
} as const;

/** The endpoint of one UDP port: its sockets, its routing table, and what its connections share. */
export class QuicEndpoint implements SlotHost, UdpSocketHandler {
  readonly sendMemory = new SendMemory();
  readonly readBuffer = new BumpBuffer(READ_BUFFER_BYTES, MIN_READ_BYTES);
  readonly frameMemory = new FrameMemory();
  readonly turns = new ReadingTurns();
  readonly rates: PeerRates;
  readonly counters: EndpointCounters;
  acceptor: EndpointAcceptor | undefined;

  readonly routes = new Map<string, ConnectionSlot>();
  readonly flushQueue = new FlushQueue();
  readonly peerSockets: PeerSockets;
  readonly #sockets: ListeningSockets;
  /** The async context that connections live in, whoever moves them to another socket. */
  readonly #asyncScope = new AsyncResource('quicmesh.QuicEndpoint');
  /** Sockets that connections have moved to. */
  readonly #extraSockets = new Set<UdpSocket>();
  readonly #options: EndpointOptions;
  readonly #slots = new Set<ConnectionSlot>();
  #failures = new SendFailures();
  /** Datagrams whose memory the system may still read. */
  #sendsUnderWay = 0;
  readonly #initials: InitialHandler;
  readonly #resetTokens: ResetTokens;
  readonly #natives: NativeConnections;
  readonly #handshakes = new HandshakeQueue();
  readonly #dialed = new DialedConnections();
  #closed = false;
  #retiring = false;

  /**
   * Binds a socket and opens an endpoint on it.
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
    this.rates = options.rates ?? new PeerRates(options.limits);
    this.peerSockets = new PeerSockets(options.peerSockets ?? 0, counters);
    sockets.begin(this, (its) => this.#connections.some((connection) => connection.sendsBy(its)));
    counters.receiveBufferBytes = socket.receiveBufferBytes;
    counters.sendBufferBytes = socket.sendBufferBytes;
    this.#resetTokens = new ResetTokens(options.resetKey, socket.address);
    this.#natives = new NativeConnections({ ...options, resetTokens: this.#resetTokens });
    const { knocks } = options;
    this.#initials = new InitialHandler({
      gate: knocks === undefined ? undefined : new KnockGate(knocks),
      native: options.native,
      resetTokens: this.#resetTokens,
      limits: options.admission,
      counters,
      send: (datagram, to, by) => this.sendDatagram(datagram, to, by),
    });
  }

  get localAddress(): SocketAddress {
    return this.#sockets.main.address;
  }

  get alarms(): Alarms {
    return this.#options.alarms;
  }

  /** Whether nothing can be dialed from here any more. */
  get isClosed(): boolean {
    return this.#closed;
  }

  /**
   * Begins a connection. `ready` fulfils when TLS is done and the peer's certificate is good, and rejects when the connection
   * ends before. A connection that resumes a session with early data is in state `early` at once.
   */
  dial(
    remote: SocketAddress,
    options: EndpointDialOptions,
  ): { connection: QuicConnection; ready: Promise<void> } {
    const connectionId = options.knock ?? randomBytes(DIALER_ID_BYTES);
    const native = this.#natives.connect({
      connectionId,
      local: this.localAddress,
      remote,
      session: options.session,
      verifyPeer: options.verifyPeer,
      sessionUnusable: () => {
        this.counters.sessionsUnusable += 1;
      },
    });
    let dial: Dial | undefined;
    const ready = new Promise<void>((resolve, reject) => {
      dial = { options, resolve, reject };
    });
    // If what follows throws, nobody gets the promise: its rejection must not count as unhandled.
    ready.catch(() => {});
    const connection = this.#register(native, 'dialer', remote, {
      socket: this.#sockets.main,
      ids: [routeOf(connectionId)],
      connectTimeoutMs: options.connectTimeoutMs,
      dial,
    });
    this.counters.dialed += 1;
    this.#dialed.add(connection, remote);
    connection.flush();
    if (connection.beginEarly()) this.counters.earlyDialed += 1;
    return { connection, ready };
  }

  /** Stops accepting. The socket, and so the port, stays open as long as its connections live; this does not wait for them. */
  async retire(): Promise<void> {
    this.acceptor = undefined;
    this.#retiring = true;
    if (this.#slots.size === 0) await this.close(new MeshError('NoError', 'listener closed'));
  }

  /** Closes every connection with this error's code, then the sockets. */
  async close(error: MeshError): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
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

  newConnectionId(role: Role): Buffer {
    const bytes = role === 'acceptor' ? CONNECTION_ID_BYTES : DIALER_ID_BYTES;
    return this.#resetTokens.newConnectionId(bytes);
  }

  resetTokenOf(connectionId: Uint8Array): bigint {
    return this.#resetTokens.numberOf(connectionId);
  }

  verifyDialer(chain: readonly Uint8Array[]): PeerIdentity {
    return this.#options.verifyDialer(chain);
  }

  leave(source: string, isTrusted: boolean): void {
    this.#initials.leave(source, isTrusted);
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

  /** Datagrams of a handshake take turns. Those that are dropped anyway never get here. */
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

  /** The connection for a datagram, unless its half-open guard refuses it. */
  #route(datagram: Buffer, connectionId: string, from: SocketAddress): QuicConnection | undefined {
    const connection = this.routes.get(connectionId)?.connection;
    const refused = connection?.guard?.refuses(datagram, connection.isRemote(from));
    if (refused === undefined) return connection;
    this.counters[refused] += 1;
    return undefined;
  }

  /**
   * Handles a packet that belongs to no connection: it may be a stateless reset (RFC 9000, section 10.3), or be answered with
   * one.
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

  /** Creates a connection for a dialer's first packet, if this endpoint still accepts and admission agrees. */
  #accept(
    datagram: Buffer,
    routeId: string,
    from: SocketAddress,
    socket: UdpSocket,
  ): QuicConnection | undefined {
    if (!this.#sockets.has(socket)) {
      // It arrived at a socket that a connection moved to: that one accepts no others.
      this.counters.droppedUnknownConnection += 1;
      return undefined;
    }
    if (this.acceptor === undefined || this.#closed) {
      this.counters.droppedNotAccepting += 1;
      return undefined;
    }
    const accepted = this.#initials.accept(datagram, routeId, from, socket);
    if (accepted === undefined) return undefined;
    this.#sockets.arrivedAt(socket);
    const { routes, source, guard } = accepted;
    try {
      const native = this.#natives.accept(accepted, socket.address, from);
      this.#initials.spendKnock(accepted);
      const given = { socket, ids: routes, halfOpenSource: source, guard };
      return this.#register(native, 'acceptor', from, given);
    } catch {
      // The binding could not read the address.
      this.counters.droppedMalformed += 1;
      return undefined;
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
      keepAliveMs: this.#options.keepAliveMs,
      initialWindowBytes: this.#options.initialWindowBytes,
      isPaced: this.#options.isPaced(remoteAddress),
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
