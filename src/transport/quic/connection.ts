/**
 * Drives one native QUIC connection: `receive -> readStreams -> flush -> armTimer`, synchronously from the
 * datagram to the handler. RFC 9000; SPEC.md, "QUIC".
 *
 * The binding's connection is a state machine without I/O: datagrams and timeouts go in, datagrams and stream
 * bytes come out. Two of its habits shape this file. Streams past the peer's limit throw, so they wait in line
 * here. And a stream that is reset while quiche holds unsent bytes of it is never released, so whatever is
 * unsent is flushed before a reset.
 */
import {
  codeOfWire,
  MeshError,
  type MeshErrorCode,
  toMeshError,
  wireCodeOf,
} from '../../errors.js';
import { encodeReason } from '../../protocol/control.js';
import { Compression, FrameDecoder } from '../../protocol/frame.js';
import {
  type AgreedLimits,
  type Connection,
  type ConnectionCounters,
  type ConnectionState,
  type FrameStream,
  type FrameStreamHandler,
  nextConnectionState,
  type PeerIdentity,
  type Role,
  type SocketAddress,
  type StreamLimits,
} from '../connection.js';
import { errorOfClose } from './close-codes.js';
import { CONTROL_STREAM_ID, ControlReceiver, ControlSender } from './control-stream.js';
import { type NativeConnection, readNativeFailure, SHUTDOWN_WRITE } from './native.js';
import type { Slab } from './slab.js';
import { QuicStream, type StreamIo, streamIdOf } from './stream.js';

/** What a connection asks of the endpoint it lives on. */
export interface ConnectionHost {
  readonly localAddress: SocketAddress;
  /** Memory for outgoing datagrams, shared by all connections of the endpoint. */
  readonly sendSlab: Slab;
  /** Memory for stream bytes, likewise. */
  readonly readSlab: Slab;
  sendDatagram(datagram: Buffer, to: SocketAddress): void;
  /** Calls `connection.flush()` once this turn's input is read. */
  flushSoon(connection: QuicConnection): void;
  /** Checks the peer's certificates. @throws MeshError with a Certificate* code */
  verifyPeer(connection: QuicConnection, chain: readonly Uint8Array[]): PeerIdentity;
  /** TLS is done and the peer's certificate is good. */
  established(connection: QuicConnection): void;
  /** The connection is over for its users. Called once. */
  ended(connection: QuicConnection, error: MeshError): void;
  /** The binding's connection has drained as well: its connection IDs may be forgotten. */
  released(connection: QuicConnection): void;
}

export interface QuicConnectionOptions {
  readonly native: NativeConnection;
  readonly host: ConnectionHost;
  readonly role: Role;
  readonly remoteAddress: SocketAddress;
  readonly limits: StreamLimits;
  /** Certificate, address and handshake must be done by then. */
  readonly connectTimeoutMs: number;
}

const NOTHING = Buffer.alloc(0);
/** Streams tried one by one for room; with more blocked than this, the binding is asked which are writable. */
const FEW_BLOCKED = 8;

export class QuicConnection implements Connection, StreamIo {
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
  readonly closed: Promise<MeshError>;
  /** When a datagram last arrived, on the clock of `performance.now()`. */
  lastReceivedMs = performance.now();
  maxMessageBytes: number;
  checksum = true;
  readonly sendHighWaterBytes: number;

  readonly #native: NativeConnection;
  readonly #host: ConnectionHost;
  readonly #limits: StreamLimits;
  readonly #settleClosed: (error: MeshError) => void;
  #remoteAddress: SocketAddress;
  #receiveInfo: { from: SocketAddress; to: SocketAddress };
  #state: ConnectionState = { kind: 'connecting' };
  #identity: PeerIdentity | undefined;
  #onStream: ((stream: FrameStream) => FrameStreamHandler) | undefined;

