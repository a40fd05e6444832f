/**
 * The streams of one QUIC connection: which there are, which wait for a place on the wire or for room, and what
 * the binding says of each. RFC 9000, sections 2 to 4; SPEC.md, "QUIC".
 *
 * Habits of quiche 0.18.0 shape this file. Streams past the peer's limit throw, so they wait in line here. A stream
 * that is reset or stopped while QUIC holds unsent bytes of it is never released and keeps the peer's stream credit
 * for good, so this side does neither: it gives up a stream by a notice on the control stream, and ends it.
 */
import { AsyncResource } from 'node:async_hooks';
import { codeOfWire, MeshError, type MeshErrorCode, wireCodeOf } from '../../../errors.js';
import { Compression, FrameDecoder } from '../../../protocol/frame.js';
import type { Priority } from '../../../protocol/priority.js';
import type {
  AgreedLimits,
  ConnectionCounters,
  FrameStream,
  FrameStreamHandler,
  Role,
  StreamLimits,
  StreamOptions,
} from '../../connection.js';
import { NO_HANDLER } from '../../connection.js';
import type { FrameMemory } from '../../frame-memory.js';
import { GoAway, type GoAwayHost, goingAwayError } from '../../go-away.js';
import { RANKS, SLICE_BYTES } from '../../priority/class-turns.js';
import { StreamRateGuard } from '../../stream-rate.js';
import { type NativeConnection, readNativeFailure } from '../binding/native.js';
import type { BumpBuffer } from '../io/bump-buffer.js';
import { BlockedStreams, RAISED_URGENCY, URGENCIES } from './blocked-streams.js';
import { ControlReserve } from './control-reserve.js';
import {
  CONTROL_STREAM_ID,
  type ControlHandler,
  ControlReceiver,
  ControlSender,
} from './control-stream.js';
import { PartialFrames } from './partial-frames.js';
import { ProofInFlight } from './proof-in-flight.js';
import { SeenStreams } from './seen-streams.js';
import { StarvationGuard } from './starvation-guard.js';
import { StoppedStreams } from './stopped-streams.js';
import { QuicStream, type StreamIo, streamIdOf } from './stream.js';
import { UnexplainedEnds } from './unexplained-ends.js';

/** What the streams ask of their connection. */
export interface StreamsHost {
  /** Streams are read and written: the connection is open, or early data passes. */
  isReady(): boolean;
  /** TLS is not done: of this side's streams only the early ones may begin. */
  isEarly(): boolean;
  isOver(): boolean;
  /** Sends what QUIC has to send, once this turn's input is read. */
  flushSoon(): void;
  /** Runs a step outside of any input; what it throws closes the connection. */
  guard(step: () => void): void;
  /** The peer sent a nonce back. It is only good during the call. */
  proofArrived(nonce: Uint8Array): void;
  /** The peer opens no more streams, and neither does this side. */
  goAwayArrived(): void;
}

export interface QuicStreamsOptions {
  readonly native: NativeConnection;
  readonly host: StreamsHost;
  readonly role: Role;
  readonly limits: StreamLimits;
  readonly counters: ConnectionCounters;
  /** Memory for stream bytes. */
  readonly readBuffer: BumpBuffer;
  /** Memory for large frames, outgoing. */
  readonly frameMemory: FrameMemory;
}

/** The direction that the binding's `streamShutdown` ends. */
const WRITING = 1;
/** Streams tried one by one for room; with more blocked than this, the binding is asked which are writable. */
const FEW_BLOCKED = 8;
/** Of the streams that wait for answers, those looked at before the binding is asked which are readable. */
const MAX_LIKELY = 4;
/** So often in a row the oldest of them may have no answer while others have. */
const MAX_PASSES = 8;
const nowMs = (): number => performance.now();
/** Of notices that overtake their streams; one more is ignored, and the work then done in vain. */
const MAX_EARLY_NOTICES = 1024;

export class QuicStreams implements StreamIo, GoAwayHost {
  maxMessageBytes: number;
  checksum = true;
  readonly sendHighWaterBytes: number;
  readonly frameMemory: FrameMemory;
  /** What the peer does to streams, by the connection's clock. */
  readonly rates: StreamRateGuard;

