/**
 * The streams of one QUIC connection. RFC 9000, sections 2 to 4; SPEC.md, "QUIC".
 *
 * What they consist of: which streams there are (`registry.ts`), reading (`reader.ts`), writing (`writer.ts`), the control
 * stream (`control-link.ts`), and how the peer ends streams (`stream-ends.ts`). This file holds them together.
 *
 * quiche 0.18.0 never releases a stream that is reset or stopped while QUIC holds unsent bytes of it, and the stream keeps
 * the peer's stream credit for good. So this side does neither: it gives up a stream by a notice on the control stream, and
 * ends it.
 */
import { MeshError, type MeshErrorCode, wireCodeOf } from '../../../errors.js';
import { Compression, FrameDecoder } from '../../../protocol/frame.js';
import type {
  AgreedLimits,
  ConnectionCounters,
  FrameStream,
  FrameStreamHandler,
  Role,
  StreamLimits,
  StreamOptions,
} from '../../connection.js';
import {
  MAX_PRE_HANDSHAKE_BYTES,
  MAX_PRE_HANDSHAKE_STREAMS,
  NO_HANDLER,
} from '../../connection.js';
import type { FrameMemory } from '../../frame-memory.js';
import { GoAway, type GoAwayHost, goingAwayError } from '../../go-away.js';
import type { ReadingShare } from '../../reading-turns.js';
import type { StreamRateGuard } from '../../stream-rate.js';
import type { NativeConnection } from '../binding/native.js';
import type { BumpBuffer } from '../io/bump-buffer.js';
import { ControlLink } from './control-link.js';
import { StreamReader } from './reader.js';
import { StreamRegistry } from './registry.js';
import { QuicStream, type StreamIo, streamIdOf } from './stream.js';
import { StreamEnds } from './stream-ends.js';
import type { StreamsHost } from './streams-host.js';
import { StreamWriter } from './writer.js';

/** What {@link QuicStreams} are given. */
export interface QuicStreamsOptions {
  readonly native: NativeConnection;
  readonly host: StreamsHost;
  readonly role: Role;
  readonly limits: StreamLimits;
  /** Counted up in place. */
  readonly counters: ConnectionCounters;
  /** Memory for stream bytes. */
  readonly readBuffer: BumpBuffer;
  /** What the peer may have read in one turn of the event loop; asked for once streams are ready. */
  readonly share: () => ReadingShare;
  /** What the peer's connections share; asked for once streams are ready. */
  readonly rates: () => StreamRateGuard;
  /** Memory for large frames, outgoing. */
  readonly frameMemory: FrameMemory;
}

/** The direction that the binding's `streamShutdown` ends. */
const WRITING = 1;

/**
 * The streams of one connection: makes them, gives them their places, and ends them. What a connection wants of their bytes it
 * asks of `reader`, `writer` and `control`.
 */
export class QuicStreams implements StreamIo, GoAwayHost {
  maxMessageBytes: number;
  checksum = true;
  readonly sendHighWaterBytes: number;
  readonly frameMemory: FrameMemory;
  readonly counters: ConnectionCounters;
  /** When what is received now arrived. */
  nowMs = performance.now();
  readonly #ratesOfPeer: () => StreamRateGuard;
  #rates: StreamRateGuard | undefined;
  readonly writer: StreamWriter;
  readonly reader: StreamReader;
  readonly control: ControlLink;
  readonly #native: NativeConnection;
  readonly #host: StreamsHost;
  readonly #registry: StreamRegistry;
  readonly #ends: StreamEnds;
  #compressions: readonly Compression[] = [Compression.none];
  /** The peer's handshake is under way: it has proved nothing but who it is. */
  isHandshaking = false;
  #onStream: ((stream: FrameStream) => FrameStreamHandler) | undefined;
  #goAway: GoAway | undefined;
  #isOpenDue = false;
  /** New input is looked through: whatever waits is looked at behind it. */
  #isProgressing = false;
  /** What streams hear that get their first bytes when the connection is over. */
  #end: MeshError | undefined;

  constructor({ native, host, role, limits, counters, ...memory }: QuicStreamsOptions) {
    this.#native = native;
    this.#host = host;
    this.counters = counters;
    this.frameMemory = memory.frameMemory;
    this.#ratesOfPeer = memory.rates;
    this.maxMessageBytes = limits.maxMessageBytes;
    this.sendHighWaterBytes = limits.sendHighWaterBytes;
    const { maxQueuedStreams } = limits;
    this.#registry = new StreamRegistry({ native, role, maxQueuedStreams, counters });
    this.control = this.#createControl(role);
    const onFailed = (stream: QuicStream, thrown: unknown): void =>
      this.#ends.failed(stream, thrown);
    this.writer = new StreamWriter({ native, host, control: this.control, onFailed });
    this.reader = new StreamReader({
      native,
      host,
      onFailed,
      accept: (id) => this.#accept(id),
      // Most are answered by now.
      onAccepted: (stream) => this.#watchIfOpen(stream),
      registry: this.#registry,
      control: this.control,
      readBuffer: memory.readBuffer,
      share: memory.share,
      onTurn: () => this.progress(),
      maxPartialBytes: limits.maxConnectionWindowBytes,
    });
    const onReset = (): void => this.#peerReset();
    this.#ends = new StreamEnds({ native, host, reader: this.reader, onReset });
  }