  /** Streams that have a place on the wire, by QUIC's id. */
  readonly #streams = new Map<number, QuicStream>();
  /** Streams in line for a place, in order. */
  #waiting = new Set<QuicStream>();
  readonly #blocked = new Set<QuicStream>();
  /** Streams abandoned while QUIC may hold unsent bytes of them: reset after the next input made room to send those. */
  #lateResets: { id: number; code: MeshErrorCode }[] = [];
  #localStreams = 0;
  #nextStreamId: number;
  /** Streams that the peer still allows, as last asked. */
  #streamsLeft = 0;
  #controlSender = new ControlSender();
  #controlReceiver = new ControlReceiver();

  #timer: NodeJS.Timeout | undefined;
  #timerAtMs = Number.POSITIVE_INFINITY;
  #deadlineMs = Number.POSITIVE_INFINITY;
  #establishTimer: NodeJS.Timeout | undefined;
  #released = false;

  constructor(options: QuicConnectionOptions) {
    this.#native = options.native;
    this.#host = options.host;
    this.role = options.role;
    this.#limits = options.limits;
    this.maxMessageBytes = options.limits.maxMessageBytes;
    this.sendHighWaterBytes = options.limits.sendHighWaterBytes;
    this.#remoteAddress = options.remoteAddress;
    this.#receiveInfo = { from: options.remoteAddress, to: options.host.localAddress };
    this.#nextStreamId = options.role === 'dialer' ? 0 : 1;
    let settle: (error: MeshError) => void = () => {};
    this.closed = new Promise((resolve) => {
      settle = resolve;
    });
    this.#settleClosed = settle;
    this.#establishTimer = setTimeout(() => this.#establishTimedOut(), options.connectTimeoutMs);
  }

  get state(): ConnectionState {
    return this.#state;
  }

