/**
 * The life of one QUIC connection, and its loop: `receive -> readStreams -> flush -> armTimer`, synchronously from the
 * datagram to the handler. RFC 9000; SPEC.md, "QUIC".
 *
 * The native connection is a state machine without I/O: datagrams and timeouts go in, datagrams and stream bytes come
 * out. What sends, waits and judges on the way has files of its own: `datagram-pump.ts`, `loss-timer.ts`,
 * `replacement-check.ts`, `../paths`, `../streams` and `../guards`.
 */
import type { ByteAccount } from '../../../base/byte-budget.js';
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
  type StreamOptions,
} from '../../connection.js';
import { isSameAddress } from '../../socket-address.js';
import { unprovedFailure } from '../../unproved.js';
import type { HalfOpenGuard } from '../admission/half-open-guard.js';
import { endOfStreams, endReason, refusalReason } from '../binding/end-reason.js';
import type { NativeConnection } from '../binding/native.js';
import type { PeerGuards } from '../guards/peer-guards.js';
import { hasLongHeader, isOfHandshake, isRetry } from '../io/packet.js';
import type { SendFailures } from '../io/send-failures.js';
import type { UdpSocket } from '../io/udp-socket.js';
import type { DatagramSize } from '../paths/datagram-size.js';
import type { Path } from '../paths/path.js';
import type { Arrival, ConnectionPaths } from '../paths/paths.js';
import { Resumption } from '../resumption/resumption.js';
import type { QuicStreams } from '../streams/streams.js';
import { ClosingPeriod } from './closing-period.js';
import type { ConnectionHost, QuicConnectionOptions } from './connection-host.js';
import { ConnectionParts } from './connection-parts.js';
import type { DatagramPump } from './datagram-pump.js';
import { activePath, type LossTimer } from './loss-timer.js';
import type { ReplacementCheck } from './replacement-check.js';
import { SignsOfLife } from './signs-of-life.js';
import { Upkeep } from './upkeep.js';

const TOO_SLOW = 'QUIC handshake did not finish in time';
const UNANSWERED =
  'nobody answered over QUIC: a silent node answers only who has its node id, cluster, time, and CA or secret';