  readonly #native: NativeConnection;
  /** The async context that the connection lives in. */
  readonly #home = new AsyncResource('quicmesh.QuicStreams');
  readonly #host: StreamsHost;
  readonly #role: Role;
  readonly #limits: StreamLimits;
  readonly counters: ConnectionCounters;
  readonly #readBuffer: BumpBuffer;
  #compressions: readonly Compression[] = [Compression.none];
  #onStream: ((stream: FrameStream) => FrameStreamHandler) | undefined;

  /** Streams that have a place on the wire, by QUIC's id. */
  readonly #streams = new Map<number, QuicStream>();
  /** Those of our own whose answer has not ended, oldest first. */
  readonly #awaited = new Set<QuicStream>();
  #lastRead: QuicStream | undefined;
  /** The oldest of them that had no answer when others had, and how often in a row. */
  #passedOver: QuicStream | undefined;
  #passes = 0;
  /** Streams whose readers are slow, those that have been so for the longest first. */
  readonly #paused = new Set<QuicStream>();
  /** Streams in line for a place, in order. */
  readonly #waiting = new Set<QuicStream>();
  readonly #blocked = new BlockedStreams();
  readonly #inFlight = new ProofInFlight();
  readonly #starvation = new StarvationGuard((stream, isRaised) => {
    this.#urge(stream, isRaised ? RAISED_URGENCY : URGENCIES.bulk);
  });
  /** Streams that the peer may stop without any other sign. */
  readonly #stopped = new StoppedStreams({
    ask: (stream) => this.#askIfStopped(stream),
    guard: (step) => this.#host.guard(step),
  });
  readonly #unexplained = new UnexplainedEnds((step) => this.#host.guard(step));
  /** Streams that the peer reset, until QUIC has let go of them: see `#reap`. */
  readonly #unreaped = new Set<number>();
  /** Streams that the peer opened, so that what arrives late is not taken for a new one. */
  readonly #seen: SeenStreams;
  #handedBytes = 0;
  /** The same of the control stream. */
  #controlBytes = 0;
  #reserve: ControlReserve | undefined;
  #handLimitBytes = Number.POSITIVE_INFINITY;
  /** Whether there is more to hand over than that. */
  #isHeld = false;
  #localStreams = 0;
  /** Streams of this side that have no place on the wire yet; those that wait in line are among them. */
  #unplaced = 0;
  #goAway: GoAway | undefined;
  #nextStreamId: number;
  /** Streams that the peer still allows, as last asked. */
  #streamsLeft = 0;
  /** Streams of this side that the peer wants open at once, by the handshake; QUIC's own limit may be above that. */
  #maxOwnStreams = Number.POSITIVE_INFINITY;
  /** What streams hear that come by their first bytes when the connection is over. */
  #end: MeshError | undefined;
  #isOpenDue = false;
  readonly #partials: PartialFrames;
  readonly #controlSender = new ControlSender();
  readonly #controlReceiver = new ControlReceiver();
  readonly #controlHandler: ControlHandler = {
    onNotice: (messageId, error) => this.#receiveNotice(streamIdOf(messageId), error),
    onProofRequest: (nonce) => this.#controlSender.prove('answer', nonce, this.#writeControl),
    onProof: (nonce) => {
      this.#inFlight.proofArrived(nonce, performance.now());
      this.#host.proofArrived(nonce);
    },
    onGoAway: (streams) => this.#receiveGoAway(streams),
  };
  #controlIsUrgent = false;
  /** Notices about streams that are still to come, by QUIC's id. */
  readonly #earlyNotices = new Map<number, MeshError>();

  constructor(options: QuicStreamsOptions) {
    const { limits, role } = options;
    this.#native = options.native;
    this.#host = options.host;
    this.#role = role;
    this.#limits = limits;
    this.counters = options.counters;
    this.#readBuffer = options.readBuffer;
    this.frameMemory = options.frameMemory;
    this.rates = new StreamRateGuard(limits);
    this.#partials = new PartialFrames(limits.maxConnectionWindowBytes);
    this.maxMessageBytes = limits.maxMessageBytes;
    this.sendHighWaterBytes = limits.sendHighWaterBytes;
    this.#nextStreamId = role === 'dialer' ? 0 : 1;
    this.#seen = new SeenStreams(role === 'dialer' ? 1 : 0);
  }

  /** Bytes read from streams so far, whatever became of them. */
  readBytes = 0;

  /** Whether bytes may have arrived that are not read because nobody takes them now. */
  get isHeldBack(): boolean {
    return this.#onStream === undefined || this.#partials.isHolding || this.#paused.size > 0;
  }

  /** Gives up the stream whose reader has been slow for the longest, for the sake of all others. */
  giveUpSlowest(): void {
    for (const stream of this.#paused) {
      if (stream.id < 0 || !this.#native.streamReadable(stream.id)) continue;
      stream.fail(new MeshError('Overloaded', 'too much waits for readers that are slow'));
      return;
    }
  }

  /** Streams of this side that are open or waiting. */
  get ownStreams(): number {
    return this.#localStreams + this.#waiting.size;
  }

  /** Whether another stream could begin at once. */
  get hasRoom(): boolean {
    if (this.#waiting.size > 0 || this.#localStreams >= this.#maxOwnStreams) return false;
    return this.#streamsLeft > 0 || this.#native.peerStreamsLeftBidi() > 0;
  }

  get isOver(): boolean {
    return this.#host.isOver();
  }

  get onStream(): ((stream: FrameStream) => FrameStreamHandler) | undefined {
    return this.#onStream;
  }

  set onStream(accept: ((stream: FrameStream) => FrameStreamHandler) | undefined) {
    this.#onStream = accept;
    if (this.#host.isReady()) this.#host.guard(() => this.#readAll());
  }

  /** What the peer may open, QUIC's own transport parameters say. */
  applyLimits(limits: AgreedLimits): void {
    this.#maxOwnStreams = limits.maxOutgoingStreams;
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
    if (this.#waiting.size >= this.#limits.maxQueuedStreams) {
      const text = `${this.#waiting.size} streams wait for the peer's stream limit`;
      throw new MeshError('Overloaded', text);
    }
    this.#unplaced += 1;
    return new QuicStream(this, 'local', handler, options);
  }

  /**
   * Does what new input allows: reads, opens, writes.
   * @throws MeshError what a peer did wrong
   */
  progress(): void {
    if (this.#unreaped.size > 0) this.#reap();
    this.#pumpFirst();
    this.#readAll();
    this.#openWaiting();
    this.pumpBlocked();
    this.#stopped.received();
    this.#goAway?.advance();
  }

  /** Writes what waited for room, as far as there is room now. */
  pumpBlocked(): void {
    if (!this.#host.isReady()) return;
    if (this.#controlSender.isBlocked) this.#controlSender.pump(this.#writeControl);
    const { size } = this.#blocked;
    if (size === 0) return;
    this.#pumpDue();
    if (size <= FEW_BLOCKED) {
      for (let rank = 0; rank <= RANKS.bulk; rank += 1) this.#pumpLine(rank);
      return;
    }
    // It comes in the order of urgencies.
    for (const id of this.#native.writable()) {
      const stream = this.#blocked.get(id);
      if (stream !== undefined) this.#pumpOne(stream);
    }
    this.#pumpUnsent();
  }

  /** The binding does not know of streams that it has taken no byte of. */
  #pumpUnsent(): void {
    for (let rank = 0; rank <= RANKS.bulk; rank += 1) {
      for (const stream of [...this.#blocked.line(rank).values()]) {
        if (stream.hasSent) continue;
        this.#pumpOne(stream);
        if (!stream.hasSent) return;
      }
    }
  }

  /** What has room ahead of answers to what is about to be read. */
  #pumpFirst(): void {
    if (!this.#host.isReady() || this.#blocked.size === 0) return;
    this.#pumpDue();
    for (let rank = 0; rank < RANKS.normal; rank += 1) this.#pumpLine(rank);
  }

  #pumpLine(rank: number): void {
    const line = this.#blocked.line(rank);
    if (line.size === 0) return;
    for (const stream of [...line.values()]) this.#pumpOne(stream);
  }

  /** One slice for a class that has waited long for those above it. */
  #pumpDue(): void {
    const stream = this.#blocked.takeDue();
    if (stream === undefined) return;
    const limitBytes = this.#handLimitBytes;
    this.#handLimitBytes = Math.min(limitBytes, this.#handedBytes + SLICE_BYTES);
    stream.pump();
    this.#handLimitBytes = limitBytes;
  }

  /** A dialer's early data went to somebody else: nothing of it that waits, or was lost, is sent again to that peer. */
  unsendEarly(): void {
    for (let id = 0; id < this.#nextStreamId; id += 4) {
      try {
        this.#native.streamShutdown(id, WRITING, wireCodeOf('Cancelled'));
      } catch {
        // Nothing waits on it.
      }
    }
  }

  /** The connection is over: every stream hears of it. */
  end(error: MeshError): void {
    this.#end = error;
    const streams = [...this.#streams.values(), ...this.#waiting];
    this.#waiting.clear();
    this.#blocked.clear();
    for (const stream of streams) stream.receiveReset(error);
    this.#streams.clear();
    this.#awaited.clear();
    this.#paused.clear();
    this.#stopped.end();
    this.#unexplained.end();
    this.#lastRead = undefined;
    this.#passedOver = undefined;
    this.#goAway?.end();
  }

  // ---- What going away asks -----------------------------------------------------------------------------

  readonly isOrdered = false;

  get canSayGoAway(): boolean {
    return this.#host.isReady() && !this.#host.isEarly();
  }

  get unplacedStreams(): number {
    return this.#unplaced;
  }

  get placedStreams(): number {
    return Math.floor(this.#nextStreamId / 4);
  }

  get acceptedStreams(): number {
    return this.counters.streamsAccepted;
  }

  get hasStreams(): boolean {
    return this.#streams.size > 0 || this.#unplaced > 0;
  }

  sendGoAway(payload: Uint8Array): void {
    if (this.#host.isReady()) this.#controlSender.goAway(payload, this.#writeControl);
  }

  // ---- What streams ask for -----------------------------------------------------------------------------

  open(stream: QuicStream): void {
    if (this.#end !== undefined) {
      stream.receiveReset(this.#end);
      return;
    }
    this.#waiting.add(stream);
    if (this.#host.isReady()) this.#openWaiting();
  }

  reclass(stream: QuicStream, priority: Priority): void {
    const isBlocked = this.#blocked.delete(stream);
    stream.priority = priority;
    if (isBlocked) this.#blocked.add(stream);
    this.#starvation.delete(stream);
    this.#setUrgency(stream);
  }

  #setUrgency(stream: QuicStream): void {
    if (stream.priority === 'bulk') this.#starvation.add(stream);
    else this.#urge(stream, URGENCIES[stream.priority]);
  }

  #urge(stream: QuicStream, urgency: number): void {
    try {
      this.#native.streamPriority(stream.id, urgency, true);
    } catch {
      // The binding has forgotten it: nothing of it is left to send.
    }
  }

  write(stream: QuicStream, bytes: Uint8Array, fin: boolean): number {
    const isBulk = stream.priority === 'bulk';
    if (this.#controlSender.isBlocked) this.#controlSender.pump(this.#writeControl);
    let allowed = this.#handLimitBytes - this.#handedBytes;
    if (bytes.length > allowed) this.#isHeld = true;
    allowed = Math.min(allowed, this.#unreserved(stream, bytes.length));
    if (isBulk) allowed = Math.min(allowed, this.#inFlight.roomBytes(performance.now()));
    else this.#inFlight.contention.note();
    const isCut = bytes.length > allowed;
    let took: number | null = null;
    try {
      if (!isCut) took = this.#native.streamSend(stream.id, bytes, fin);
      else if (allowed > 0) {
        took = this.#native.streamSend(stream.id, bytes.subarray(0, allowed), false);
      }
    } catch (thrown) {
      stream.sendingFailed();
      this.#streamFailed(stream, thrown);
      return 0;
    }
    if ((took ?? 0) < bytes.length) this.#blocked.add(stream);
    this.#blocked.took(stream, took ?? 0);
    this.#handedBytes += took ?? 0;
    if (isBulk) this.#inFlight.handed(took ?? 0);
    this.#host.flushSoon();
    return took ?? 0;
  }

  /** As many of these bytes as leave the control stream what it may need. */
  #unreserved(stream: QuicStream, bytes: number): number {
    // Transport parameters are those of the session before, until TLS is done.
    if (this.#host.isEarly()) return bytes;
    this.#reserve ??= new ControlReserve(this.#native.stats());
    const handedBytes = this.#handedBytes + this.#controlBytes;
    const known = this.#reserve.room(handedBytes, bytes);
    if (known === bytes) return bytes;
    // A peer that allows no control stream has no use for what is left to it.
    if (!this.#urgeControl()) return bytes;
    const controlBytes = this.#capacity(CONTROL_STREAM_ID[this.#role]) ?? 0;
    let streamBytes = this.#capacity(stream.id);
    if (streamBytes === undefined) {
      // The binding gets to know it by that.
      this.#urge(stream, URGENCIES[stream.priority]);
      streamBytes = this.#capacity(stream.id) ?? 0;
    }
    this.#reserve.learn(handedBytes, Math.max(streamBytes, controlBytes));
    return this.#reserve.room(handedBytes, bytes);
  }

  /** What QUIC takes now on a stream that it knows, and that the peer has not stopped. */
  #capacity(id: number): number | undefined {
    try {
      return this.#native.streamCapacity(id);
    } catch {
      return undefined;
    }
  }

  /** A datagram of so many bytes has left. */
  sent(bytes: number): void {
    this.#starvation.sent(bytes);
  }

  /** Whether bulk data goes beside other calls. */
  get isShared(): boolean {
    return this.#inFlight.isShared(nowMs);
  }

  /** All that was handed over has left, as far as it could. @returns whether there is more to send */
  markSent(): boolean {
    const nonce = this.#inFlight.takeMark(performance.now());
    if (nonce !== undefined) this.#controlSender.prove('request', nonce, this.#writeControl);
    return nonce !== undefined;
  }

  /** Stream bytes handed to QUIC so far. */
  get handedBytes(): number {
    return this.#handedBytes;
  }

  /**
   * As many may be handed over in all: QUIC itself takes what its congestion window says, and that the peer says. Writes
   * what was held back until now.
   */
  handUpTo(limitBytes: number): void {
    this.#handLimitBytes = limitBytes;
    if (!this.#isHeld || limitBytes <= this.#handedBytes) return;
    this.#isHeld = false;
    this.pumpBlocked();
  }

  abandon(stream: QuicStream, code: MeshErrorCode, reason: string): void {
    this.counters.streamsReset += 1;
    this.#waiting.delete(stream);
    // The peer knows nothing of a stream that has no place on the wire.
    if (stream.id < 0 || !this.#host.isReady()) return;
    this.#controlSender.notify(stream.messageId, code, reason, this.#writeControl);
  }

  finished(stream: QuicStream, mayReceive: boolean): void {
    this.#paused.delete(stream);
    if (stream.priority === 'bulk') this.#starvation.delete(stream);
    if (!this.#streams.delete(stream.id)) {
      if (stream.id < 0) this.#unplaced -= 1;
      this.#goAway?.advance();
      return;
    }
    this.#awaited.delete(stream);
    this.#stopped.delete(stream);
    this.#unexplained.delete(stream);
    if (this.#partials.forget(stream)) this.#readSkipped();
    if (this.#lastRead === stream) this.#lastRead = undefined;
    if (this.#passedOver === stream) this.#passedOver = undefined;
    if (stream.initiator === 'local') {
      this.#localStreams -= 1;
      this.#openSoon();
    }
    if (mayReceive && this.#host.isReady()) this.#drop(stream.id);
    this.#goAway?.advance();
  }

  paused(stream: QuicStream): void {
    this.#paused.add(stream);
    if (stream.id >= 0) this.#stopped.add(stream);
  }

  hearNotices(): void {
    const id = CONTROL_STREAM_ID[this.#peerRole];
    this.#host.guard(() => {
      if (this.#host.isReady() && this.#native.streamReadable(id)) this.#readControl(id);
    });
  }

  awaitNotice(stream: QuicStream): void {
    this.#unexplained.add(stream);
  }

  readSoon(stream: QuicStream): void {
    this.#paused.delete(stream);
    const read = (): void => {
      if (!this.#host.isReady() || this.#streams.get(stream.id) !== stream) return;
      this.#host.guard(() => {
        stream.progress();
        this.#readStream(stream);
      });
    };
    // It may be another's reader that makes room for this stream: what it brings is not to run in that one's context.
    this.#home.runInAsyncScope(queueMicrotask, undefined, read);
  }

  newDecoder(): FrameDecoder {
    return new FrameDecoder({
      maxPayloadBytes: this.maxMessageBytes,
      requireChecksum: this.checksum,
      compressions: this.#compressions,
    });
  }

  /** Asks the peer to send this nonce back; `proofArrived` tells when it has. */
  askForProof(nonce: Uint8Array): void {
    this.#controlSender.prove('request', nonce, this.#writeControl);
  }

  /** Sends a nonce back to the peer, which asked for it other than on its control stream. */
  answerProof(nonce: Uint8Array): void {
    this.#controlSender.prove('answer', nonce, this.#writeControl);
  }

  // ---- Reading ------------------------------------------------------------------------------------------

  /**
   * Reads what there is to read. To ask the binding for the list of readable streams costs more than all the rest of a
   * small request, so this looks first where bytes most likely are.
   */
  #readAll(): void {
    if (!this.#readLikely() || !this.#host.isReady()) return;
    this.#passOver();
    for (const id of this.#native.readable()) {
      if (!this.#host.isReady()) return;
      const stream = this.#streams.get(id);
      if (stream !== undefined) this.#readStream(stream);
      else this.#readUnknown(id);
    }
  }

  /**
   * Reads the stream read last, the peer's next one, and the oldest of our own that wait for an answer.
   * @returns whether there is more to read elsewhere
   */
  #readLikely(): boolean {
    const last = this.#lastRead;
    if (last !== undefined && this.#readIfReadable(last) && !this.#hasMore()) return false;
    while (this.#onStream !== undefined && this.#native.streamReadable(this.#seen.next)) {
      this.#readUnknown(this.#seen.next);
      if (!this.#hasMore()) return false;
    }
    let missed = 0;
    for (const stream of this.#awaited) {
      if (this.#readIfReadable(stream)) {
        if (!this.#hasMore()) return false;
        continue;
      }
      missed += 1;
      if (missed === MAX_LIKELY) break;
    }
    return this.#hasMore();
  }

  /**
   * The answer that has been waited for the longest is not among those that came. Once that has happened a few times, its
   * stream goes to the end of the line: it would stand in the way of all others. Not at once: where two answers merely
   * arrive in another order than their calls went out, the line is right again with the next one.
   */
  #passOver(): void {
    const [oldest] = this.#awaited;
    if (oldest === undefined) return;
    if (oldest !== this.#passedOver) {
      this.#passedOver = oldest;
      this.#passes = 0;
    }
    this.#passes += 1;
    if (this.#passes < MAX_PASSES) return;
    this.#awaited.delete(oldest);
    this.#awaited.add(oldest);
  }

  #hasMore(): boolean {
    return this.#host.isReady() && this.#native.isReadable();
  }

  /** @returns whether there was something to read */
  #readIfReadable(stream: QuicStream): boolean {
    if (stream.isPaused || !this.#native.streamReadable(stream.id)) return false;
    return this.#readStream(stream);
  }

  #readUnknown(id: number): void {
    const stream = this.#unknownStream(id);
    if (stream === undefined) return;
    this.#readStream(stream);
    // Most are answered by now.
    if (stream.maySend) this.#stopped.add(stream);
  }

  /** A stream that the peer just opened; the control stream; or the rest of one that is over, to be dropped. */
  #unknownStream(id: number): QuicStream | undefined {
    if ((id & 2) !== 0) {
      this.#readControl(id);
      return undefined;
    }
    if (!this.#isPeers(id) || this.#seen.has(id)) {
      this.#drop(id);
      return undefined;
    }
    if (this.#onStream === undefined) return undefined;
    this.#seen.add(id);
    this.rates.opened();
    const stream = new QuicStream(this, 'remote', NO_HANDLER);
    stream.id = id;
    this.#streams.set(id, stream);
    this.counters.streamsAccepted += 1;
    this.#goAway?.checkAccepted();
    stream.handler = this.#onStream(stream);
    const notice = this.#earlyNotices.get(id);
    if (notice === undefined) return stream;
    this.#earlyNotices.delete(id);
    stream.receiveReset(notice);
    return undefined;
  }

  /** @returns whether there was something to read */
  #readStream(stream: QuicStream): boolean {
    let hasRead = false;
    while (this.#isDue(stream)) {
      const room = this.#readBuffer.room();
      const read = this.#streamRecv(stream, room);
      if (read === undefined) break;
      const [length, fin] = read;
      hasRead = true;
      if (fin) {
        this.#awaited.delete(stream);
        this.#lastRead = undefined;
      } else {
        this.#lastRead = stream;
      }
      stream.receive(this.#readBuffer.take(length), fin);
      if (this.#partials.note(stream, stream.partialBytes)) this.#readSkipped();
      // What does not fill the room is all that there is.
      if (fin || length < room.length) break;
    }
    return hasRead;
  }

  #isDue(stream: QuicStream): boolean {
    if (stream.isPaused || this.#streams.get(stream.id) !== stream) return false;
    // The binding knows a stream of this side once it has taken a byte of it.
    if (stream.initiator === 'local' && !stream.hasSent) return false;
    return this.#partials.mayRead(stream);
  }

  #readSkipped(): void {
    for (const stream of this.#partials.takeSkipped()) this.readSoon(stream);
  }

  /** @returns how many bytes are in `room` now, and whether the stream ends with them */
  #streamRecv(stream: QuicStream, room: Buffer): [number, boolean] | undefined {
    try {
      const read = this.#native.streamRecv(stream.id, room);
      if (read === null) return undefined;
      this.readBytes += read[0];
      return read;
    } catch (thrown) {
      this.#streamFailed(stream, thrown);
      return undefined;
    }
  }

  #readControl(id: number): void {
    const buffer = this.#readBuffer;
    for (;;) {
      let read: [number, boolean] | null;
      try {
        read = this.#native.streamRecv(id, buffer.room());
      } catch {
        read = [0, true];
      }
      if (read === null) return;
      this.readBytes += read[0];
      if (id !== CONTROL_STREAM_ID[this.#peerRole] || read[1]) {
        throw new MeshError(
          'ProtocolViolation',
          'the control stream is the only unidirectional one, and never ends',
        );
      }
      this.#controlReceiver.receive(buffer.take(read[0]), this.#controlHandler);
    }
  }

  /** The peer gave up a stream; maybe before the stream's first byte, which the notice overtakes, is here. */
  #receiveNotice(id: number, error: MeshError): void {
    this.rates.reset();
    const stream = this.#streams.get(id);
    if (stream !== undefined) stream.receiveReset(error);
    else if (
      this.#isPeers(id) &&
      !this.#seen.has(id) &&
      this.#earlyNotices.size < MAX_EARLY_NOTICES
    ) {
      this.#earlyNotices.set(id, error);
    }
  }

  #receiveGoAway(streams: number | undefined): void {
    if (streams === undefined) {
      this.goAway.receiveAllOver();
      return;
    }
    this.goAway.receiveAnnouncement(streams);
    this.#host.goAwayArrived();
  }

  get #peerRole(): Role {
    return this.#role === 'dialer' ? 'acceptor' : 'dialer';
  }

  #isPeers(id: number): boolean {
    return (id & 1) === (this.#role === 'dialer' ? 1 : 0);
  }

  /** Whether the peer has stopped the stream; or has reset one whose reader is paused, which no read tells of. */
  #askIfStopped(stream: QuicStream): void {
    if (!this.#host.isReady()) return;
    if (!stream.maySend && !stream.isUnread) {
      this.#stopped.delete(stream);
      return;
    }
    // The binding knows a stream of this side once it has taken a byte of it.
    if (stream.initiator === 'local' && !stream.hasSent) return;
    try {
      if (stream.maySend) this.#native.streamCapacity(stream.id);
    } catch (thrown) {
      stream.sendingFailed();
      this.#streamFailed(stream, thrown);
      return;
    }
    // All bytes are read, and there is an end.
    if (stream.isUnread && this.#native.streamFinished(stream.id)) {
      const read = this.#streamRecv(stream, this.#readBuffer.room());
      if (read !== undefined) stream.receive(this.#readBuffer.take(read[0]), read[1]);
    }
  }

  /** Reads and forgets what arrives on a stream that is over. */
  #drop(id: number): void {
    try {
      for (;;) {
        const read = this.#native.streamRecv(id, this.#readBuffer.room());
        if (read === null) return;
        this.readBytes += read[0];
      }
    } catch (thrown) {
      if (readNativeFailure(thrown).name === 'StreamReset') this.#unreaped.add(id);
    }
  }

  /**
   * quiche 0.18.0 releases a stream that the peer reset only when it is read once more after our own end was
   * acknowledged; until then it holds the peer's stream credit.
   */
  #reap(): void {
    const ids = [...this.#unreaped];
    this.#unreaped.clear();
    for (const id of ids) this.#drop(id);
  }

  /** The binding refused a read or a write: the peer reset the stream, stopped it, or QUIC is done with it. */
  #streamFailed(stream: QuicStream, thrown: unknown): void {
    const { name, value } = readNativeFailure(thrown);
    if (name === 'StreamReset' || name === 'StreamStopped') {
      if (name === 'StreamReset') this.#unreaped.add(stream.id);
      // The notice has the reason as well, and counts as the same reset.
      this.hearNotices();
      if (!stream.isLive) return;
      const code = codeOfWire(value ?? -1) ?? 'StreamReset';
      const error = new MeshError(code, `stream reset with ${code}`, { side: 'remote' });
      this.rates.reset();
      stream.receiveReset(error);
      return;
    }
    const text = `QUIC ended the stream: ${name}`;
    stream.receiveReset(new MeshError('StreamReset', text, { side: 'remote', cause: thrown }));
  }

  // ---- Writing ------------------------------------------------------------------------------------------

  /** There is more room for streams. */
  #openSoon(): void {
    if (this.#waiting.size === 0 || this.#isOpenDue) return;
    this.#isOpenDue = true;
    queueMicrotask(() => {
      this.#isOpenDue = false;
      if (this.#host.isReady()) this.#host.guard(() => this.#openWaiting());
    });
  }

  /** Gives waiting streams their place, as far as the peer's limits reach. */
  #openWaiting(): void {
    if (!this.#host.isReady() || this.#waiting.size === 0) return;
    const isEarly = this.#host.isEarly();
    for (const stream of this.#waiting) {
      if (isEarly && !stream.isEarly) continue;
      if (this.#localStreams >= this.#maxOwnStreams) return;
      if (this.#streamsLeft <= 0) this.#streamsLeft = this.#native.peerStreamsLeftBidi();
      if (this.#streamsLeft <= 0) return;
      this.#waiting.delete(stream);
      this.#streamsLeft -= 1;
      this.#localStreams += 1;
      this.#unplaced -= 1;
      this.counters.streamsOpened += 1;
      stream.id = this.#nextStreamId;
      this.#nextStreamId += 4;
      this.#streams.set(stream.id, stream);
      this.#awaited.add(stream);
      // The binding's own is that of normal ones.
      const { normal } = URGENCIES;
      if (URGENCIES[stream.priority] !== normal) this.#setUrgency(stream);
      stream.pump();
      if (stream.maySend) this.#stopped.add(stream);
      // The binding counts a stream once it knows it: until then it would give the same place away again.
      if (!stream.hasSent && URGENCIES[stream.priority] === normal) this.#urge(stream, normal);
    }
    this.#goAway?.advance();
  }

  #pumpOne(stream: QuicStream): void {
    // `write` puts it back when there is still not room for all.
    if (this.#blocked.delete(stream)) stream.pump();
  }

  /** Puts the control stream ahead of the end of the stream that a notice is about. @returns whether the peer allows it */
  #urgeControl(): boolean {
    if (this.#controlIsUrgent) return true;
    try {
      this.#native.streamPriority(CONTROL_STREAM_ID[this.#role], 0, false);
      this.#controlIsUrgent = true;
      return true;
    } catch {
      return false;
    }
  }

  readonly #writeControl = (bytes: Uint8Array): number => {
    this.#host.flushSoon();
    // Where the peer allows no control stream, or stopped it, notices are hints, so they are dropped.
    if (!this.#urgeControl()) return bytes.length;
    try {
      const took = this.#native.streamSend(CONTROL_STREAM_ID[this.#role], bytes, false) ?? 0;
      this.#controlBytes += took;
      return took;
    } catch {
      return bytes.length;
    }
  };
}