  get peerIdentity(): PeerIdentity {
    if (this.#identity === undefined)
      throw new MeshError('InternalError', 'peer is not verified yet');
    return this.#identity;
  }

  get localAddress(): SocketAddress {
    return this.#host.localAddress;
  }

  get remoteAddress(): SocketAddress {
    return this.#remoteAddress;
  }

  get rttMs(): number | undefined {
    return this.#released ? undefined : this.#native.pathStats().find((path) => path.active)?.rtt;
  }

  get openStreams(): number {
    return this.#localStreams + this.#waiting.size;
  }

  get onStream(): ((stream: FrameStream) => FrameStreamHandler) | undefined {
    return this.#onStream;
  }

  set onStream(accept: ((stream: FrameStream) => FrameStreamHandler) | undefined) {
    this.#onStream = accept;
    if (this.#state.kind === 'open') this.#input(() => this.#readStreams());
  }

  openStream(handler: FrameStreamHandler): FrameStream {
    if (this.#state.kind === 'closing' || this.#state.kind === 'closed') throw this.#closedError();
    if (this.#waiting.size >= this.#limits.maxQueuedStreams) {
      throw new MeshError(
        'Overloaded',
        `${this.#waiting.size} streams wait for the peer's stream limit`,
      );
    }
    return new QuicStream(this, 'local', handler, this.#newDecoder());
  }

  applyLimits(limits: AgreedLimits): void {
    // QUIC's own transport parameters already carry the stream limits.
    this.maxMessageBytes = limits.maxMessageBytes;
    this.checksum = limits.checksum;
  }

  async close(code: MeshErrorCode = 'NoError', reason = ''): Promise<void> {
    this.fail(new MeshError(code, reason || `closed with ${code}`));
    await this.closed;
  }

  // ---- Input: datagrams and time ------------------------------------------------------------------------

  /** A datagram for this connection. The binding decrypts it in place. */
  receive(datagram: Buffer, from: SocketAddress): void {
    if (this.#released) return;
    this.lastReceivedMs = performance.now();
    const known = this.#receiveInfo.from;
    if (known.port !== from.port || known.host !== from.host) {
      this.#receiveInfo = {
        from: { host: from.host, port: from.port },
        to: this.#host.localAddress,
      };
      this.#remoteAddress = this.#receiveInfo.from;
    }
    this.#input(() => {
      try {
        this.#native.recv(datagram, this.#receiveInfo);
      } catch (thrown) {
        this.#nativeFailed(thrown);
        return;
      }
      if (this.#state.kind === 'connecting') this.#checkEstablished();
      if (this.#state.kind === 'open') {
        if (this.#lateResets.length > 0) this.#sendLateResets();
        this.#readStreams();
        this.#openWaiting();
        this.#pumpBlocked();
      }
    });
  }

  /** Sends what QUIC has to send, and sets the clock for what it waits for. */
  flush(): void {
    if (this.#released) return;
    this.#flushDatagrams();
    this.#checkEnded();
    this.#armTimer();
  }

  /** Asks the peer for a sign of life, so that neither side's idle timeout strikes. */
  keepAlive(): void {
    if (this.#state.kind !== 'open') return;
    this.#native.sendAckEliciting();
    this.flush();
  }

  /** Closes with an error that this side found; the peer gets its code and text. */
  fail(error: MeshError): void {
    if (this.#state.kind === 'closing' || this.#state.kind === 'closed') return;
    this.#flushDatagrams();
    try {
      this.#native.close(true, wireCodeOf(error.code), encodeReason(error.message));
    } catch {
      // Only an already closed connection refuses, which is what was wanted.
    }
    this.#end(error);
    this.flush();
  }

  /** Forgets the connection at once, without a word to the peer beyond what was sent. For an endpoint that closes. */
  release(): void {
    if (this.#released) return;
    this.#end(new MeshError('ConnectionClosed', 'endpoint closed'));
    this.#released = true;
    clearTimeout(this.#timer);
    this.#host.released(this);
  }

  /** Runs one input to its end; whatever it left to send goes out when the turn's input is read. */
  #input(step: () => void): void {
    try {
      step();
    } catch (thrown) {
      this.fail(toMeshError(thrown));
    }
    this.#host.flushSoon(this);
  }

  #checkEstablished(): void {
    if (!this.#native.isEstablished()) return;
    try {
      this.#identity = this.#host.verifyPeer(this, this.#native.peerCertChain() ?? []);
    } catch (thrown) {
      this.fail(toMeshError(thrown, 'CertificateInvalid'));
      return;
    }
    clearTimeout(this.#establishTimer);
    this.#moveTo({ kind: 'open' });
    this.#host.established(this);
  }

  #establishTimedOut(): void {
    this.fail(new MeshError('ConnectTimeout', 'QUIC handshake did not finish in time'));
  }

  #nativeFailed(thrown: unknown): void {
    const { name } = readNativeFailure(thrown);
    // The binding has closed by itself and knows the alert or the code; the flush sends it and ends us.
    const close = this.#native.localError();
    const error =
      close === null
        ? new MeshError('ProtocolViolation', `QUIC refused a datagram: ${name}`, { cause: thrown })
        : this.#localCloseError(close);
    this.#end(error);
  }

  /** An alert names little; the certificate itself tells what was wrong with it. */
  #localCloseError(close: { isApp: boolean; errorCode: number; reason: Uint8Array }): MeshError {
    const error = errorOfClose(close, 'local');
    const chain = this.#native.peerCertChain();
    if (chain === null || !error.code.startsWith('Certificate')) return error;
    try {
      this.#host.verifyPeer(this, chain);
      return error;
    } catch (thrown) {
      return toMeshError(thrown, error.code);
    }
  }

  #checkEnded(): void {
    const native = this.#native;
    if (native.isClosed()) {
      this.#end(this.#endReason());
      this.#released = true;
      clearTimeout(this.#timer);
      this.#host.released(this);
    } else if (native.isDraining()) {
      this.#end(this.#endReason());
    }
  }

  #endReason(): MeshError {
    const native = this.#native;
    const peer = native.peerError();
    if (peer !== null) return errorOfClose(peer, 'remote');
    if (native.isTimedOut()) {
      return this.#state.kind === 'connecting'
        ? new MeshError('ConnectTimeout', 'no answer from the peer')
        : new MeshError('IdleTimeout', 'nothing was heard of the peer for the idle timeout');
    }
    const local = native.localError();
    if (local !== null) return errorOfClose(local, 'local');
    return new MeshError('ConnectionLost', 'connection was reset by the peer', { side: 'remote' });
  }

  /** Ends the connection for its users, once: every stream hears of it, then `closed`. */
  #end(error: MeshError): void {
    if (!this.#moveTo({ kind: 'closed', error })) return;
    clearTimeout(this.#establishTimer);
    const streamError = this.#closedError();
    const streams = [...this.#streams.values(), ...this.#waiting];
    this.#waiting.clear();
    this.#blocked.clear();
    for (const stream of streams) stream.receiveReset(streamError);
    this.#streams.clear();
    this.#host.ended(this, error);
    this.#settleClosed(error);
  }

  #moveTo(next: ConnectionState): boolean {
    const state = nextConnectionState(this.#state, next);
    if (state === undefined) return false;
    this.#state = state;
    return true;
  }

  /** What a call meets on a connection that is over: an orderly close is an error to whoever still wanted it. */
  #closedError(): MeshError {
    const state = this.#state;
    if (state.kind !== 'closed' && state.kind !== 'closing')
      return new MeshError('InternalError', 'connection is open');
    const { error } = state;
    if (error.code !== 'NoError') return error;
    return new MeshError('ConnectionClosed', 'connection is closed', {
      side: error.side,
      cause: error,
    });
  }

  // ---- Reading ------------------------------------------------------------------------------------------

  #readStreams(): void {
    for (const id of this.#native.readable()) {
      if (this.#state.kind !== 'open') return;
      const stream = this.#streams.get(id) ?? this.#unknownStream(id);
      if (stream !== undefined) this.#readStream(stream);
    }
  }

  /** A stream that the peer just opened; the control stream; or the rest of one that is over, to be dropped. */
  #unknownStream(id: number): QuicStream | undefined {
    if ((id & 2) !== 0) {
      this.#readControl(id);
      return undefined;
    }
    const isPeers = (id & 1) === (this.role === 'dialer' ? 1 : 0);
    if (!isPeers) {
      this.#drop(id);
      return undefined;
    }
    if (this.#onStream === undefined) return undefined;
    const stream = new QuicStream(this, 'remote', UNHANDLED, this.#newDecoder());
    stream.id = id;
    this.#streams.set(id, stream);
    this.counters.streamsAccepted += 1;
    stream.handler = this.#onStream(stream);
    return stream;
  }

  #readStream(stream: QuicStream): void {
    while (!stream.isPaused && this.#streams.get(stream.id) === stream) {
      const read = this.#streamRecv(stream);
      if (read === undefined) return;
      stream.receive(read.bytes, read.fin);
      if (read.fin) return;
    }
  }

  #streamRecv(stream: QuicStream): { bytes: Buffer; fin: boolean } | undefined {
    const slab = this.#host.readSlab;
    try {
      const read = this.#native.streamRecv(stream.id, slab.room());
      if (read === null) return undefined;
      return { bytes: slab.take(read[0]), fin: read[1] };
    } catch (thrown) {
      this.#streamFailed(stream, thrown);
      return undefined;
    }
  }

  #readControl(id: number): void {
    const peerRole = this.role === 'dialer' ? 'acceptor' : 'dialer';
    const slab = this.#host.readSlab;
    for (;;) {
      let read: [number, boolean] | null;
      try {
        read = this.#native.streamRecv(id, slab.room());
      } catch {
        read = [0, true];
      }
      if (read === null) return;
      if (id !== CONTROL_STREAM_ID[peerRole] || read[1]) {
        throw new MeshError(
          'ProtocolViolation',
          'the control stream is the only unidirectional one, and never ends',
        );
      }
      this.#controlReceiver.receive(slab.take(read[0]), (messageId, error) => {
        this.#streams.get(streamIdOf(messageId))?.receiveNotice(error);
      });
    }
  }

  /** Reads and forgets what arrives on a stream that is over. */
  #drop(id: number): void {
    try {
      while (this.#native.streamRecv(id, this.#host.readSlab.room()) !== null);
    } catch {
      // Reset or collected: nothing is left to drop.
    }
  }

  /** The binding refused a read or a write: the peer reset the stream, stopped it, or QUIC is done with it. */
  #streamFailed(stream: QuicStream, thrown: unknown): void {
    const { name, value } = readNativeFailure(thrown);
    if (name === 'StreamReset' || name === 'StreamStopped') {
      const code = codeOfWire(value ?? -1) ?? 'StreamReset';
      const error = new MeshError(code, `stream reset with ${code}`, { side: 'remote' });
      if (name === 'StreamReset') stream.receiveReset(error);
      else stream.receiveNotice(error);
      return;
    }
    const text = `QUIC ended the stream: ${name}`;
    stream.receiveReset(new MeshError('StreamReset', text, { side: 'remote', cause: thrown }));
  }

  // ---- What streams ask for -----------------------------------------------------------------------------

  open(stream: QuicStream): void {
    this.#waiting.add(stream);
    if (this.#state.kind === 'open') this.#openWaiting();
  }

  write(stream: QuicStream, bytes: Uint8Array, fin: boolean): number {
    let took: number | null;
    try {
      took = this.#native.streamSend(stream.id, bytes, fin);
    } catch (thrown) {
      this.#streamFailed(stream, thrown);
      return 0;
    }
    if ((took ?? 0) < bytes.length) this.#blocked.add(stream);
    this.#host.flushSoon(this);
    return took ?? 0;
  }

  abandon(stream: QuicStream, code: MeshErrorCode, reason: string): void {
    this.counters.streamsReset += 1;
    const wasBlocked = this.#blocked.delete(stream);
    if (this.#waiting.delete(stream) || this.#state.kind !== 'open') return;
    if (stream.hasEnded) {
      this.#controlSender.notify(stream.messageId, code, reason, this.#writeControl);
    } else if (wasBlocked) {
      this.#lateResets.push({ id: stream.id, code });
    } else {
      this.#flushDatagrams();
      this.#resetNative(stream.id, code);
    }
    this.#host.flushSoon(this);
  }

  /** Our own side must end too, or the peer's stream credit never comes back. */
  endSending(stream: QuicStream): void {
    this.#blocked.delete(stream);
    if (this.#state.kind === 'open') this.#endNative(stream.id);
  }

  finished(stream: QuicStream): void {
    this.#blocked.delete(stream);
    if (this.#streams.delete(stream.id) && stream.initiator === 'local') this.#localStreams -= 1;
  }

  readSoon(stream: QuicStream): void {
    queueMicrotask(() => {
      if (this.#state.kind !== 'open' || this.#streams.get(stream.id) !== stream) return;
      this.#input(() => {
        stream.progress();
        this.#readStream(stream);
      });
    });
  }

  countFrame(direction: 'sent' | 'received', bytes: number): void {
    const { counters } = this;
    if (direction === 'sent') {
      counters.framesSent += 1;
      counters.bytesSent += bytes;
    } else {
      counters.framesReceived += 1;
      counters.bytesReceived += bytes;
    }
  }

  // ---- Writing ------------------------------------------------------------------------------------------

  /** Gives waiting streams their place, as far as the peer's limit reaches. */
  #openWaiting(): void {
    for (const stream of this.#waiting) {
      if (this.#streamsLeft <= 0) this.#streamsLeft = this.#native.peerStreamsLeftBidi();
      if (this.#streamsLeft <= 0) return;
      this.#waiting.delete(stream);
      this.#streamsLeft -= 1;
      this.#localStreams += 1;
      this.counters.streamsOpened += 1;
      stream.id = this.#nextStreamId;
      this.#nextStreamId += 4;
      this.#streams.set(stream.id, stream);
      stream.pump();
    }
  }

  #pumpBlocked(): void {
    if (this.#controlSender.isBlocked) this.#controlSender.pump(this.#writeControl);
    if (this.#blocked.size === 0) return;
    if (this.#blocked.size <= FEW_BLOCKED) {
      for (const stream of [...this.#blocked]) this.#pumpOne(stream);
      return;
    }
    for (const id of this.#native.writable()) {
      const stream = this.#streams.get(id);
      if (stream !== undefined && this.#blocked.has(stream)) this.#pumpOne(stream);
    }
  }

  #pumpOne(stream: QuicStream): void {
    // `write` puts it back when there is still not room for all.
    if (this.#blocked.delete(stream)) stream.pump();
  }

  readonly #writeControl = (bytes: Uint8Array): number => {
    this.#host.flushSoon(this);
    try {
      return this.#native.streamSend(CONTROL_STREAM_ID[this.role], bytes, false) ?? 0;
    } catch {
      // The peer allows no control stream or stopped it: notices are hints, so they are dropped.
      return bytes.length;
    }
  };

  #endNative(id: number): void {
    try {
      this.#native.streamSend(id, NOTHING, true);
    } catch {
      // Stopped or collected: it has ended.
    }
    this.#host.flushSoon(this);
  }

  #resetNative(id: number, code: MeshErrorCode): void {
    try {
      this.#native.streamShutdown(id, SHUTDOWN_WRITE, wireCodeOf(code));
    } catch {
      // Already reset or collected.
    }
  }

  #sendLateResets(): void {
    this.#flushDatagrams();
    for (const { id, code } of this.#lateResets) this.#resetNative(id, code);
    this.#lateResets = [];
  }

  #flushDatagrams(): void {
    const slab = this.#host.sendSlab;
    for (;;) {
      let sent: ReturnType<NativeConnection['send']>;
      try {
        sent = this.#native.send(slab.room());
      } catch (thrown) {
        this.#nativeFailed(thrown);
        return;
      }
      if (sent === null) return;
      this.#host.sendDatagram(slab.take(sent[0]), sent[1].to);
    }
  }

  // ---- Time ---------------------------------------------------------------------------------------------

  /** One timer, never cancelled while it fires early enough: when it fires too early it is set again. */
  #armTimer(): void {
    if (this.#released) return;
    const timeoutMs = this.#native.timeout();
    if (timeoutMs === null) {
      this.#deadlineMs = Number.POSITIVE_INFINITY;
      return;
    }
    this.#deadlineMs = performance.now() + timeoutMs;
    if (this.#timer !== undefined && this.#timerAtMs <= this.#deadlineMs) return;
    clearTimeout(this.#timer);
    this.#setTimer();
  }

  #setTimer(): void {
    this.#timerAtMs = this.#deadlineMs;
    // The binding rounds down to milliseconds: one more, or the timer would fire before the deadline.
    const delayMs = Math.max(1, Math.ceil(this.#deadlineMs - performance.now()) + 1);
    this.#timer = setTimeout(() => this.#timerFired(), delayMs);
  }

  #timerFired(): void {
    this.#timer = undefined;
    if (this.#released || this.#deadlineMs === Number.POSITIVE_INFINITY) return;
    if (performance.now() < this.#deadlineMs) {
      this.#setTimer();
      return;
    }
    this.#native.onTimeout();
    this.#input(() => {
      if (this.#state.kind === 'open') this.#pumpBlocked();
    });
    this.flush();
  }

  #newDecoder(): FrameDecoder {
    return new FrameDecoder({
      maxPayloadBytes: this.maxMessageBytes,
      requireChecksum: this.checksum,
      compressions: [Compression.none],
    });
  }
}

/** Stands in for the moment between a stream's arrival and its handler. */
const UNHANDLED: FrameStreamHandler = { onFrame() {}, onEnd() {}, onReset() {} };