/** A QUIC connection, dialed or accepted. It tells its {@link ConnectionHost} how far it is. */
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
  onPathEvent: ((event: PathEvent) => void) | undefined;
  onGoAway: (() => void) | undefined;

  readonly #native: NativeConnection;
  readonly #host: ConnectionHost;
  readonly #parts: ConnectionParts;
  readonly #streams: QuicStreams;
  readonly #resumption: Resumption;
  /** Until TLS is done. */
  #establishTimer: NodeJS.Timeout | undefined;
  readonly #paths: ConnectionPaths;
  readonly #guards: PeerGuards;
  readonly #size: DatagramSize;
  readonly #pump: DatagramPump;
  readonly #timer: LossTimer;
  readonly #replacement: ReplacementCheck;
  readonly #life: SignsOfLife;
  readonly #upkeep: Upkeep;
  #settleOpened: (opened: boolean) => void = () => {};
  #settleClosed: (error: MeshError) => void = () => {};
  #state: ConnectionState = { kind: 'connecting' };
  #identity: PeerIdentity | undefined;
  #released = false;
  /** Set from when the connection is over until it is forgotten. */
  #closing: ClosingPeriod | undefined;

  constructor(options: QuicConnectionOptions) {
    this.#native = options.native;
    this.#resumption = new Resumption(options.native);
    this.#host = options.host;
    this.role = options.role;
    const nowMs = performance.now();
    this.#life = new SignsOfLife(nowMs);
    this.#upkeep = new Upkeep(options, nowMs);
    this.#parts = this.#createParts(options);
    this.#timer = this.#parts.timer;
    this.#paths = this.#parts.paths;
    this.#streams = this.#parts.streams;
    this.#guards = this.#parts.guards;
    this.#size = this.#parts.size;
    this.#pump = this.#parts.pump;
    this.#replacement = this.#parts.replacement;
    this.opened = new Promise((resolve) => {
      this.#settleOpened = resolve;
    });
    this.closed = new Promise((resolve) => {
      this.#settleClosed = resolve;
    });
    this.#establishTimer = setTimeout(() => this.#establishTimedOut(), options.connectTimeoutMs);
  }

  /** The limits for a peer that has yet to prove itself; `undefined` once it has. */
  get guard(): HalfOpenGuard | undefined {
    return this.#pump.guard;
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

  /** When a datagram of the peer last arrived, on the clock of `performance.now()`. Noise of others does not count. */
  get lastReceivedMs(): number {
    return this.#life.heardMs;
  }

  get localAddress(): SocketAddress {
    return this.#paths.localAddress;
  }

  get remoteAddress(): SocketAddress {
    return this.#paths.remoteAddress;
  }

  /** Where the peer's datagrams arrive, and the address that it has been proved to send them from. */
  get arrival(): Arrival {
    return this.#paths.arrival;
  }

  /** Whether datagrams of the connection leave by this socket. */
  sendsBy(socket: UdpSocket): boolean {
    return this.#paths.current.socket === socket;
  }

  get rttMs(): number | undefined {
    return this.#released ? undefined : activePath(this.#native)?.rtt;
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

  get account(): ByteAccount | undefined {
    return this.#guards.account;
  }

  set account(account: ByteAccount | undefined) {
    this.#guards.account = account;
  }

  expectHandshake(): void {
    this.#streams.isHandshaking = true;
  }

  /** Whether the peer's handshake is under way. */
  get isHandshaking(): boolean {
    return this.#streams.isHandshaking;
  }

  applyLimits(limits: AgreedLimits): void {
    this.#streams.applyLimits(limits);
    this.#host.agreed();
  }

  async close(code: MeshErrorCode = 'NoError', reason = ''): Promise<void> {
    this.#close(
      new MeshError(code, reason || `closed with ${code}`),
      new MeshError('ConnectionClosed', 'connection was closed by this side'),
    );
    await this.closed;
  }

  /** Whether anything came for it, were it no good. */
  get hasReceived(): boolean {
    return this.#replacement.datagramsReceived > 0;
  }

  /** Whether this is the peer's proved address. */
  isRemote(address: SocketAddress): boolean {
    return isSameAddress(this.#paths.remoteAddress, address);
  }

  /** A datagram for this connection. The binding decrypts it in place. */
  receive(datagram: Buffer, from: SocketAddress, socket: UdpSocket, connectionId: string): void {
    if (this.#released) return;
    if (this.#closing !== undefined) {
      this.#answerInClosing(this.#closing);
      return;
    }
    if (this.role === 'dialer' && hasLongHeader(datagram) && this.#isLate(datagram)) {
      this.#host.counters.droppedLateHandshake += 1;
      return;
    }
    const nowMs = performance.now();
    const path = this.#paths.route(from, socket, connectionId, nowMs);
    if (path === undefined) return;
    this.#streams.nowMs = nowMs;
    const isElsewhere = this.#paths.isElsewhere(from, socket);
    try {
      if (!this.#take(datagram, path, isElsewhere ? { from, socket } : undefined, nowMs)) return;
    } catch (thrown) {
      this.fail(toMeshError(thrown));
    }
    this.#replacement.datagramsReceived += 1;
    this.#host.flushSoon();
    if (!isElsewhere) this.#paths.received(datagram.length);
    this.#guards.received(datagram.length, nowMs);
  }

  /**
   * Whether a dialer's handshake is past what anybody can write who saw its first packet. quiche 0.18.0 keeps the keys of Initial
   * packets until it has sent a Handshake packet (RFC 9001, section 4.9.1), and takes a Retry at any time (against RFC 9000,
   * section 17.2.5.2): either would end an open connection, in the peer's name.
   */
  #isLate(datagram: Buffer): boolean {
    if (this.isOpen) return !isOfHandshake(datagram);
    return isRetry(datagram) && this.#packetsReceived() > 0;
  }

  /**
   * @param elsewhere the datagram's source and socket, if they are not those of the peer so far
   * @returns whether anything may follow from it
   */
  #take(datagram: Buffer, path: Path, elsewhere: Elsewhere | undefined, nowMs: number): boolean {
    const wasOpen = this.isOpen;
    const isEarly = !wasOpen && elsewhere === undefined;
    try {
      if (!isEarly) this.#life.arrives(nowMs, this.#packetsReceived, elsewhere !== undefined);
      if (wasOpen) this.#parts.arrives();
      this.#native.recv(datagram, path);
      if (!wasOpen) this.#pump.advanceTls();
    } catch (thrown) {
      this.#nativeFailed(thrown);
      return true;
    }
    this.#guards.binding(nowMs);
    if (isEarly) this.#life.arrivedEarly(nowMs);
    else if (!this.#life.arrived(nowMs, this.#packetsReceived)) return this.#native.isClosed();
    else if (elsewhere !== undefined) this.#follow(elsewhere, datagram.length, nowMs);
    this.#size.received(datagram.length, nowMs);
    this.#timer.received();
    if (!wasOpen) this.#checkProgress();
    if (this.#isReady) this.#streams.progress();
    if (this.#resumption.isLooking) this.#keepSession();
    return true;
  }

  /** Follows the peer by a datagram that is authentic and new: anybody can send others, or send one again. */
  #follow({ from, socket }: Elsewhere, bytes: number, nowMs: number): void {
    this.#paths.follow(from, socket, bytes, nowMs);
    this.#parts.restartSize();
  }

  readonly #packetsReceived = (): number => this.#native.stats().recv;

  /**
   * Lets a dialer whose first flight resumes a session use early streams, if the session allows early data.
   * @returns whether it does
   */
  beginEarly(): boolean {
    if (this.#state.kind !== 'connecting' || !this.#native.isInEarlyData()) return false;
    if (!this.#identifyPeer()) return false;
    this.#resumption.beginEarly();
    return this.#moveTo({ kind: 'early' });
  }

  /** Whether TLS resumed a session, and so accepted the early data that was sent with it. */
  get isResumed(): boolean {
    return this.#native.isResumed();
  }

  /**
   * Handles a datagram from the peer's address whose connection ID belongs to no connection. The binding tells whether it ends
   * with the token of a stateless reset. Otherwise it is ignored. Leaves the datagram as it is.
   *
   * The peer gives the token at the end of the handshake. Before that, quiche 0.18.0 uses the token of the session that it
   * resumes, against RFC 9000, section 7.4.1. So nothing is asked before the connection is open.
   * @returns whether it was a reset, and the connection is over
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

  /** Sends what there is to send, and arms the timer for what comes next. */
  flush(): void {
    if (this.#released) return;
    if (this.#closing !== undefined) {
      this.#flushClosing(this.#closing);
      return;
    }
    if (this.#paths.isMaintenanceDue) this.#paths.maintain();
    let isDone = this.#pump.flush();
    if (this.isOpen) {
      this.#guards.settle();
      if (this.#streams.writer.markSent()) isDone = this.#pump.flush();
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
    if (!this.isOpen) {
      this.#timer.armHandshake();
      return;
    }
    const nowMs = performance.now();
    this.#timer.armOpen(nowMs - this.lastReceivedMs);
    if (this.#upkeep.mustWake(this.#activity, this.#paths.isMaintenanceDue)) {
      this.#host.maintainAt(this.#upkeep.wake(nowMs));
    }
  }

  get needsReplacement(): boolean {
    return !this.#released && this.#replacement.isDue(this.lastReceivedMs);
  }

  migrate(options: MigrateOptions): Promise<void> {
    return this.#paths.migrate(options);
  }

  /** Sends a PING frame. It needs no stream, and neither congestion nor flow control holds it up for long. */
  probe(): void {
    if (this.#state.kind !== 'open') return;
    this.#native.sendAckEliciting();
    this.#host.flushSoon();
  }

  get hasStreamRoom(): boolean {
    return this.#streams.hasRoom;
  }

  /** Some datagrams could not be sent: leaves the path in use if it is gone. */
  checkPath(failures: SendFailures): void {
    this.#paths.check(failures);
  }

  /**
   * Does for an idle connection what traffic does for a busy one: maintains paths and spare connection IDs, and asks a silent
   * peer for a datagram, so that neither side's idle timeout strikes. A dialer that waits for an answer asks soon. If a NAT has
   * changed its address, answers go astray until the peer hears from it. See {@link Upkeep}.
   */
  maintain(nowMs: number): void {
    if (this.#state.kind !== 'open') return;
    const { maintains, asks, nextMs } = this.#upkeep.look(nowMs, {
      heardMs: this.lastReceivedMs,
      activity: this.#activity,
      isAwaiting: this.role === 'dialer' && this.openStreams > 0,
      isUnsettled: this.#paths.isMaintenanceDue,
    });
    this.#host.maintainAt(nextMs);
    if (maintains) {
      this.#paths.maintain(nowMs);
      this.#size.tick(nowMs);
    }
    if (asks) this.#native.sendAckEliciting();
    if (maintains || asks) this.flush();
  }

  get #activity(): number {
    const { framesSent, framesReceived, streamsOpened, streamsAccepted } = this.counters;
    return framesSent + framesReceived + streamsOpened + streamsAccepted;
  }

  /** Closes with an error that this side found; the peer gets its code and text. */
  fail(error: MeshError): void {
    this.#close(error, error);
  }

  #close(error: MeshError, streamError: MeshError): void {
    if (this.isOver) return;
    this.#pump.flushAll();
    try {
      this.#native.close(true, wireCodeOf(error.code), encodeReason(error.message));
    } catch {
      // Only an already closed connection refuses, which is what was wanted.
    }
    this.#end(error, streamError);
    this.flush();
  }

  /** Forgets the connection at once, and sends nothing more. For an endpoint that closes. */
  release(): void {
    if (this.#released) return;
    this.#end(new MeshError('ConnectionClosed', 'endpoint closed'));
    this.#release();
  }

  #release(): void {
    this.#released = true;
    this.#timer.stop();
    this.#pump.stop();
    this.#size.stop();
    this.#paths.release();
    this.#host.released();
  }

  /** Runs one step. What it leaves to send goes out when this turn's input is read. */
  #input(step: () => void): void {
    try {
      step();
    } catch (thrown) {
      this.fail(toMeshError(thrown));
    }
    this.#host.flushSoon();
  }

  /** Looks how far TLS is. The peer's certificate is checked whenever it may be another one. */
  #checkProgress(): void {
    if (this.#native.isEstablished()) this.#establish();
    else if (this.role === 'acceptor' && this.#state.kind === 'connecting') this.#acceptEarly();
  }

  #establish(): void {
    if (this.#isClosedByAnybody || !this.#identifyPeer()) return;
    if (this.role === 'dialer') this.#resumption.established();
    this.#stopEstablishTimer();
    this.#pump.established();
    this.#moveTo({ kind: 'open' });
    this.#life.established(this.#packetsReceived());
    this.#timer.established();
    this.#size.established();
    this.#settleOpened(true);
    this.#paths.established();
    this.#host.established();
  }

  /**
   * Whether a close came in or before the datagram that ended TLS, in a packet that anybody can write. An application's close is
   * none: it takes the keys of TLS's end.
   */
  get #isClosedByAnybody(): boolean {
    if (this.role === 'acceptor' || !this.#native.isDraining()) return false;
    return this.#native.peerError()?.isApp === false;
  }

  #acceptEarly(): void {
    if (!this.#native.isInEarlyData() || !this.#identifyPeer()) return;
    this.#moveTo({ kind: 'early' });
    this.#host.early();
  }

  /** Checks the peer's certificate. @returns whether the connection goes on */
  #identifyPeer(): boolean {
    try {
      this.#identity = this.#host.verifyPeer(this.#native.peerCertChain() ?? []);
      return true;
    } catch (thrown) {
      // The close goes with the end of the TLS handshake, and would take along the early data that waits.
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
      this.#timer.learnRtt();
      this.#parts.lookAtWindow();
      this.#size.timedOut(performance.now());
    }
    if (this.#timer.takeProbe()) this.#pump.probeTail();
    this.#input(() => this.#streams.writer.pumpBlocked());
    this.flush();
  }

  #createParts(options: QuicConnectionOptions): ConnectionParts {
    return new ConnectionParts(options, {
      counters: this.counters,
      isOpen: () => this.isOpen,
      isReady: () => this.#isReady,
      isEarly: () => this.#state.kind === 'early',
      isOver: () => this.isOver,
      guard: (step) => this.#input(step),
      peerIdentity: () => this.peerIdentity,
      timedOut: () => this.#timedOut(),
      flush: () => this.flush(),
      nativeFailed: (thrown) => this.#nativeFailed(thrown),
      fail: (error) => this.fail(error),
      abandon: (error) => {
        this.fail(error);
        this.release();
      },
      emit: (event) => this.onPathEvent?.(event),
      goAwayArrived: () => this.onGoAway?.(),
    });
  }

  #stopEstablishTimer(): void {
    clearTimeout(this.#establishTimer);
    this.#establishTimer = undefined;
  }

  #establishTimedOut(): void {
    this.fail(new MeshError('ConnectTimeout', this.hasReceived ? TOO_SLOW : UNANSWERED));
    // There may be no peer at all: no memory is kept for datagrams that could still arrive.
    if (this.role === 'acceptor') this.release();
  }

  /** The native connection failed. The next flush sends its close, and releases the connection. */
  #nativeFailed(thrown: unknown): void {
    const verify = (chain: readonly Uint8Array[]) => this.#host.verifyPeer(chain);
    this.#end(this.#reasonOf(refusalReason(this.#native, thrown, this.isOpen, verify)));
  }

  #checkEnded(): void {
    const native = this.#native;
    if (native.isClosed()) {
      this.#end(this.#reasonOf(endReason(native, this.isOpen)));
      this.#release();
    } else if (native.isDraining()) {
      this.#end(this.#reasonOf(endReason(native, this.isOpen)));
      // Only the side that closed may have to repeat its close (RFC 9000, section 10.2.2). If the peer closed, the connection
      // is forgotten at once, which frees its memory.
      if (native.peerError() !== null) this.#release();
    }
  }

  /** Until a dialer knows its peer, anybody on the path may have written what ended the connection. */
  #reasonOf(error: MeshError): MeshError {
    return this.role === 'acceptor' || this.isOpen ? error : unprovedFailure(error);
  }

  /** Ends the connection for its users, once: first its streams end, then `closed` fulfils. */
  #end(error: MeshError, streamError: MeshError = endOfStreams(error)): void {
    if (!this.#moveTo({ kind: 'closed', error })) return;
    this.#closing = new ClosingPeriod(performance.now());
    this.#size.stop();
    this.#stopEstablishTimer();
    this.#settleOpened(false);
    this.#streams.end(streamError);
    this.#guards.end();
    this.#host.ended(error);
    this.#settleClosed(error);
  }

  // ---- Closing ------------------------------------------------------------------------------------------

  #flushClosing(closing: ClosingPeriod): void {
    const native = this.#native;
    while (closing.mayWrite) {
      const datagram = this.#pump.sendClosing();
      if (datagram === undefined) break;
      closing.wrote(datagram, native.isDraining());
    }
    this.#checkEnded();
    if (!this.#released) {
      this.#timer.armClosing(closing.delayMs(native.timeout(), performance.now()));
    }
  }

  #answerInClosing(closing: ClosingPeriod): void {
    const packet = closing.arrived();
    if (packet !== undefined) this.#pump.repeat(packet);
  }

  #timedOutInClosing(closing: ClosingPeriod): void {
    if (closing.isOver(performance.now())) {
      this.#release();
      return;
    }
    this.#native.onTimeout();
    this.flush();
  }

  #moveTo(next: ConnectionState): boolean {
    const state = nextConnectionState(this.#state, next);
    if (state === undefined) return false;
    this.#state = state;
    return true;
  }
}

/** Where a datagram came from, and where it arrived. */
interface Elsewhere {
  readonly from: SocketAddress;
  readonly socket: UdpSocket;
}
