/**
 * The streams of one multiplexed connection: opening, accepting, limits, credit, and where a frame goes.
 * SPEC.md, "Transports".
 */

import type { ByteAccount } from '../../base/byte-budget.js';
import { LazySet } from '../../base/lazy-collections.js';
import { MeshError, type MeshErrorCode } from '../../errors.js';
import { decodeCredit, decodeReset, encodeCredit, encodeReset } from '../../protocol/control.js';
import { type Frame, FrameFlag } from '../../protocol/frame.js';
import type { Priority } from '../../protocol/priority.js';
import {
  type AgreedLimits,
  type Connection,
  type ConnectionCounters,
  DEFAULT_STREAM_LIMITS,
  type FrameStreamHandler,
  MAX_PRE_HANDSHAKE_BYTES,
  MAX_PRE_HANDSHAKE_STREAMS,
  type Role,
  type StreamLimits,
  type StreamOptions,
} from '../connection.js';
import { GoAway, type GoAwayHost, goingAwayError } from '../go-away.js';
import { Contention } from '../priority/contention.js';
import { StreamRateGuard } from '../stream-rate.js';
import { MAX_ASSEMBLIES } from './assembly.js';
import { INITIAL_CONNECTION_WINDOW_BYTES, ReceiveWindow } from './credit.js';
import type { FrameWriter } from './frame-writer.js';
import { SendScheduler } from './send-scheduler.js';
import { MuxStream, type StreamHost } from './stream.js';
import { StreamTable, type StreamTableLimits } from './stream-table.js';

/**
 * Frames that paused streams of one connection may hold. Credit bounds only their bytes, and a held frame of one byte costs
 * a hundred.
 */
const MAX_HELD_FRAMES = 262_144;
/** What one costs besides its payload. */
const HELD_FRAME_BYTES = 128;
/** What a connection may keep of a frame that is not whole while there is no room. This side sends none that are larger. */
const MAX_PARTIAL_BYTES = 256 * 1024;

/** {@link ConnectionCounters}, and what only a shared byte stream has. */
export interface MuxCounters extends ConnectionCounters {
  /** Frames for streams that were over already, and dropped. */
  lateFrames: number;
}

/** What the streams need of their connection. */
export interface MuxLink {
  isOpen(): boolean;
  /** Sends a control frame; closes the connection when that cannot be. */
  sendControl(control: number, messageId: number, payload: Uint8Array): void;
}

/** What {@link MuxStreams} is given. */
export interface MuxStreamsOptions {
  readonly link: MuxLink;
  readonly role: Role;
  readonly limits: StreamLimits;
  readonly writer: FrameWriter;
  /** Counted up in place. */
  readonly counters: MuxCounters;
  /** What the peer's connections share. Default: the connection's own. */
  readonly rates?: StreamRateGuard | undefined;
}

/**
 * Opens and accepts the streams of one connection, and brings each frame that arrives to its stream. It holds both
 * sides to their limits and credit. SPEC.md, "Transports".
 */
export class MuxStreams implements StreamHost, GoAwayHost {
  readonly #link: MuxLink;
  readonly #role: Role;
  readonly #limits: StreamLimits;
  readonly #counters: MuxCounters;
  readonly #tableLimits: StreamTableLimits;
  readonly #table: StreamTable;
  readonly #scheduler: SendScheduler;
  readonly #window: ReceiveWindow;
  readonly contention = new Contention();
  /** The peer's streams that wait for {@link onStream}. */
  readonly #untaken = new LazySet<MuxStream>();
  #onStream: Connection['onStream'];
  #goAway: GoAway | undefined;
  /** Streams whose readers are slow, those that have been so for the longest first. */
  readonly #holding = new LazySet<MuxStream>();
  #heldFrames = 0;
  #heldBytes = 0;
  /** Of messages and frames that are not whole. */
  #partialBytes = 0;
  /** Of these, the bytes of the frame that is arriving. */
  #frameBytes = 0;
  #account: ByteAccount | undefined;
  /** The peer's handshake is under way: it has proved nothing but who it is. */
  isHandshaking = false;
  /** Streams whose message is arriving in pieces, the oldest first. */
  readonly #assembling = new LazySet<MuxStream>();
  /** When what is received now was read. */
  nowMs = performance.now();
  readonly #rates: StreamRateGuard;
  sendsChecksum = true;
  maxMessageBytes: number;

