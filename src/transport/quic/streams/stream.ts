/**
 * One request on a QUIC connection: a bidirectional stream that carries frames. SPEC.md, "QUIC".
 *
 * The stream keeps its own books, the connection drives the binding: `StreamIo` is all it needs of it.
 *
 * A side's last frame has the end bit, and FIN comes with its last byte. FIN without that bit says that the side
 * gave up; it then comes with one byte of no meaning. So FIN never travels alone, for a reason: quiche 0.18.0
 * takes a stream whose bytes are acknowledged for complete, and forgets a FIN of its own that was lost.
 */
import { MeshError, type MeshErrorCode } from '../../../errors.js';
import { crc32After } from '../../../protocol/checksum.js';
import {
  CHECKSUM_BYTES,
  Compression,
  encodeFrame,
  type Frame,
  type FrameDecoder,
  FrameFlag,
  frameBytes,
  HEADER_BYTES,
} from '../../../protocol/frame.js';
import type { TailSum } from '../../../protocol/kept-message.js';
import type { Priority } from '../../../protocol/priority.js';
import type {
  FrameStream,
  FrameStreamHandler,
  SendOptions,
  StreamOptions,
} from '../../connection.js';
import type { FrameMemory } from '../../frame-memory.js';

/** What a stream asks of its connection. */
export interface StreamIo {
  readonly maxMessageBytes: number;
  readonly sendHighWaterBytes: number;
  readonly checksum: boolean;
  /** For large frames: the binding copies what it takes. */
  readonly frameMemory: FrameMemory;
  /** The connection is closing or closed. */
  readonly isOver: boolean;
  /** Gives the stream its place on the wire, or puts it in line for one. */
  open(stream: QuicStream): void;
  /** The stream, which has its place, is about to be of another class. */
  reclass(stream: QuicStream, priority: Priority): void;
  /** Hands bytes to QUIC; returns how many it took. A stream that the peer stopped is reset from within. */
  write(stream: QuicStream, bytes: Uint8Array, fin: boolean): number;
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
  /** By the limits in force now: a stream asks for it with the first bytes that it receives. */
  newDecoder(): FrameDecoder;
  countFrame(direction: 'sent' | 'received', bytes: number): void;
}

/** A frame that waits, either for the stream's place on the wire or for room behind earlier bytes. */
interface Unsent {
  readonly payload: Uint8Array;
  /** Someone else's memory: kept for as long as the call lasts that hands the frame over. */
  tail: Uint8Array | undefined;
  readonly tailChecksum: number | undefined;
  readonly tailSum: TailSum | undefined;
  /** Of payload and tail together. */
  readonly payloadBytes: number;
  readonly compression: Compression;
  readonly end: boolean;
}

type Phase =
  | { readonly kind: 'live' }
  | {
      readonly kind: 'over';
      /** False after both sides have ended. */
      readonly wasReset: boolean;
    };

const LIVE: Phase = { kind: 'live' };
const NOTHING = Buffer.alloc(0);
/** What comes with the FIN of a side that gave up. */
const GIVEN_UP = Buffer.alloc(1);
const UNUSED_BITS = FrameFlag.reset | FrameFlag.credit | FrameFlag.more;

/** The message id of a bidirectional stream: 4n is the dialer's 2n+1, 4n+1 the acceptor's 2n+2. */
export function messageIdOf(streamId: number): number {
  return Math.floor(streamId / 4) * 2 + 1 + (streamId & 1);
}

/** The bidirectional stream of a message id; the reverse of {@link messageIdOf}. */
export function streamIdOf(messageId: number): number {
  const side = (messageId - 1) & 1;
  return ((messageId - 1 - side) / 2) * 4 + side;
}

