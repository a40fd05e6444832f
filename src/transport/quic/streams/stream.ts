/**
 * One request on a QUIC connection: a bidirectional stream that carries frames. SPEC.md, "QUIC".
 *
 * The stream keeps its own books, and its connection drives the binding: see {@link StreamIo}.
 *
 * A side's last frame has the end bit, and FIN comes with its last byte. FIN without that bit says that the side gave up;
 * it then comes with one byte of no meaning. So FIN never travels alone: quiche 0.18.0 takes a stream whose bytes are
 * acknowledged for complete, and forgets a FIN of its own that was lost.
 */
import { NO_BYTES } from '../../../base/buffers.js';
import type { ByteAccount } from '../../../base/byte-budget.js';
import { type InLine, type Line, Place } from '../../../base/line.js';
import { MeshError, type MeshErrorCode } from '../../../errors.js';
import {
  CHECKSUM_BYTES,
  Compression,
  type Frame,
  FrameFlag,
  HEADER_BYTES,
} from '../../../protocol/frame.js';
import type { Priority } from '../../../protocol/priority.js';
import type {
  FrameStream,
  FrameStreamHandler,
  SendOptions,
  StreamOptions,
} from '../../connection.js';
import { type DecoderSource, ReceivingPart } from './receiving-part.js';
import { type Encoding, type OutgoingFrame, SendingPart } from './sending-part.js';

/** What a stream asks of its connection. */
export interface StreamIo extends Encoding, DecoderSource {
  readonly maxMessageBytes: number;
  readonly sendHighWaterBytes: number;
  /** The connection is closing or closed. */
  readonly isOver: boolean;
  /** Gives the stream its place on the wire and pumps it, or puts it in line for one. */
  open(stream: QuicStream): void;
  readonly writer: StreamOutput;
  /** This side abandoned the stream: tells the peer. */
  abandon(stream: QuicStream, code: MeshErrorCode, reason: string): void;
  /** The stream is over; where `mayReceive`, what still arrives on it is to be dropped. */
  finished(stream: QuicStream, mayReceive: boolean): void;
  /** There may be bytes to read that were left while the stream was paused. */
  readSoon(stream: QuicStream): void;
  /** The stream is not read from now on, until `readSoon`. */
  paused(stream: QuicStream): void;
  /** Takes the notices that are here: one may say why the stream ended. */
  hearNotices(): void;
  /** The peer gave up the stream and has not said why: `endUnexplained` is due unless it does. */
  awaitNotice(stream: QuicStream): void;
}

/** Where a stream's bytes go. */
export interface StreamOutput {
  /** Hands bytes to QUIC; returns how many it took. A stream that the peer stopped is reset from within. */
  write(stream: QuicStream, bytes: Uint8Array, fin: boolean): number;
  /** The stream, which has its place, is about to be of another class. */
  reclass(stream: QuicStream, priority: Priority): void;
}

const NO_OPTIONS: SendOptions = {};

/** The message id of a bidirectional stream: 4n is the dialer's 2n+1, 4n+1 the acceptor's 2n+2. */
export function messageIdOf(streamId: number): number {
  return Math.floor(streamId / 4) * 2 + 1 + (streamId & 1);
}

/** The bidirectional stream of a message id; the reverse of {@link messageIdOf}. */
export function streamIdOf(messageId: number): number {
  const side = (messageId - 1) & 1;
  return ((messageId - 1 - side) / 2) * 4 + side;
}

/** A stream of either side. It is over once both parts have ended, or either side has reset it. */
export class QuicStream implements FrameStream, InLine<QuicStream> {
  /** Of streams that wait for their places, or for the first of their answers. */
  line: Line<QuicStream> | undefined;
  before: QuicStream | undefined;
  after: QuicStream | undefined;
  #blockedPlace: Place<QuicStream> | undefined;
  #watchedPlace: Place<QuicStream> | undefined;
  handler: FrameStreamHandler;
  readonly initiator: 'local' | 'remote';
  /** It may begin before TLS is done. */
  readonly isEarly: boolean;
  /** Set by {@link StreamOutput.reclass} only, once the stream has its place. */
  priority: Priority;
  /** QUIC's stream id; -1 while the stream waits for its place. */
  id = -1;
  readonly #io: StreamIo;
  readonly #sending: SendingPart;
  /** From when something comes: thousands of calls may wait for their answers. */
  #receiving: ReceivingPart | undefined;
  /** `ended`: in good order, by both sides. */
  #life: 'live' | 'ended' | 'reset' = 'live';
  #isPaused = false;

  constructor(
    io: StreamIo,
    initiator: 'local' | 'remote',
    handler: FrameStreamHandler,
    options: StreamOptions = {},
  ) {
    this.#io = io;
    this.initiator = initiator;
    this.isEarly = options.early ?? false;
    this.priority = options.priority ?? 'normal';
    this.handler = handler;
    this.#sending = new SendingPart(io);
  }

