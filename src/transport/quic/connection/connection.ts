/**
 * Drives one native QUIC connection: `receive -> readStreams -> flush -> armTimer`, synchronously from the
 * datagram to the handler. RFC 9000; SPEC.md, "QUIC".
 *
 * The binding's connection is a state machine without I/O: datagrams and timeouts go in, datagrams and stream
 * bytes come out.
 */
import { MeshError, type MeshErrorCode, toMeshError, wireCodeOf } from '../../../errors.js';
import { encodeReason } from '../../../protocol/control.js';
import {
  type AgreedLimits,
  type Connection,
  type ConnectionCounters,
  type ConnectionState,
  type FrameStream,
  type FrameStreamHandler,
  type MigrateOptions,
  nextConnectionState,
  type PathEvent,
  type PeerIdentity,
  type Role,
  type SocketAddress,
  type StreamLimits,
  type StreamOptions,
} from '../../connection.js';
import type { FrameMemory } from '../../frame-memory.js';
import type { HalfOpenGuard } from '../admission/half-open-guard.js';
import { endOfStreams, endReason, refusalReason } from '../binding/end-reason.js';
import type { NativeConnection } from '../binding/native.js';
import { PeerGuards } from '../guards/peer-guards.js';
import type { BumpBuffer } from '../io/bump-buffer.js';
import type { EndpointCounters } from '../io/counters.js';
import { DeadlineTimer } from '../io/deadline-timer.js';
import type { SendFailures } from '../io/send-failures.js';
import type { SendMemory } from '../io/send-memory.js';
import type { UdpSocket } from '../io/udp-socket.js';
import type { IdRoutes } from '../paths/connection-ids.js';
import { DatagramSize } from '../paths/datagram-size.js';
import { isSame, type Path } from '../paths/path.js';
import { BASE_DATAGRAM_BYTES, type PathMtuLimits } from '../paths/path-mtu.js';
import { ConnectionPaths } from '../paths/paths.js';
import { Resumption } from '../resumption/resumption.js';
import { QuicStreams } from '../streams/streams.js';
import { ClosingPeriod } from './closing-period.js';
import { RttWatch } from './rtt-watch.js';
import { TailProbe } from './tail-probe.js';

/** What a connection asks of the endpoint it lives on. */
export interface ConnectionHost extends IdRoutes {
  /** Where the connection begins. */
  readonly socket: UdpSocket;
  readonly counters: EndpointCounters;
  /** Memory for outgoing datagrams, shared by all connections of the endpoint. */
  readonly sendMemory: SendMemory;
  /** Memory for stream bytes, likewise. */
  readonly readBuffer: BumpBuffer;
  /** Memory for large frames, likewise. */
  readonly frameMemory: FrameMemory;
  /** The datagram's memory is the system's until it has taken it. */
  sendDatagram(datagram: Buffer, to: SocketAddress, socket: UdpSocket): void;
  /** A socket besides the endpoint's own. @throws MeshError ConnectFailed */
  openSocket(address: SocketAddress): Promise<UdpSocket>;
  /** Closes such a socket; leaves the endpoint's own alone. */
  closeSocket(socket: UdpSocket): void;
  /** Whether it is one of the endpoint's own, which are all of one port. */
  isListening(socket: UdpSocket): boolean;
  /** Calls the connection's `flush()` once this turn's input is read. */
  flushSoon(): void;
  /** The estimate of the round trip is too long for what is sent: with the pacer's clock it would be again. */
  pacerRanAhead(): void;
  /** Checks the peer's certificates. @throws MeshError with a Certificate* code */
  verifyPeer(chain: readonly Uint8Array[]): PeerIdentity;
  /** An acceptor's early data may be read: the certificate of the resumed session is good. */
  early(): void;
  /** The peer gave a session to resume, whose memory is the host's. Called once. */
  sessionGiven(session: Uint8Array): void;
  /** TLS is done and the peer's certificate is good. */
  established(): void;
  /** The connection is over for its users. Called once. */
  ended(error: MeshError): void;
  /** The binding's connection has drained as well: its connection IDs may be forgotten. */
  released(): void;
}