export class QuicStream implements FrameStream {
  handler: FrameStreamHandler;
  readonly initiator: 'local' | 'remote';
  /** It may begin before TLS is done. */
  readonly isEarly: boolean;
  /** Set by {@link StreamIo.reclass} only, once the stream has its place. */
  priority: Priority;
  /** QUIC's stream id; -1 while the stream waits for its place. */
  id = -1;
  readonly #io: StreamIo;
  #decoder: FrameDecoder | undefined;
  #phase: Phase = LIVE;
  #paused = false;
  /** This side's last frame was handed to `send`; `#sendingOver` once QUIC has all of it, with the FIN. */
  #endQueued = false;
  #sendingOver = false;
  #finReceived = false;
  /** A frame with the end bit was delivered; its end is told once the reader is not paused. */
  #lastFrameSeen = false;
  /** The handler was told of the peer's end. */
  #peerEnded = false;
  #queue: Unsent[] = [];
  /** The rest of an encoded frame that QUIC took in part, and whether the stream ends with it. */
  #partial: Uint8Array = NOTHING;
  /** What it was encoded into, where that is to be given back. */
  #partialMemory: Buffer | undefined;
  #partialEnds = false;
  #unsentBytes = 0;
  #hasSent = false;
  #wantsDrain = false;

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
  }

  get messageId(): number {
    return this.id < 0 ? 0 : messageIdOf(this.id);
  }

  get hasSent(): boolean {
    return this.#hasSent;
  }

  get isLive(): boolean {
    return this.#phase.kind === 'live';
  }

  /** Whether the stream has bytes that QUIC did not take yet. */
  get isBlocked(): boolean {
    return this.#partial.length > 0 || this.#queue.length > 0;
  }

  /** Whether this side has yet to hand its end to QUIC. */
  get maySend(): boolean {
    return this.isLive && !this.#sendingOver;
  }

  /** Bytes that it keeps of a frame that is not whole yet. */
  get partialBytes(): number {
    return this.isLive ? (this.#decoder?.bufferedBytes ?? 0) : 0;
  }

  get isPaused(): boolean {
    return this.#paused && this.isLive;
  }

  /** Whether it is left unread although more may come: even if it were reset. */
  get isUnread(): boolean {
    return this.isPaused && !this.#finReceived;
  }

  send(payload: Uint8Array, options: SendOptions = {}): boolean {
    if (this.#phase.kind !== 'live') throw this.#overError();
    const { end = false, tail, tailChecksum, tailSum } = options;
    const payloadBytes = payload.length + (tail === undefined ? 0 : tail.length);
    if (this.#endQueued) throw new MeshError('InvalidArgument', 'stream was ended already');
    if (payloadBytes === 0 && !end) {
      throw new MeshError('InvalidArgument', 'a frame without payload can only end a stream');
    }
    if (payloadBytes > this.#io.maxMessageBytes) {
      // The peer would close the connection over it.
      const text = `payload of ${payloadBytes} bytes is over the limit of ${this.#io.maxMessageBytes}`;
      throw new MeshError('MessageTooLarge', text);
    }
    const limitBytes = this.#io.maxMessageBytes + 4 * this.#io.sendHighWaterBytes;
    if (this.#unsentBytes > limitBytes) {
      throw new MeshError(
        'Overloaded',
        `stream holds ${this.#unsentBytes} unsent bytes: wait for onDrain`,
      );
    }
    this.#endQueued = end;
    const { compression = Compression.none } = options;
    this.#push({ payload, tail, tailChecksum, tailSum, payloadBytes, compression, end });
    if (this.#unsentBytes <= this.#io.sendHighWaterBytes) return true;
    this.#wantsDrain = true;
    return false;
  }

  unsend(): void {
    if (this.#hasSent || this.#phase.kind !== 'live') return;
    this.#dropUnsent();
    this.#endQueued = false;
    this.#wantsDrain = false;
  }

  end(): void {
    if (this.#phase.kind !== 'live' || this.#endQueued) return;
    this.#endQueued = true;
    this.#push({
      payload: NOTHING,
      tail: undefined,
      tailChecksum: undefined,
      tailSum: undefined,
      payloadBytes: 0,
      compression: Compression.none,
      end: true,
    });
  }

  reset(code: MeshErrorCode, reason = ''): void {
    if (this.#phase.kind !== 'live') return;
    this.#io.abandon(this, code, reason);
    this.#finish(true);
  }

  prioritize(priority: Priority): void {
    if (priority === this.priority) return;
    if (this.id >= 0 && this.isLive) this.#io.reclass(this, priority);
    else this.priority = priority;
  }

  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    if (this.isLive) this.#io.paused(this);
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    if (this.isLive) this.#io.readSoon(this);
  }

  /** Hands over what waits, as far as QUIC takes it. Called when there may be room. */
  pump(): void {
    while (this.isBlocked && !this.#sendingOver) {
      if (this.#partial.length === 0) this.#encodeNext();
      const took = this.#io.write(this, this.#partial, this.#partialEnds);
      this.#unsentBytes -= took;
      // The byte that ends a stream which was given up is none of the call's.
      if (took > 0 && !this.#hasSent && this.isLive) {
        this.#hasSent = true;
        if (this.initiator === 'local') this.handler.onSent?.();
      }
      if (took < this.#partial.length) {
        this.#partial = this.#partial.subarray(took);
        break;
      }
      this.#forgetPartial();
      if (this.#partialEnds) this.#sendingOver = true;
    }
    // Whoever waits for room hears of it ahead of the end.
    this.#drainIfRoom();
    this.#finishIfBothEnded();
  }

  /** QUIC takes nothing more on this stream. */
  sendingFailed(): void {
    this.#dropUnsent();
    this.#sendingOver = true;
  }

  /**
   * Bytes from the peer, and whether they are the last. Their memory passes to the stream.
   * @throws MeshError as {@link progress}
   */
  receive(bytes: Uint8Array, fin: boolean): void {
    if (this.#phase.kind !== 'live') return;
    if (fin) this.#finReceived = true;
    if (bytes.length > 0) {
      // Nobody would look at them again, and they are off QUIC's account.
      if (this.#peerEnded) throw this.#behindTheEnd();
      this.#decoder ??= this.#io.newDecoder();
      this.#decoder.push(bytes);
    }
    this.progress();
  }

  /**
   * Gives whole frames to the handler, then the end, until it pauses or there is no more.
   * @throws MeshError what the decoder throws, and ProtocolViolation for an id or a flag that QUIC does not use,
   *   or a frame after the end
   */
  progress(): void {
    while (this.#phase.kind === 'live' && !this.#paused && !this.#peerEnded) {
      if (this.#lastFrameSeen) {
        this.#receiveEnd();
        return;
      }
      const frame = this.#decoder?.next();
      if (frame === undefined) {
        if (this.#finReceived) this.#receiveAbort();
        return;
      }
      this.#checkFrame(frame.messageId, frame.flags);
      this.#lastFrameSeen = (frame.flags & FrameFlag.end) !== 0;
      this.#io.countFrame('received', receivedBytes(frame));
      if (frame.payload.length > 0) this.handler.onFrame(frame);
    }
  }

  /** This side gives up the stream, and its handler hears of it. */
  fail(error: MeshError): void {
    if (this.#phase.kind !== 'live') return;
    this.reset(error.code, error.message);
    this.handler.onReset(error);
  }

  /** The stream is over by the peer, or with its connection. The handler hears of it, once. */
  receiveReset(error: MeshError): void {
    if (this.#phase.kind !== 'live') return;
    this.#finish(true);
    this.handler.onReset(error);
  }

  /** FIN without the end bit before it. */
  #receiveAbort(): void {
    this.#io.hearNotices();
    if (this.isLive) this.#io.awaitNotice(this);
  }

  /** The peer gave up the stream, and a notice that would say why did not come. */
  endUnexplained(): void {
    const text = 'the peer gave up the stream';
    this.receiveReset(new MeshError('StreamReset', text, { side: 'remote' }));
  }

  #receiveEnd(): void {
    if (this.#decoder !== undefined && this.#decoder.bufferedBytes > 0) {
      throw this.#behindTheEnd();
    }
    this.#peerEnded = true;
    this.handler.onEnd();
    this.#finishIfBothEnded();
  }

  #push(unsent: Unsent): void {
    this.#queue.push(unsent);
    this.#unsentBytes += unsent.payloadBytes;
    if (this.id < 0) this.#io.open(this);
    else if (this.#partial.length === 0) this.pump();
    // What could not be encoded at once waits in memory of its own.
    if (unsent.tail !== undefined && this.#queue.length > 0) unsent.tail = Buffer.from(unsent.tail);
  }

  #encodeNext(): void {
    const next = this.#queue.shift() as Unsent;
    this.#partialEnds = next.end;
    noteSum(next);
    const frame = {
      control: next.end ? FrameFlag.end : 0,
      messageId: this.messageId,
      payload: next.payload,
      tail: next.tail,
      tailChecksum: next.tailSum?.value ?? next.tailChecksum,
      compression: next.compression,
      checksum: this.#io.checksum,
    };
    this.#partialMemory = this.#io.frameMemory.take(frameBytes(frame));
    this.#partial = encodeFrame(frame, this.#partialMemory);
    this.#unsentBytes += this.#partial.length - next.payloadBytes;
    this.#io.countFrame('sent', this.#partial.length);
  }

  #checkFrame(messageId: number, flags: number): void {
    if (messageId !== this.messageId) {
      throw new MeshError(
        'ProtocolViolation',
        `frame of message ${messageId} on the stream of ${this.messageId}`,
      );
    }
    if ((flags & UNUSED_BITS) !== 0) {
      throw new MeshError('ProtocolViolation', 'reset, credit and more are for TCP');
    }
  }

  #drainIfRoom(): void {
    if (!this.#wantsDrain || this.#phase.kind !== 'live') return;
    if (this.#unsentBytes > this.#io.sendHighWaterBytes) return;
    this.#wantsDrain = false;
    this.handler.onDrain?.();
  }

  #dropUnsent(): void {
    this.#queue.forEach(noteSum);
    this.#queue = [];
    this.#forgetPartial();
    this.#partialEnds = false;
    this.#unsentBytes = 0;
  }

  #forgetPartial(): void {
    this.#partial = NOTHING;
    if (this.#partialMemory === undefined) return;
    this.#io.frameMemory.give(this.#partialMemory);
    this.#partialMemory = undefined;
  }

  #finishIfBothEnded(): void {
    if (this.#sendingOver && this.#peerEnded && this.#phase.kind === 'live') this.#finish(false);
  }

  #finish(wasReset: boolean): void {
    this.#phase = { kind: 'over', wasReset };
    // A frame that lacks one byte gets that one: any other would make it whole and wrong.
    let rest = this.#partial;
    this.#dropUnsent();
    if (!this.#sendingOver && this.id >= 0) {
      // QUIC must see an end of this side too, or the peer's stream credit never comes back.
      rest = rest.length === 1 ? Buffer.from(rest) : GIVEN_UP;
      this.#partial = rest;
      this.#partialEnds = true;
      this.#unsentBytes = rest.length;
      this.pump();
    }
    this.#io.finished(this, !this.#finReceived);
  }

  #behindTheEnd(): MeshError {
    const text = `bytes after the end of message ${this.messageId}`;
    return new MeshError('ProtocolViolation', text);
  }

  #overError(): MeshError {
    if (this.#io.isOver) return new MeshError('ConnectionClosed', 'connection is closed');
    if (this.#phase.kind === 'over' && !this.#phase.wasReset) {
      return new MeshError('InvalidArgument', 'stream was ended already');
    }
    return new MeshError('StreamReset', 'stream was reset');
  }
}

/** Who wants to know what the tail was learns it before that is gone. */
function noteSum({ tail, tailSum }: Unsent): void {
  if (tailSum !== undefined && tail !== undefined) tailSum.value ??= crc32After(0, tail);
}

function receivedBytes({ flags, payload }: Frame): number {
  const checksumBytes = (flags & FrameFlag.checksum) === 0 ? 0 : CHECKSUM_BYTES;
  return HEADER_BYTES + payload.length + checksumBytes;
}