  get account(): ByteAccount | undefined {
    return this.#sending.account;
  }

  set account(account: ByteAccount | undefined) {
    this.#sending.account = account;
  }

  get messageId(): number {
    return this.id < 0 ? 0 : messageIdOf(this.id);
  }

  /** In the line of those whose bytes QUIC had no room for. Most streams never stand there. */
  get blockedPlace(): Place<QuicStream> {
    this.#blockedPlace ??= new Place(this);
    return this.#blockedPlace;
  }

  /** In the line of those of which the binding is asked whether the peer has stopped them. Most are over before. */
  get watchedPlace(): Place<QuicStream> {
    this.#watchedPlace ??= new Place(this);
    return this.#watchedPlace;
  }

  get isWatched(): boolean {
    return this.#watchedPlace?.line !== undefined;
  }

  /** Bytes that QUIC has yet to take. */
  get unsentBytes(): number {
    return this.#sending.unsentBytes;
  }

  get isBlocked(): boolean {
    return this.#blockedPlace?.line !== undefined;
  }

  get hasSent(): boolean {
    return this.#sending.hasSent;
  }

  get isLive(): boolean {
    return this.#life === 'live';
  }

  /** Whether this side has yet to hand its end to QUIC. */
  get maySend(): boolean {
    return this.isLive && !this.#sending.isEnded;
  }

  /** Bytes that it keeps of a frame that is not whole yet. */
  get partialBytes(): number {
    return this.isLive && this.#receiving !== undefined ? this.#receiving.partialBytes : 0;
  }

  get isPaused(): boolean {
    return this.#isPaused && this.isLive;
  }

  /** Whether it is left unread although more may come, a reset among it. */
  get isUnread(): boolean {
    return this.isPaused && this.#receiving?.hasFin !== true;
  }

  send(payload: Uint8Array, options: SendOptions = NO_OPTIONS): boolean {
    const { end = false, tail } = options;
    const payloadBytes = payload.length + (tail === undefined ? 0 : tail.length);
    this.#assertSendable(payloadBytes, end);
    this.#push(newFrame(payload, payloadBytes, end, options));
    if (this.#hasRoom) return true;
    this.#sending.awaitsDrain = true;
    return false;
  }

  unsend(): void {
    if (this.isLive && !this.#sending.hasSent) this.#sending.unsend();
  }

  end(): void {
    if (this.isLive && this.#sending.isOpen) this.#push(newFrame(NO_BYTES, 0, true, NO_OPTIONS));
  }

  reset(code: MeshErrorCode, reason = ''): void {
    if (!this.isLive) return;
    this.#io.abandon(this, code, reason);
    this.#finish('reset');
  }

  prioritize(priority: Priority): void {
    if (priority === this.priority) return;
    if (this.id >= 0 && this.isLive) this.#io.writer.reclass(this, priority);
    else this.priority = priority;
  }

  pause(): void {
    if (this.#isPaused) return;
    this.#isPaused = true;
    if (this.isLive) this.#io.paused(this);
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    if (this.isLive) this.#io.readSoon(this);
  }

  /** Hands over what waits, as far as QUIC takes it. Call when there may be room. */
  pump(): void {
    const sending = this.#sending;
    while (sending.hasUnsent) {
      const bytes = sending.nextBytes(this.messageId);
      const took = this.#io.writer.write(this, bytes, sending.isLast);
      const isAll = sending.took(took);
      if (took > 0 && !sending.hasSent) this.#noteSent();
      if (!isAll) break;
    }
    // Whoever waits for room hears of it ahead of the end.
    if (sending.awaitsDrain) this.#drainIfRoom();
    this.#finishIfBothEnded();
  }

  /** QUIC takes nothing more on this stream, which is about to be reset. */
  sendingFailed(): void {
    this.#sending.fail();
  }

  /**
   * Bytes from the peer, and whether they are the last. Their memory passes to the stream.
   * @throws MeshError as {@link progress}, and ProtocolViolation for bytes after the end
   */
  receive(bytes: Uint8Array, fin: boolean): void {
    if (!this.isLive) return;
    this.#receiving ??= new ReceivingPart(this.#io);
    this.#receiving.push(bytes, fin, this.messageId);
    this.progress();
  }

  /** Memory for what is missing of a large frame: what is read into it is to be told by {@link filled}, in place of `receive`. */
  room(): Buffer | undefined {
    return this.isLive ? this.#receiving?.room() : undefined;
  }

  /** Whether a large frame is likely to begin next. */
  get expectsLarge(): boolean {
    return this.#receiving?.expectsLarge === true;
  }

  /** Bytes from the peer, in the memory that {@link room} gave last. @throws MeshError as {@link progress} */
  filled(bytes: number, fin: boolean): void {
    if (!this.isLive) return;
    this.#receiving?.filled(bytes, fin);
    this.progress();
  }

  /**
   * Gives whole frames to the handler, then the end, until it pauses or there is no more.
   * @throws MeshError as {@link ReceivingPart.next} and {@link ReceivingPart.end}
   */
  progress(): void {
    const receiving = this.#receiving;
    if (receiving === undefined) return;
    while (this.isLive && !this.#isPaused && !receiving.isEnded) {
      if (receiving.isEnding) {
        receiving.end(this.messageId);
        this.handler.onEnd();
        this.#finishIfBothEnded();
        return;
      }
      const frame = receiving.next(this.messageId);
      if (frame === undefined) {
        if (receiving.hasFin) this.#receiveAbort();
        return;
      }
      const { counters } = this.#io;
      counters.framesReceived += 1;
      counters.bytesReceived += receivedBytes(frame);
      if (frame.payload.length > 0) this.handler.onFrame(frame);
    }
  }

  /** This side gives up the stream, and its handler hears of it. */
  fail(error: MeshError): void {
    if (!this.isLive) return;
    this.reset(error.code, error.message);
    this.handler.onReset(error);
  }

  /** The stream is over by the peer, or with its connection. The handler hears of it, once. */
  receiveReset(error: MeshError): void {
    if (!this.isLive) return;
    this.#finish('reset');
    this.handler.onReset(error);
  }

  /** The peer gave up the stream, and no notice came that says why. */
  endUnexplained(): void {
    const text = 'the peer gave up the stream';
    this.receiveReset(new MeshError('StreamReset', text, { side: 'remote' }));
  }

  /** FIN without the end bit before it. */
  #receiveAbort(): void {
    this.#io.hearNotices();
    if (this.isLive) this.#io.awaitNotice(this);
  }

  #push(frame: OutgoingFrame): void {
    const sending = this.#sending;
    sending.push(frame);
    if (this.id < 0) this.#io.open(this);
    else if (!sending.isMidFrame) this.pump();
    sending.keepTail(frame);
  }

  #noteSent(): void {
    // The byte that ends a stream which was given up is none of the application's.
    if (!this.isLive) return;
    this.#sending.hasSent = true;
    if (this.initiator === 'local') this.handler.onSent?.();
  }

  get #hasRoom(): boolean {
    return this.#sending.unsentBytes <= this.#io.sendHighWaterBytes;
  }