export interface QuicConnectionOptions {
  readonly native: NativeConnection;
  readonly host: ConnectionHost;
  readonly role: Role;
  readonly remoteAddress: SocketAddress;
  readonly limits: StreamLimits;
  /** Whether the connection may change its path. */
  readonly migration: boolean;
  /** Certificate, address and handshake must be done by then. */
  readonly connectTimeoutMs: number;
  /** This side's, as the binding's configuration has it. */
  readonly idleTimeoutMs: number;
  /** Sizes that datagrams between two addresses may have. */
  readonly datagramLimits: (remote: SocketAddress, local: SocketAddress) => PathMtuLimits;
  /** For a peer that has yet to prove who and where it is. */
  readonly guard?: HalfOpenGuard | undefined;
}

/**
 * AES-GCM may encrypt 2^23 packets under one key (RFC 9001, section 6.6), and quiche 0.18.0 starts no key updates: well
 * before that, another connection is due.
 */
const MANY_DATAGRAMS = 2 ** 22;
/** A packet counts as lost when one that was sent three later is acknowledged. */
const PROBE_PACKETS = 3;
/** Silence, while answers are due. */
const AWAITING_MS = 1000;

export class QuicConnection implements Connection {
  readonly transport = 'quic';
  readonly role: Role;
  readonly counters: ConnectionCounters = {
    framesSent: 0,
    framesReceived: 0,
    bytesSent: 0,
    bytesReceived: 0,
    streamsOpened: 0,
    streamsAccepted: 0,
    streamsReset: 0,
  };
  readonly opened: Promise<boolean>;
  readonly closed: Promise<MeshError>;
  /** When a datagram last arrived, on the clock of `performance.now()`. */
  lastReceivedMs = performance.now();
  /** Holds what comes in and goes out within limits until the peer has proved itself; then there is none. */
  guard: HalfOpenGuard | undefined;

  onPathEvent: ((event: PathEvent) => void) | undefined;
  onGoAway: (() => void) | undefined;

  readonly #native: NativeConnection;
  readonly #host: ConnectionHost;
  readonly #streams: QuicStreams;
  readonly #resumption: Resumption;
  readonly #timer = new DeadlineTimer(() => this.#timedOut());
  readonly #establishTimer: NodeJS.Timeout;
  readonly #paths: ConnectionPaths;
  readonly #guards: PeerGuards;
  readonly #size: DatagramSize;
  readonly #datagramLimits: QuicConnectionOptions['datagramLimits'];
  readonly #probe = new TailProbe();
  readonly #idleTimeoutMs: number;
  #settleOpened: (opened: boolean) => void = () => {};
  #settleClosed: (error: MeshError) => void = () => {};
  #state: ConnectionState = { kind: 'connecting' };
  #identity: PeerIdentity | undefined;
  #released = false;
  /** From when the connection is over to when it is forgotten. */
  #closing: ClosingPeriod | undefined;
  #maintainedMs = performance.now();
  readonly #rttWatch = new RttWatch();
  #rttLookedAtMs = 0;
  #datagramsSent = 0;
  #datagramsReceived = 0;

  constructor(options: QuicConnectionOptions) {
    this.#native = options.native;
    this.#resumption = new Resumption(options.native);
    this.#host = options.host;
    this.#idleTimeoutMs = options.idleTimeoutMs;
    this.role = options.role;
    this.guard = options.guard;
    this.#paths = this.#createPaths(options);
    this.#streams = this.#createStreams(options);
    this.#guards = this.#createGuards(options);
    this.#datagramLimits = options.datagramLimits;
    this.#size = this.#createSize(options);
    this.opened = new Promise((resolve) => {
      this.#settleOpened = resolve;
    });
    this.closed = new Promise((resolve) => {
      this.#settleClosed = resolve;
    });
    this.#establishTimer = setTimeout(() => this.#establishTimedOut(), options.connectTimeoutMs);
  }

  get state(): ConnectionState {
    return this.#state;
  }