  constructor({ link, role, limits, writer, counters, rates }: MuxStreamsOptions) {
    this.#link = link;
    this.#role = role;
    this.#limits = limits;
    this.#counters = counters;
    this.maxMessageBytes = limits.maxMessageBytes;
    this.#rates = rates ?? new StreamRateGuard(limits);
    this.#tableLimits = {
      // Until the handshake says otherwise, the peer is taken to allow what is allowed by default.
      maxOutgoingStreams: DEFAULT_STREAM_LIMITS.maxIncomingStreams,
      maxIncomingStreams: incomingLimit(role, limits.maxIncomingStreams),
      maxQueuedStreams: limits.maxQueuedStreams,
    };
    this.#table = new StreamTable(role, this.#tableLimits);
    this.#scheduler = new SendScheduler({
      writer,
      sendHighWaterBytes: limits.sendHighWaterBytes,
      onFirstFrame: (stream) => this.#table.assignId(stream),
      onPlaced: (stream) => {
        stream.sendOpeningCredit();
        this.#goAway?.advance();
      },
    });
    this.#window = new ReceiveWindow(INITIAL_CONNECTION_WINDOW_BYTES, limits.connectionWindowBytes);
  }

  /** Whether a stream that is opened now need not wait for the end of another. */
  get hasStreamRoom(): boolean {
    return this.#table.hasRoom;
  }

  /** Streams of this side, open or waiting. */
  get ownStreams(): number {
    return this.#table.ownStreams;
  }

  get onStream(): Connection['onStream'] {
    return this.#onStream;
  }

  set onStream(onStream: Connection['onStream']) {
    this.#onStream = onStream;
    for (const stream of this.#untaken) {
      if (this.#onStream === undefined) return;
      this.#untaken.delete(stream);
      stream.adopt(this.#onStream(stream));
    }
  }

  /** How the connection comes to rest. */
  get goAway(): GoAway {
    this.#goAway ??= new GoAway(this);
    return this.#goAway;
  }

  get isGoingAway(): boolean {
    return this.#goAway?.hasBegun === true;
  }

  /** @throws MeshError GoingAway, Overloaded */
  open(handler: FrameStreamHandler, { priority }: StreamOptions = {}): MuxStream {
    if (this.isGoingAway) throw goingAwayError();
    const stream = new MuxStream(this, 'local', handler, priority);
    this.#table.add(stream);
    this.#counters.streamsOpened += 1;
    return stream;
  }

  get account(): ByteAccount | undefined {
    return this.#account;
  }

  set account(account: ByteAccount | undefined) {
    const bytes = this.#heldBytes + HELD_FRAME_BYTES * this.#heldFrames + this.#partialBytes;
    this.#account?.give(bytes);
    this.#account = account;
    account?.take(bytes);
  }

  expectHandshake(): void {
    this.isHandshaking = true;
    this.#tableLimits.maxIncomingStreams = MAX_PRE_HANDSHAKE_STREAMS;
  }

  applyLimits(limits: AgreedLimits): void {
    this.isHandshaking = false;
    this.maxMessageBytes = limits.maxMessageBytes;
    this.sendsChecksum = limits.checksum;
    this.#tableLimits.maxOutgoingStreams = limits.maxOutgoingStreams;
    this.#tableLimits.maxIncomingStreams = incomingLimit(this.#role, limits.maxIncomingStreams);
    this.#startWaiting();
  }

  /** Grants what the connection's window has beyond what the peer counts on. Once, before any frame. */
  sendOpeningCredit(): void {
    this.#sendCredit(0, this.#window.takeOpeningGrant());
  }

  /** The peer lets the whole connection send more. @throws MeshError FlowControlViolation */
  grant(bytes: number): void {
    this.#scheduler.grant(bytes);
  }

  /** The socket takes bytes again. */
  flush(): void {
    this.#scheduler.flush();
  }

  /**
   * A frame of one stream. The hot path.
   * @throws MeshError ProtocolViolation, FlowControlViolation, StreamLimitExceeded, Overloaded: the connection is to be closed
   */
  receive(frame: Frame): void {
    const isData = (frame.flags & (FrameFlag.reset | FrameFlag.credit)) === 0;
    if ((frame.flags & FrameFlag.reset) !== 0) this.#rates.reset(this.nowMs);
    const stream = this.#table.find(frame.messageId) ?? this.#accept(frame, isData);
    // The connection's credit comes back as bytes arrive: a slow reader holds up its own stream only.
    if (isData) this.#arrived(frame.payload.length);
    if (stream === undefined) this.#dropLate();
    else if (isData) stream.receiveData(frame);
    else if ((frame.flags & FrameFlag.credit) !== 0) {
      stream.receiveCredit(decodeCredit(frame.payload));
    } else this.#receiveReset(stream, frame);
  }

  /**
   * The connection keeps so many bytes of a frame that is not whole.
   * @throws MeshError Overloaded where there is no room, and nothing can be given up: the connection is to be closed
   */
  keepPartial(bytes: number): void {
    const grown = bytes - this.#frameBytes;
    if (grown === 0) return;
    this.#frameBytes = bytes;
    this.#count(0, grown);
    if (grown < 0 || bytes <= MAX_PARTIAL_BYTES || !this.#isOverfull) return;
    this.#giveUpSlowest();
    if (this.#isOverfull) throw new MeshError('Overloaded', OVERFULL_TEXT);
  }

  /** The connection is over, and with it every stream. */
  end(error: MeshError): void {
    this.keepPartial(0);
    const streams = this.#table.takeAll();
    for (const stream of this.#scheduler.takeDraining()) streams.add(stream);
    this.#untaken.clear();
    for (const stream of streams) stream.abandon(error);
    this.#goAway?.end();
  }

  // ---- What going away asks -----------------------------------------------------------------------------

  readonly isOrdered = true;

  get canSayGoAway(): boolean {
    return this.isOpen;
  }

  get unplacedStreams(): number {
    return this.#table.unplaced;
  }

  get placedStreams(): number {
    return this.#table.placed;
  }

  get acceptedStreams(): number {
    return this.#table.accepted;
  }

  get hasStreams(): boolean {
    return !this.#table.isEmpty;
  }

  sendGoAway(payload: Uint8Array): void {
    this.#link.sendControl(FrameFlag.end, 0, payload);
  }

  // ---- What streams ask for -----------------------------------------------------------------------------

  get isOpen(): boolean {
    return this.#link.isOpen();
  }

  get maxQueuedBytes(): number {
    return this.maxMessageBytes + 4 * this.#limits.sendHighWaterBytes;
  }

  get streamWindowBytes(): number {
    return this.#limits.streamWindowBytes;
  }

  wake(stream: MuxStream): void {
    this.#scheduler.wake(stream);
  }

  reclass(stream: MuxStream, priority: Priority): void {
    this.#scheduler.reclass(stream, priority);
  }

  hasRoom(stream: MuxStream): boolean {
    return this.#scheduler.hasRoom(stream);
  }

  onHeldChange(stream: MuxStream, frames: number, bytes: number): void {
    this.#count(frames, bytes);
    if (!stream.isHolding) this.#holding.delete(stream);
    else if (frames > 0) this.#holding.add(stream);
    if (bytes <= 0 || !this.#isOverfull) return;
    if (this.isHandshaking) throw new MeshError('Overloaded', PRE_HANDSHAKE_TEXT);
    this.#giveUpSlowest();
    // No reader is slow: what is too much is this message.
    if (this.#isOverfull) stream.fail(new MeshError('Overloaded', OVERFULL_TEXT));
  }

  #count(frames: number, bytes: number): void {
    this.#heldFrames += frames;
    if (frames !== 0) this.#heldBytes += bytes;
    else this.#partialBytes += bytes;
    const change = bytes + HELD_FRAME_BYTES * frames;
    if (change > 0) this.#account?.take(change);
    else if (change < 0) this.#account?.give(-change);
  }

  get #isOverfull(): boolean {
    if (this.isHandshaking) return this.#heldBytes + this.#partialBytes > MAX_PRE_HANDSHAKE_BYTES;
    if (this.#heldFrames > MAX_HELD_FRAMES) return true;
    return (
      this.#heldBytes > this.#limits.maxConnectionWindowBytes || this.#account?.hasRoom === false
    );
  }

  #giveUpSlowest(): void {
    for (const stream of this.#holding) {
      if (!this.#isOverfull) return;
      stream.fail(new MeshError('Overloaded', 'too much waits for readers that are slow'));
    }
  }

  assemblyBegan(stream: MuxStream): void {
    this.#assembling.add(stream);
    if (this.#assembling.size <= MAX_ASSEMBLIES) return;
    throw new MeshError('ProtocolViolation', `over ${MAX_ASSEMBLIES} messages in pieces at once`);
  }

  assemblyEnded(stream: MuxStream): void {
    this.#assembling.delete(stream);
    for (const other of this.#assembling) {
      if (this.mayAssemble(other)) other.creditPieces();
    }
  }

  /** Where all of them together are much, they become whole one after the other. So none has to be given up for the others. */
  mayAssemble(stream: MuxStream): boolean {
    if (this.#partialBytes <= this.#limits.maxConnectionWindowBytes / 2) return true;
    const [oldest] = this.#assembling;
    return stream === oldest;
  }

  sendCredit(stream: MuxStream, bytes: number): void {
    this.#sendCredit(stream.messageId, bytes);
  }

  release(stream: MuxStream): void {
    this.#table.remove(stream);
    this.#placeIsFree();
  }

  releaseWithReset(stream: MuxStream, code: MeshErrorCode, reason: string): void {
    if (!this.isOpen) return;
    this.#forget(stream);
    if (stream.messageId !== 0) {
      const payload = encodeReset({ code, reason });
      this.#link.sendControl(FrameFlag.reset, stream.messageId, payload);
    }
    this.#placeIsFree();
  }

  #receiveReset(stream: MuxStream, frame: Frame): void {
    const { code, reason } = decodeReset(frame.payload, 'StreamReset');
    const text = reason === '' ? 'stream reset by the peer' : reason;
    this.#forget(stream);
    stream.abandon(new MeshError(code, text, { side: 'remote' }));
    this.#placeIsFree();
  }

  /** The stream that a frame opens; `undefined` when its id was used up, or `onStream` has reset it at once. */
  #accept(frame: Frame, isData: boolean): MuxStream | undefined {
    const { messageId } = frame;
    if (this.#table.wasUsed(messageId)) return undefined;
    this.#table.assertOpens(messageId);
    if (!isData) {
      throw new MeshError('ProtocolViolation', `stream ${messageId} opened by a control frame`);
    }
    this.#rates.opened(this.nowMs);
    const stream = new MuxStream(this, 'remote');
    this.#table.addFromPeer(stream);
    this.#goAway?.checkAccepted();
    this.#counters.streamsAccepted += 1;
    stream.sendOpeningCredit();
    if (this.#onStream === undefined) this.#untaken.add(stream);
    else stream.handler = this.#onStream(stream);
    return this.#table.find(messageId);
  }

  /** A frame of a stream that is over: it may have been on its way when the stream ended here. */
  #dropLate(): void {
    this.#counters.lateFrames += 1;
  }

  #arrived(bytes: number): void {
    this.#window.receive(bytes);
    this.#window.consume(bytes);
    this.#sendCredit(0, this.#window.takeGrant());
  }

  #forget(stream: MuxStream): void {
    this.#counters.streamsReset += 1;
    this.#table.remove(stream);
    this.#scheduler.forget(stream);
    this.#untaken.delete(stream);
  }

  #placeIsFree(): void {
    this.#startWaiting();
    this.#goAway?.advance();
  }

  #startWaiting(): void {
    for (let next = this.#table.takeNextWaiting(); next; next = this.#table.takeNextWaiting()) {
      this.#scheduler.wake(next);
    }
  }

  #sendCredit(messageId: number, bytes: number): void {
    if (bytes > 0) this.#link.sendControl(FrameFlag.credit, messageId, encodeCredit(bytes));
  }
}

const OVERFULL_TEXT = 'too much of this peer waits to be read';
const PRE_HANDSHAKE_TEXT = `over ${MAX_PRE_HANDSHAKE_BYTES} bytes came before the handshake`;

/** A dialer may open so many before it knows the acceptor's limit. They count until they are over. */
function incomingLimit(role: Role, maxStreams: number): number {
  return role === 'acceptor' ? Math.max(maxStreams, MAX_PRE_HANDSHAKE_STREAMS) : maxStreams;
}