  /** Streams of this side that are open or waiting. */
  get ownStreams(): number {
    return this.#registry.ownStreams;
  }

  /** Whether another stream could begin at once. */
  get hasRoom(): boolean {
    return this.#registry.hasRoom;
  }

  get isOver(): boolean {
    return this.#host.isOver();
  }

  get onStream(): ((stream: FrameStream) => FrameStreamHandler) | undefined {
    return this.#onStream;
  }

  set onStream(accept: ((stream: FrameStream) => FrameStreamHandler) | undefined) {
    this.#onStream = accept;
    this.reader.isAccepting = accept !== undefined;
    if (this.#host.isReady()) this.#host.guard(() => this.reader.readAll());
  }

  /** Puts into force what the handshake agreed. How many streams the peer may open, QUIC itself tells it. */
  applyLimits(limits: AgreedLimits): void {
    this.isHandshaking = false;
    this.#registry.maxOwnStreams = limits.maxOutgoingStreams;
    this.maxMessageBytes = limits.maxMessageBytes;
    this.checksum = limits.checksum;
    this.#compressions = limits.compressions;
    this.#openSoon();
  }

  /** How the connection comes to rest. */
  get goAway(): GoAway {
    this.#goAway ??= new GoAway(this);
    return this.#goAway;
  }

  get isGoingAway(): boolean {
    return this.#goAway?.hasBegun === true;
  }

  /** @throws MeshError ConnectionClosed, GoingAway, Overloaded */
  create(handler: FrameStreamHandler, options: StreamOptions | undefined): FrameStream {
    if (this.isOver) throw new MeshError('ConnectionClosed', 'connection is closed');
    if (this.isGoingAway) throw goingAwayError();
    this.#registry.addOwn();
    return new QuicStream(this, 'local', handler, options);
  }

  /**
   * Does what new input allows: reads, opens, writes.
   * @throws MeshError what a peer did wrong
   */
  progress(): void {
    this.#isProgressing = true;
    this.reader.reap();
    this.writer.pumpUrgent();
    this.reader.readAll();
    this.#isProgressing = false;
    this.#openWaiting();
    this.writer.pumpBlocked();
    this.#ends.received();
    this.#goAway?.advance();
  }

  /** A dialer's early data went to somebody else: nothing of it that waits, or was lost, is sent again to that peer. */
  unsendEarly(): void {
    for (const id of [this.control.id, ...this.#registry.ownIds()]) {
      try {
        this.#native.streamShutdown(id, WRITING, wireCodeOf('Cancelled'));
      } catch {
        // Nothing waits on it.
      }
    }
  }

  /** The connection is over: every stream hears of it. */
  end(error: MeshError): void {
    this.reader.readAnswers();
    this.#end = error;
    const streams = this.#registry.takeAll();
    this.writer.end();
    for (const stream of streams) stream.receiveReset(error);
    this.#registry.clear();
    this.reader.end();
    this.#ends.end();
    this.#goAway?.end();
  }

  // ---- What going away asks -----------------------------------------------------------------------------

  readonly isOrdered = false;

  get canSayGoAway(): boolean {
    return this.#host.isReady() && !this.#host.isEarly();
  }

  get unplacedStreams(): number {
    return this.#registry.unplacedStreams;
  }

  get placedStreams(): number {
    return this.#registry.everPlaced;
  }

  get acceptedStreams(): number {
    return this.counters.streamsAccepted;
  }

  get hasStreams(): boolean {
    return this.#registry.hasStreams;
  }

  sendGoAway(payload: Uint8Array): void {
    if (this.#host.isReady()) this.control.goAway(payload);
  }

  // ---- What streams ask for -----------------------------------------------------------------------------

  open(stream: QuicStream): void {
    if (this.#end !== undefined) {
      stream.receiveReset(this.#end);
      return;
    }
    const isFirst = !this.#registry.hasWaiting;
    if (isFirst && this.#mayBegin(stream) && this.#registry.place(stream)) {
      this.#begin(stream);
      this.#goAway?.advance();
      return;
    }
    this.#registry.wait(stream);
    // An early stream goes ahead of those that wait for the end of TLS. Otherwise those before it wait for room, too.
    if (!isFirst && stream.isEarly && this.#host.isEarly()) this.#openWaiting();
  }

  abandon(stream: QuicStream, code: MeshErrorCode, reason: string): void {
    this.counters.streamsReset += 1;
    this.#registry.stopWaiting(stream);
    // The peer knows nothing of a stream that has no place on the wire.
    if (stream.id < 0 || !this.#host.isReady()) return;
    this.control.notify(stream.messageId, code, reason);
  }

  finished(stream: QuicStream, mayReceive: boolean): void {
    this.reader.forget(stream);
    this.writer.forget(stream);
    if (this.#registry.remove(stream)) {
      this.#ends.forget(stream);
      if (stream.initiator === 'local') this.#openSoon();
      if (mayReceive && this.#host.isReady()) this.reader.drop(stream.id);
    }
    this.#goAway?.advance();
  }

  paused(stream: QuicStream): void {
    this.reader.paused(stream);
    if (stream.id >= 0) this.#ends.watch(stream);
  }

  readSoon(stream: QuicStream): void {
    this.reader.readSoon(stream);
  }

  hearNotices(): void {
    this.reader.hearNotices();
  }

  awaitNotice(stream: QuicStream): void {
    this.#ends.awaitNotice(stream);
  }

  newDecoder(): FrameDecoder {
    const { maxMessageBytes } = this;
    return new FrameDecoder({
      // Until the handshake is done, a dialer sends no larger ones.
      maxPayloadBytes: this.isHandshaking
        ? Math.min(maxMessageBytes, MAX_PRE_HANDSHAKE_BYTES)
        : maxMessageBytes,
      requireChecksum: this.checksum,
      compressions: this.#compressions,
      memory: this.frameMemory,
    });
  }

  // ---- Streams that begin -------------------------------------------------------------------------------

  /** There is more room for streams. */
  #openSoon(): void {
    if (!this.#registry.hasWaiting || this.#isOpenDue || this.#isProgressing) return;
    this.#isOpenDue = true;
    queueMicrotask(() => {
      this.#isOpenDue = false;
      if (this.#host.isReady()) this.#host.guard(() => this.#openWaiting());
    });
  }

  /** Gives waiting streams their place, as far as the peer's limits reach. */
  #openWaiting(): void {
    if (!this.#registry.hasWaiting || !this.#host.isReady()) return;
    let last: QuicStream | undefined;
    for (;;) {
      const stream = this.#registry.waitingBehind(last);
      if (stream === undefined) break;
      if (!this.#mayBegin(stream)) last = stream;
      else if (!this.#registry.place(stream)) return;
      else this.#begin(stream);
    }
    this.#goAway?.advance();
  }

  #mayBegin(stream: QuicStream): boolean {
    return this.#host.isReady() && (stream.isEarly || !this.#host.isEarly());
  }

  /** A stream of this side has just got its place. */
  #begin(stream: QuicStream): void {
    this.reader.expectAnswer(stream);
    this.writer.begin(stream);
    stream.pump();
    this.#watchIfOpen(stream);
    this.writer.begun(stream);
  }

  /** Takes up a stream that the peer opened. @returns `undefined` where it gave that up before */
  #accept(id: number): QuicStream | undefined {
    if (this.#onStream === undefined) return undefined;
    this.#guard.opened(this.nowMs);
    if (this.isHandshaking && this.counters.streamsAccepted >= MAX_PRE_HANDSHAKE_STREAMS) {
      const text = `over ${MAX_PRE_HANDSHAKE_STREAMS} streams came before the handshake`;
      throw new MeshError('StreamLimitExceeded', text);
    }
    const stream = new QuicStream(this, 'remote', NO_HANDLER);
    this.#registry.accept(stream, id);
    this.#goAway?.checkAccepted();
    stream.handler = this.#onStream(stream);
    const notice = this.#registry.takeNotice(id);
    if (notice === undefined) return stream;
    stream.receiveReset(notice);
    return undefined;
  }

  /** The peer may stop it without any other sign. */
  #watchIfOpen(stream: QuicStream): void {
    if (stream.maySend) this.#ends.watch(stream);
  }

  // ---- What the peer says -------------------------------------------------------------------------------

  #createControl(role: Role): ControlLink {
    const control: ControlLink = new ControlLink({
      native: this.#native,
      role,
      flushSoon: () => this.#host.flushSoon(),
      handler: {
        onNotice: (messageId, error) => this.#receiveNotice(streamIdOf(messageId), error),
        onProofRequest: (nonce) => control.answerProof(nonce),
        onProof: (nonce) => {
          this.writer.proofArrived(nonce);
          this.#host.proofArrived(nonce);
        },
        onGoAway: (streams) => this.#receiveGoAway(streams),
      },
    });
    return control;
  }

  get #guard(): StreamRateGuard {
    this.#rates ??= this.#ratesOfPeer();
    return this.#rates;
  }

  /** @throws MeshError Overloaded */
  #peerReset(): void {
    this.#guard.reset(this.nowMs);
  }

  /** The peer gave up a stream; maybe before the stream's first byte, which the notice overtakes, is here. */
  #receiveNotice(id: number, error: MeshError): void {
    this.#peerReset();
    const stream = this.#registry.get(id);
    if (stream !== undefined) stream.receiveReset(error);
    else this.#registry.keepNotice(id, error);
  }

  #receiveGoAway(streams: number | undefined): void {
    if (streams === undefined) {
      this.goAway.receiveAllOver();
      return;
    }
    this.goAway.receiveAnnouncement(streams);
    this.#host.goAwayArrived();
  }
}