  get peerIdentity(): PeerIdentity {
    if (this.#identity !== undefined) return this.#identity;
    throw new MeshError('InternalError', 'peer is not verified yet');
  }

  /** TLS is done, the peer is who it says, and neither side has closed. */
  get isOpen(): boolean {
    return this.#state.kind === 'open';
  }

  get isOver(): boolean {
    return this.#state.kind === 'closing' || this.#state.kind === 'closed';
  }

  get localAddress(): SocketAddress {
    return this.#paths.localAddress;
  }

  get remoteAddress(): SocketAddress {
    return this.#paths.remoteAddress;
  }

  /** Whether datagrams of the connection leave by this socket. */
  sendsBy(socket: UdpSocket): boolean {
    return this.#paths.current.socket === socket;
  }

  get rttMs(): number | undefined {
    return this.#released ? undefined : this.#native.pathStats().find((path) => path.active)?.rtt;
  }

  get datagramBytes(): number {
    return this.#size.confirmedBytes;
  }

  get openStreams(): number {
    return this.#streams.ownStreams;
  }

  get onStream(): ((stream: FrameStream) => FrameStreamHandler) | undefined {
    return this.#streams.onStream;
  }

  set onStream(accept: ((stream: FrameStream) => FrameStreamHandler) | undefined) {
    this.#streams.onStream = accept;
  }

  openStream(handler: FrameStreamHandler, options?: StreamOptions): FrameStream {
    return this.#streams.create(handler, options);
  }

  goAway(): void {
    if (!this.isOver) this.#streams.goAway.begin();
  }

  get isGoingAway(): boolean {
    return this.#streams.isGoingAway;
  }

  get drained(): Promise<void> {
    return this.isOver ? Promise.resolve() : this.#streams.goAway.drained;
  }

  applyLimits(limits: AgreedLimits): void {
    this.#streams.applyLimits(limits);
  }

  async close(code: MeshErrorCode = 'NoError', reason = ''): Promise<void> {
    this.#close(
      new MeshError(code, reason || `closed with ${code}`),
      new MeshError('ConnectionClosed', 'connection was closed by this side'),
    );
    await this.closed;
  }