  #drainIfRoom(): void {
    if (!this.isLive || !this.#hasRoom) return;
    this.#sending.awaitsDrain = false;
    this.handler.onDrain?.();
  }

  #finishIfBothEnded(): void {
    if (this.#sending.isEnded && this.#receiving?.isEnded === true && this.isLive)
      this.#finish('ended');
  }

  #finish(how: 'ended' | 'reset'): void {
    this.#life = how;
    if (this.#sending.isEnded || this.id < 0) {
      this.#sending.discard();
    } else {
      this.#sending.giveUp();
      this.pump();
    }
    this.#io.finished(this, this.#receiving?.hasFin !== true);
  }

  #assertSendable(payloadBytes: number, end: boolean): void {
    if (!this.isLive) throw this.#overError();
    if (!this.#sending.isOpen) throw alreadyEnded();
    if (payloadBytes === 0 && !end) {
      throw new MeshError('InvalidArgument', 'a frame without payload can only end a stream');
    }
    const { maxMessageBytes, sendHighWaterBytes } = this.#io;
    if (payloadBytes > maxMessageBytes) {
      // The peer would close the connection over it.
      const text = `payload of ${payloadBytes} bytes is over the limit of ${maxMessageBytes}`;
      throw new MeshError('MessageTooLarge', text);
    }
    const { unsentBytes } = this.#sending;
    if (unsentBytes > maxMessageBytes + 4 * sendHighWaterBytes) {
      const text = `stream holds ${unsentBytes} unsent bytes: wait for onDrain`;
      throw new MeshError('Overloaded', text);
    }
  }

  #overError(): MeshError {
    if (this.#io.isOver) return new MeshError('ConnectionClosed', 'connection is closed');
    if (this.#life === 'ended') return alreadyEnded();
    return new MeshError('StreamReset', 'stream was reset');
  }
}

function newFrame(
  payload: Uint8Array,
  payloadBytes: number,
  end: boolean,
  { tail, tailChecksum, tailSum, compression = Compression.none }: SendOptions,
): OutgoingFrame {
  return {
    control: end ? FrameFlag.end : 0,
    messageId: 0,
    checksum: false,
    compression,
    payload,
    tail,
    tailChecksum,
    tailSum,
    payloadBytes,
  };
}

function alreadyEnded(): MeshError {
  return new MeshError('InvalidArgument', 'stream was ended already');
}

function receivedBytes({ flags, payload }: Frame): number {
  const checksumBytes = (flags & FrameFlag.checksum) === 0 ? 0 : CHECKSUM_BYTES;
  return HEADER_BYTES + payload.length + checksumBytes;
}