  /** Whether this is the address that the peer has had so far. */
  isRemote(address: SocketAddress): boolean {
    return isSame(this.#paths.remoteAddress, address);
  }

  /** A datagram for this connection. The binding decrypts it in place. */
  receive(datagram: Buffer, from: SocketAddress, socket: UdpSocket, connectionId: string): void {
    if (this.#released) return;
    if (this.#closing !== undefined) {
      this.#answerInClosing(this.#closing);
      return;
    }
    const nowMs = performance.now();
    const path = this.#paths.route(from, socket, connectionId, nowMs);
    if (path === undefined) return;
    this.lastReceivedMs = nowMs;
    this.#streams.rates.nowMs = nowMs;
    const isElsewhere = this.#paths.isElsewhere(from, socket);
    this.#datagramsReceived += 1;
    this.#input(() => {
      try {
        if (isElsewhere) this.#receiveFromElsewhere(datagram, path, from, socket, nowMs);
        else this.#native.recv(datagram, path);
      } catch (thrown) {
        this.#nativeFailed(thrown);
        return;
      }
      this.#guards.binding(this.lastReceivedMs);
      this.#size.received(datagram.length, nowMs);
      if (this.#probe.heard(this.#lostPackets)) this.#learnRtt();
      if (!this.isOpen) this.#checkProgress();
      if (this.#isReady) this.#streams.progress();
      if (this.#resumption.isLooking) this.#keepSession();
    });
    if (!isElsewhere) this.#paths.received(datagram.length);
    this.#guards.received(datagram.length, nowMs);
  }

  /** Only a datagram that is the peer's, and that nobody sent before, tells where the peer is, and where it finds us. */
  #receiveFromElsewhere(
    datagram: Buffer,
    path: Path,
    from: SocketAddress,
    socket: UdpSocket,
    nowMs: number,
  ): void {
    const before = this.#native.stats().recv;
    this.#native.recv(datagram, path);
    if (this.#native.stats().recv === before) return;
    this.#paths.follow(from, socket, datagram.length, nowMs);
    this.#restartSize();
  }

  /**
   * For a dialer whose first flight resumes a session: from here on early streams go with it, if the session allows
   * that.
   * @returns whether they do
   */
  beginEarly(): boolean {
    if (this.#state.kind !== 'connecting' || !this.#native.isInEarlyData()) return false;
    if (!this.#identifyPeer()) return false;
    this.#resumption.beginEarly();
    return this.#moveTo({ kind: 'early' });
  }

  /** Whether TLS took up an earlier session, and so the early data that went with it. */
  get isResumed(): boolean {
    return this.#native.isResumed();
  }

  /**
   * A datagram from the peer's address that no connection ID leads here. The binding tells whether it ends with the
   * token that makes it a stateless reset; it is no sign of life otherwise. Leaves the datagram as it is.
   *
   * The peer gives the token with the end of the handshake. Before, quiche 0.18.0 goes by the one of the session that it
   * resumes (against RFC 9000, section 7.4.1), which ends the connection before.
   * @returns whether it was one, and the connection is over
   */
  receiveReset(datagram: Buffer): boolean {
    if (this.#released || !this.isOpen) return false;
    try {
      this.#native.recv(Buffer.from(datagram), this.#paths.current);
    } catch {
      // Not even a packet.
    }
    if (!this.#native.isClosed()) return false;
    this.flush();
    return true;
  }

  /** Sends what QUIC has to send, and sets the clock for what it waits for. */
  flush(): void {
    if (this.#released) return;
    if (this.#closing !== undefined) {
      this.#flushClosing(this.#closing);
      return;
    }
    if (this.#paths.isMaintenanceDue) this.#paths.maintain();
    let isDone = this.#flushDatagrams();
    if (this.isOpen) {
      if (this.#streams.markSent()) isDone = this.#flushDatagrams();
      if (isDone) this.#size.flushed();
      if (!this.#size.isHolding) this.#guards.flushed();
    }
    if (this.#released) return;
    this.#checkEnded();
    if (this.#released) return;
    if (this.#closing !== undefined) {
      this.#flushClosing(this.#closing);
      return;
    }
    const timeoutMs = this.#native.timeout();
    this.#timer.arm(
      this.isOpen
        ? this.#probe.delayMs(timeoutMs, performance.now() - this.lastReceivedMs)
        : timeoutMs,
    );
  }

  get needsReplacement(): boolean {
    return (
      this.#paths.needsReplacement ||
      this.#datagramsSent >= MANY_DATAGRAMS ||
      this.#datagramsReceived >= MANY_DATAGRAMS ||
      this.#findsRttWrong()
    );
  }

  #findsRttWrong(): boolean {
    // Where nothing has arrived, the estimate is what it was; and to ask is not cheap.
    if (this.#released || this.#rttLookedAtMs >= this.lastReceivedMs) return false;
    const nowMs = performance.now();
    this.#rttLookedAtMs = nowMs;
    const path = this.#native.pathStats().find(({ active }) => active);
    if (path === undefined) return false;
    const { rtt: rttMs, cwnd: windowBytes, pmtu } = path;
    const { handedBytes } = this.#streams;
    if (this.#rttWatch.isOverestimate({ nowMs, rttMs, windowBytes, handedBytes })) {
      this.#host.pacerRanAhead();
      return true;
    }
    return this.#rttWatch.isRunaway(rttMs, windowBytes / pmtu);
  }

  migrate(options: MigrateOptions): Promise<void> {
    return this.#paths.migrate(options);
  }

  /** A PING frame: neither congestion nor flow control holds it up for long, and no stream is needed. */
  probe(): void {
    if (this.#state.kind !== 'open') return;
    this.#native.sendAckEliciting();
    this.#host.flushSoon();
  }

  get hasStreamRoom(): boolean {
    return this.#streams.hasRoom;
  }

  /** Some datagrams could not be sent: gets away from a path that is gone. */
  checkPath(failures: SendFailures): void {
    this.#paths.check(failures);
  }

  /**
   * Does for a quiet connection what traffic does for a busy one: looks after paths and spare connection IDs, and asks a
   * silent peer for a sign of life, so that neither side's idle timeout strikes. A dialer that waits for an answer asks
   * soon: after a change of path on the way, the answers may go where nobody is, until the peer hears from here.
   */
  maintain(nowMs: number, keepAliveMs: number): void {
    if (this.#state.kind !== 'open') return;
    // Nobody renews an acceptor's connection, but the next one may do without the pacer's clock.
    if (this.role === 'acceptor' && this.#rttWatch.isBusy(this.#streams.handedBytes)) {
      this.#findsRttWrong();
    }
    const isDue = nowMs - this.#maintainedMs >= keepAliveMs / 2;
    if (isDue) {
      this.#maintainedMs = nowMs;
      this.#paths.maintain(nowMs);
      this.#size.tick(nowMs);
    }
    const isAwaiting = this.role === 'dialer' && this.openStreams > 0;
    const patienceMs = isAwaiting ? Math.min(AWAITING_MS, keepAliveMs) : keepAliveMs;
    const isSilent = nowMs - this.lastReceivedMs >= patienceMs;
    if (isSilent) this.#native.sendAckEliciting();
    if (isDue || isSilent) this.flush();
  }

  /** Closes with an error that this side found; the peer gets its code and text. */
  fail(error: MeshError): void {
    this.#close(error, error);
  }

  #close(error: MeshError, streamError: MeshError): void {
    if (this.isOver) return;
    this.#flushDatagrams();
    try {
      this.#native.close(true, wireCodeOf(error.code), encodeReason(error.message));
    } catch {
      // Only an already closed connection refuses, which is what was wanted.
    }
    this.#end(error, streamError);
    this.flush();
  }

  /** Forgets the connection at once, without a word to the peer beyond what was sent. For an endpoint that closes. */
  release(): void {
    if (this.#released) return;
    this.#end(new MeshError('ConnectionClosed', 'endpoint closed'));
    this.#release();
  }

  #release(): void {
    this.#released = true;
    this.#timer.stop();
    this.#size.stop();
    this.#paths.release();
    this.#host.released();
  }

  /** Runs one input to its end; whatever it left to send goes out when the turn's input is read. */
  #input(step: () => void): void {
    try {
      step();
    } catch (thrown) {
      this.fail(toMeshError(thrown));
    }
    this.#host.flushSoon();
  }

  /** How far TLS has come. The peer's certificate is checked whenever it could be another. */
  #checkProgress(): void {
    if (this.#native.isEstablished()) this.#establish();
    else if (this.role === 'acceptor' && this.#state.kind === 'connecting') this.#acceptEarly();
  }

  #establish(): void {
    if (!this.#identifyPeer()) return;
    if (this.role === 'dialer') this.#resumption.established();
    clearTimeout(this.#establishTimer);
    this.guard = undefined;
    this.#moveTo({ kind: 'open' });
    this.#probe.begin(this.#shortestIdleMs());
    this.#learnRtt();
    this.#size.established();
    this.#settleOpened(true);
    this.#paths.established();
    this.#host.established();
  }

  #acceptEarly(): void {
    if (!this.#native.isInEarlyData() || !this.#identifyPeer()) return;
    this.#moveTo({ kind: 'early' });
    this.#host.early();
  }

  /** @returns whether the connection goes on */
  #identifyPeer(): boolean {
    try {
      this.#identity = this.#host.verifyPeer(this.#native.peerCertChain() ?? []);
      return true;
    } catch (thrown) {
      // What it is told goes with the end of the TLS handshake, and would take along what waits.
      if (this.role === 'dialer' && this.#state.kind === 'early') this.#streams.unsendEarly();
      this.fail(toMeshError(thrown, 'CertificateInvalid'));
      return false;
    }
  }

  #keepSession(): void {
    const session = this.#released ? undefined : this.#resumption.takeSession();
    if (session !== undefined) this.#host.sessionGiven(session);
  }

  get #isReady(): boolean {
    const { kind } = this.#state;
    return kind === 'open' || kind === 'early';
  }

  #timedOut(): void {
    if (this.#closing !== undefined) {
      this.#timedOutInClosing(this.#closing);
      return;
    }
    this.#native.onTimeout();
    if (this.isOpen) {
      this.#learnRtt();
      this.#size.timedOut(performance.now());
    }
    if (this.#probe.takeProbe(this.#lostPackets)) this.#probeTail();
    this.#input(() => this.#streams.pumpBlocked());
    this.flush();
  }

  /** The idle timeout in force: the shorter one of both sides'; 0 is none (RFC 9000, section 10.1). */
  #shortestIdleMs(): number {
    const peersMs = this.#native.stats().peerMaxIdleTimeout;
    return peersMs > 0 ? Math.min(peersMs, this.#idleTimeoutMs) : this.#idleTimeoutMs;
  }

  #learnRtt(): void {
    const { rttMs } = this;
    if (rttMs !== undefined) this.#probe.learn(rttMs);
  }

  readonly #lostPackets = (): number => this.#native.stats().lost;

  /** So many packets behind a lost one tell the peer's acknowledgement from mere disorder (RFC 9002, section 6.1.1). */
  #probeTail(): void {
    for (let packet = 0; packet < PROBE_PACKETS; packet += 1) {
      this.#native.sendAckEliciting();
      this.#flushDatagrams();
    }
  }

  #createGuards({ native, host, limits }: QuicConnectionOptions): PeerGuards {
    return new PeerGuards({
      native,
      streams: this.#streams,
      counters: host.counters,
      maxWaitingBytes: limits.maxConnectionWindowBytes,
      end: (error) => {
        this.fail(error);
        this.release();
      },
    });
  }

  #createStreams({ native, host, role, limits }: QuicConnectionOptions): QuicStreams {
    return new QuicStreams({
      native,
      role,
      limits,
      counters: this.counters,
      readBuffer: host.readBuffer,
      frameMemory: host.frameMemory,
      host: {
        isReady: () => this.#isReady,
        isEarly: () => this.#state.kind === 'early',
        isOver: () => this.isOver,
        flushSoon: () => host.flushSoon(),
        guard: (step) => this.#input(step),
        proofArrived: (nonce) => {
          this.#size.proofArrived(nonce);
          this.#guards.proofArrived(nonce);
          this.#paths.proofArrived(nonce);
        },
        goAwayArrived: () => this.onGoAway?.(),
      },
    });
  }

  #createPaths({ native, host, role, remoteAddress, migration }: QuicConnectionOptions) {
    return new ConnectionPaths({
      native,
      role,
      remoteAddress,
      migration,
      host: {
        socket: host.socket,
        counters: host.counters,
        routes: host,
        openSocket: (address) => host.openSocket(address),
        closeSocket: (socket) => host.closeSocket(socket),
        isListening: (socket) => host.isListening(socket),
        isOpen: () => this.#state.kind === 'open',
        flushSoon: () => host.flushSoon(),
        askForProof: (nonce) => this.#streams.askForProof(nonce),
        emit: (event) => {
          if (event.kind === 'migrated') this.#pathChanged();
          this.onPathEvent?.(event);
        },
      },
    });
  }

  /** What was learned of the path so far is void. */
  #pathChanged(): void {
    this.#probe.restart();
    this.#restartSize();
  }

  #restartSize(): void {
    this.#size.restart(this.#datagramLimits(this.remoteAddress, this.localAddress));
  }

  #createSize({ native, host }: QuicConnectionOptions): DatagramSize {
    const limits = this.#datagramLimits(this.remoteAddress, this.localAddress);
    return new DatagramSize(native, limits, {
      counters: host.counters,
      sendNext: (maxBytes) => this.#sendNext(maxBytes),
      datagramsSent: () => this.#datagramsSent,
      lostPackets: this.#lostPackets,
      patienceMs: () => this.#probe.patienceMs,
      flush: () => this.flush(),
      holdBack: () => this.#streams.handUpTo(this.#streams.handedBytes),
      askForProof: (nonce) => this.#streams.askForProof(nonce),
      answerProof: (nonce) => this.#streams.answerProof(nonce),
      credit: (bytes) => {
        this.#streams.readBytes += bytes;
      },
      emit: (event) => this.onPathEvent?.(event),
      fail: (error) => this.fail(error),
    });
  }

  #establishTimedOut(): void {
    this.fail(new MeshError('ConnectTimeout', 'QUIC handshake did not finish in time'));
    // Nobody may be there at all: nothing is kept for what could still arrive.
    if (this.role === 'acceptor') this.release();
  }

  /** The flush sends what the binding has to say of it, and ends us. */
  #nativeFailed(thrown: unknown): void {
    const verify = (chain: readonly Uint8Array[]) => this.#host.verifyPeer(chain);
    this.#end(refusalReason(this.#native, thrown, this.isOpen, verify));
  }

  #checkEnded(): void {
    const native = this.#native;
    if (native.isClosed()) {
      this.#end(endReason(native, this.isOpen));
      this.#release();
    } else if (native.isDraining()) {
      this.#end(endReason(native, this.isOpen));
      // Only who has closed may have to say so again; what the peer still had under way is nobody's (RFC 9000, section
      // 10.2.2). Memory of connections that come and go is free at once.
      if (native.peerError() !== null) this.#release();
    }
  }

  /** Ends the connection for its users, once: every stream hears of it, then `closed`. */
  #end(error: MeshError, streamError: MeshError = endOfStreams(error)): void {
    if (!this.#moveTo({ kind: 'closed', error })) return;
    this.#closing = new ClosingPeriod(performance.now());
    this.#size.stop();
    clearTimeout(this.#establishTimer);
    this.#settleOpened(false);
    this.#streams.end(streamError);
    this.#host.ended(error);
    this.#settleClosed(error);
  }

  // ---- Closing ------------------------------------------------------------------------------------------

  #flushClosing(closing: ClosingPeriod): void {
    const native = this.#native;
    while (closing.mayWrite) {
      const datagram = this.#writeClosing();
      if (datagram === undefined) break;
      closing.wrote(datagram, native.isDraining());
    }
    this.#checkEnded();
    if (!this.#released) this.#timer.arm(closing.delayMs(native.timeout(), performance.now()));
  }

  #writeClosing(): Buffer | undefined {
    const memory = this.#sendable(this.#host.sendMemory.room(BASE_DATAGRAM_BYTES));
    if (memory.length === 0) return undefined;
    try {
      const sent = this.#native.send(memory);
      if (sent === null) return undefined;
      const [bytes, { from }] = sent;
      const datagram = this.#host.sendMemory.take(bytes);
      this.#sendClosing(datagram, this.#paths.socketOf(from));
      return datagram;
    } catch {
      // A connection that cannot even say that it is over is forgotten like any other.
      return undefined;
    }
  }

  #answerInClosing(closing: ClosingPeriod): void {
    const packet = closing.arrived();
    if (packet === undefined || this.#sendable(packet).length < packet.length) return;
    this.#sendClosing(packet, this.#paths.current.socket);
  }

  #sendClosing(datagram: Buffer, socket: UdpSocket): void {
    this.guard?.sent(datagram.length);
    this.#host.sendDatagram(datagram, this.#paths.sent(datagram.length), socket);
  }

  #timedOutInClosing(closing: ClosingPeriod): void {
    if (closing.isOver(performance.now())) {
      this.#release();
      return;
    }
    this.#native.onTimeout();
    this.flush();
  }

  /** As much of the memory as may be sent now to a peer that may be elsewhere, or has yet to prove itself. */
  #sendable(memory: Buffer): Buffer {
    const sendable = this.#paths.sendable(memory);
    return this.guard?.sendable(sendable) ?? sendable;
  }

  #moveTo(next: ConnectionState): boolean {
    const state = nextConnectionState(this.#state, next);
    if (state === undefined) return false;
    this.#state = state;
    return true;
  }

  /** @returns whether the binding has nothing more to send now */
  #flushDatagrams(): boolean {
    const guards = this.#guards;
    const size = this.#size;
    const limitBytes = guards.sentBytes + guards.flushBytes;
    for (;;) {
      if (guards.sentBytes >= limitBytes) {
        this.#host.flushSoon();
        return false;
      }
      const bytes = this.#sendNext(size.bytes);
      if (bytes === 0) return true;
      if (this.isOpen) size.sent(bytes);
    }
  }

  /** Sends the next datagram that the binding has, of up to so many bytes. @returns its size; 0 for none */
  #sendNext(maxBytes: number): number {
    const memory = this.#host.sendMemory;
    const room = this.#sendable(memory.room(maxBytes));
    if (room.length === 0) return 0;
    let sent: ReturnType<NativeConnection['send']>;
    try {
      sent = this.#native.send(room);
    } catch (thrown) {
      this.#nativeFailed(thrown);
      return 0;
    }
    if (sent === null) return 0;
    const [bytes, { from }] = sent;
    this.guard?.sent(bytes);
    this.#guards.sentBytes += bytes;
    this.#streams.sent(bytes);
    this.#datagramsSent += 1;
    const remote = this.#paths.sent(bytes);
    this.#host.sendDatagram(memory.take(bytes), remote, this.#paths.socketOf(from));
    return bytes;
  }
}
