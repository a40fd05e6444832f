/** One stream of a multiplexed connection: the frames of one message id. */
import { NO_BYTES } from '../../base/buffers.js';
import type { ByteAccount } from '../../base/byte-budget.js';
import { type InLine, type Line, Place } from '../../base/line.js';
import { MeshError, type MeshErrorCode } from '../../errors.js';
import { Compression, type Frame, FrameFlag } from '../../protocol/frame.js';
import type { Priority } from '../../protocol/priority.js';
import {
  type FrameStream,
  type FrameStreamHandler,
  NO_HANDLER,
  type SendOptions,
} from '../connection.js';
import type { Contention } from '../priority/contention.js';
import { Assembly } from './assembly.js';
import { INITIAL_STREAM_WINDOW_BYTES, ReceiveWindow, STREAM_GRANT_BYTES } from './credit.js';
import { CreditInFlight } from './credit-in-flight.js';
import { Inbox, type InboxOwner } from './inbox.js';
import { Outbox, type OutgoingFrame } from './outbox.js';

/** What a stream needs of its connection. None of it throws but where it says so. */
export interface StreamHost {
  readonly isOpen: boolean;
  readonly sendsChecksum: boolean;
  readonly maxMessageBytes: number;
  /** Above so many unsent bytes, `send` throws. */
  readonly maxQueuedBytes: number;
  /** What the peer may send on a stream before it is read. */
  readonly streamWindowBytes: number;
  readonly contention: Contention;
  /** The stream may have become able to send. */
  wake(stream: MuxStream): void;
  /** The stream is about to be of another class. */
  reclass(stream: MuxStream, priority: Priority): void;
  /** Whether `send` may go on at once. If not, the stream's `onDrain` is due later. */
  hasRoom(stream: MuxStream): boolean;
  /**
   * So many frames and bytes more, or fewer, wait for the stream's reader, or for the rest of their message. The stream may be
   * given up over it.
   * @throws MeshError Overloaded for a peer that has yet to be accepted
   */
  onHeldChange(stream: MuxStream, frames: number, bytes: number): void;
  /** A message in pieces has begun to arrive on the stream. @throws MeshError ProtocolViolation for too many at once */
  assemblyBegan(stream: MuxStream): void;
  /** It is there, or given up. */
  assemblyEnded(stream: MuxStream): void;
  /** Whether the peer may send more of that message now. If not, {@link MuxStream.creditPieces} is due later. */
  mayAssemble(stream: MuxStream): boolean;
  sendCredit(stream: MuxStream, bytes: number): void;
  /** The stream is over on the wire: its id and its place are free. */
  release(stream: MuxStream): void;
  /** The same, by this side's reset, which the peer must be told. */
  releaseWithReset(stream: MuxStream, code: MeshErrorCode, reason: string): void;
}

/**
 * The two directions end apart. Once both have, the stream is over on the wire and its connection forgets it;
 * frames that a paused reader has not taken yet are still delivered by `resume`, even after the connection.
 */
export class MuxStream implements FrameStream, InboxOwner, InLine<MuxStream> {
  /** Of streams that have yet to reach the wire. */
  line: Line<MuxStream> | undefined;
  before: MuxStream | undefined;
  after: MuxStream | undefined;
  #readyPlace: Place<MuxStream> | undefined;
  #drainingPlace: Place<MuxStream> | undefined;
  readonly initiator: 'local' | 'remote';
  /** Set by {@link StreamHost.reclass} only. */
  priority: Priority;
  /** Whether the peer's stream limit leaves room for this stream. */
  mayStart: boolean;
  readonly #host: StreamHost;
  /** From the first frame to the last: most streams send one frame at once, and then wait for long. */
  #outbox: Outbox | undefined;
  /** From when something comes, for the same reason. */
  #inbox: Inbox | undefined;
  #window: ReceiveWindow | undefined;
  #account: ByteAccount | undefined;
  /** Of bulk data. */
  #inFlight: CreditInFlight | undefined;
  #messageId = 0;
  /** Of the message that is arriving in pieces, if one is. */
  #assembly: Assembly | undefined;
  /** Bytes of its pieces whose credit was not given back yet. */
  #uncreditedBytes = 0;
  #hasSent = false;
  #reader: FrameStreamHandler | undefined;
  /** `ending`: the last frame is handed over, and not on the wire yet. */
  #sending: 'open' | 'ending' | 'ended' | 'reset' = 'open';

  /** @param reader undefined for a peer's stream that no one has taken yet: see {@link adopt} */
  constructor(
    host: StreamHost,
    initiator: 'local' | 'remote',
    reader?: FrameStreamHandler,
    priority: Priority = 'normal',
  ) {
    this.#host = host;
    this.initiator = initiator;
    this.priority = priority;
    this.mayStart = initiator === 'remote';
    this.#reader = reader;
  }

  /** In the line of those that have a frame to send. Most streams never stand there. */
  get readyPlace(): Place<MuxStream> {
    this.#readyPlace ??= new Place(this);
    return this.#readyPlace;
  }

  /** In the line of those that wait for `onDrain`. */
  get drainingPlace(): Place<MuxStream> {
    this.#drainingPlace ??= new Place(this);
    return this.#drainingPlace;
  }

  get isReady(): boolean {
    return this.#readyPlace?.line !== undefined;
  }

  get isDraining(): boolean {
    return this.#drainingPlace?.line !== undefined;
  }

  get messageId(): number {
    return this.#messageId;
  }

  get hasSent(): boolean {
    return this.#hasSent;
  }

  get handler(): FrameStreamHandler {
    return this.#reader ?? NO_HANDLER;
  }

  set handler(handler: FrameStreamHandler) {
    this.#reader = handler;
  }

  get account(): ByteAccount | undefined {
    return this.#account;
  }

  set account(account: ByteAccount | undefined) {
    this.#account = account;
    if (this.#outbox !== undefined) this.#outbox.account = account;
  }

  /** Whether frames wait for the reader. */
  get isHolding(): boolean {
    return this.#inbox?.isHolding === true;
  }

  get reader(): FrameStreamHandler | undefined {
    return this.#reader;
  }

  get queuedBytes(): number {
    return this.#outbox === undefined ? 0 : this.#outbox.queuedBytes;
  }

  send(payload: Uint8Array, options: SendOptions = {}): boolean {
    const { end = false, tail } = options;
    const frame = this.#frame(payload, options, end ? FrameFlag.end : 0);
    this.#assertSendable(frame.payloadBytes, end);
    this.#sendBox.push(frame);
    if (end) this.#sending = 'ending';
    this.#host.wake(this);
    if (tail !== undefined) this.#outbox?.ownLast();
    return this.#host.hasRoom(this);
  }

  unsend(): void {
    if (this.#hasSent || this.#sending === 'reset' || !this.#host.isOpen) return;
    this.#outbox?.clear();
    this.#sending = 'open';
  }

  end(): void {
    if (this.#sending !== 'open' || !this.#host.isOpen) return;
    this.#sending = 'ending';
    if (this.#outbox?.endLast() === true) return;
    this.#sendBox.push(this.#frame(NO_BYTES, NO_OPTIONS, FrameFlag.end));
    this.#host.wake(this);
  }

  prioritize(priority: Priority): void {
    if (priority !== this.priority) this.#host.reclass(this, priority);
  }

  reset(code: MeshErrorCode, reason = ''): void {
    const wasOver = this.#isOver();
    this.#drop();
    if (!wasOver) this.#host.releaseWithReset(this, code, reason);
  }

  pause(): void {
    this.#receiveBox.pause();
  }

  resume(): void {
    this.#inbox?.resume();
  }

  /** Gives a peer's stream to whoever takes it, with all that came until now. */
  adopt(handler: FrameStreamHandler): void {
    this.#reader = handler;
    this.#inbox?.drain();
  }

  /** The stream has its id: its first frame is about to be, or was, on the wire. */
  reachWire(messageId: number): void {
    this.#messageId = messageId;
  }

  /** Grants what the window has beyond what the peer counts on. Once, as soon as the peer knows the stream. */
  sendOpeningCredit(): void {
    // Nothing beyond what the peer counts on.
    if (this.#host.streamWindowBytes <= INITIAL_STREAM_WINDOW_BYTES) return;
    this.#sendCredit(this.#receiveWindow.takeOpeningGrant());
  }

  /** What the first waiting frame may need besides the socket: see {@link Outbox.next}. */
  get nextToSend(): 'none' | 'data' | 'bareEnd' {
    const outbox = this.#outbox;
    if (outbox === undefined || !this.mayStart) return 'none';
    const { next } = outbox;
    if (next === 'data' && (outbox.credit.isExhausted || !this.mayGo)) return 'none';
    return next;
  }

  /** Whether the first waiting frame goes in pieces. */
  get isCut(): boolean {
    return this.#outbox?.isCut === true;
  }

  /** Whether bulk data may go on, for the sake of others. */
  get mayGo(): boolean {
    if (this.priority !== 'bulk') return true;
    this.#inFlight ??= new CreditInFlight(
      this.#host.contention,
      this.#sendBox.credit.availableBytes,
    );
    return this.#inFlight.hasRoom(performance.now());
  }

  /** The frame to be written now, or the next piece of it. Call {@link onWritten} when it is. */
  takeFrame(): OutgoingFrame | undefined {
    const frame = this.#outbox?.take();
    if (frame === undefined) return undefined;
    frame.messageId = this.#messageId;
    this.#hasSent = true;
    if (this.priority !== 'bulk') this.#host.contention.note();
    else this.#inFlight?.sent(frame.payloadBytes, performance.now());
    return frame;
  }

  onWritten(frame: OutgoingFrame): void {
    if ((frame.control & FrameFlag.end) === 0 || this.#sending !== 'ending') return;
    this.#sending = 'ended';
    // The sender of bulk data may still wait for room.
    if (this.#inFlight === undefined) this.#outbox = undefined;
    if (this.#isOver()) this.#host.release(this);
  }

  /** @throws MeshError ProtocolViolation, FlowControlViolation, FrameTooLarge */
  receiveData(frame: Frame): void {
    const inbox = this.#receiveBox;
    if (inbox.isEnded) {
      throw new MeshError('ProtocolViolation', `frame after the end of stream ${this.messageId}`);
    }
    this.#receiveWindow.receive(frame.payload.length);
    if (this.#assembly !== undefined || (frame.flags & FrameFlag.more) !== 0) {
      const whole = this.#assemble(frame);
      if (whole === undefined) return;
      frame = whole;
    }
    if ((frame.flags & FrameFlag.end) !== 0) {
      inbox.markEnded();
      // Before delivery: the place is free on the wire whenever the reader takes the rest.
      if (this.#isOver()) this.#host.release(this);
    }
    if (frame.payload.length > 0) inbox.deliver(frame);
    inbox.drain();
  }

  /** @throws MeshError FlowControlViolation */
  receiveCredit(bytes: number): void {
    // Nothing is left to send.
    if (this.#outbox === undefined && this.#sending !== 'open') return;
    const { credit } = this.#sendBox;
    credit.grant(bytes);
    this.#inFlight?.granted(bytes, credit.availableBytes, performance.now());
    this.#host.wake(this);
  }

  /** The stream is over by the peer's decision, or with its connection. */
  abandon(error: MeshError): void {
    this.#drop();
    this.#reader?.onReset(error);
  }

  /** This side's connection gives up the stream. */
  fail(error: MeshError): void {
    this.reset(error.code, error.message);
    this.#reader?.onReset(error);
  }

  onRead(bytes: number): void {
    if (this.#inbox?.isEnded === true) return;
    const window = this.#receiveWindow;
    window.consume(bytes);
    this.#sendCredit(window.takeGrant());
  }

  onHeldChange(frames: number, bytes: number): void {
    this.#host.onHeldChange(this, frames, bytes);
  }

  /** Lets the peer send more of the message that is arriving in pieces. */
  creditPieces(): void {
    const bytes = this.#uncreditedBytes;
    this.#uncreditedBytes = 0;
    if (bytes > 0) this.onRead(bytes);
  }

  get #sendBox(): Outbox {
    this.#outbox ??= new Outbox(this.#account);
    return this.#outbox;
  }

  get #receiveBox(): Inbox {
    this.#inbox ??= new Inbox(this);
    return this.#inbox;
  }

  get #receiveWindow(): ReceiveWindow {
    this.#window ??= new ReceiveWindow(
      INITIAL_STREAM_WINDOW_BYTES,
      this.#host.streamWindowBytes,
      STREAM_GRANT_BYTES,
    );
    return this.#window;
  }

  #frame(
    payload: Uint8Array,
    { tail, tailChecksum, tailSum, compression = Compression.none }: SendOptions,
    control: number,
  ): OutgoingFrame {
    return {
      payload,
      tail,
      tailChecksum,
      tailSum,
      payloadBytes: payload.length + (tail === undefined ? 0 : tail.length),
      compression,
      control,
      messageId: 0,
      checksum: this.#host.sendsChecksum,
    };
  }

  #sendCredit(bytes: number): void {
    if (bytes > 0) this.#host.sendCredit(this, bytes);
  }

  #isOver(): boolean {
    return (
      this.#sending === 'reset' || (this.#sending === 'ended' && this.#inbox?.isEnded === true)
    );
  }

  /**
   * Joins a piece to those before it. The credit of pieces is given back while the message grows, because the rest of it needs
   * that; once whole, the message owes it again until it is read.
   * @returns the message as one frame, once it is there
   * @throws MeshError ProtocolViolation, FrameTooLarge
   */
  #assemble(piece: Frame): Frame | undefined {
    if (this.#assembly === undefined) {
      this.#host.assemblyBegan(this);
      this.#assembly = new Assembly(piece, this.#host.maxMessageBytes);
    } else {
      this.#assembly.add(piece);
    }
    this.#host.onHeldChange(this, 0, piece.payload.length);
    // It was too much, and this stream is the one that was given up.
    if (this.#assembly === undefined) return undefined;
    this.#uncreditedBytes += piece.payload.length;
    if ((piece.flags & FrameFlag.more) !== 0) {
      if (this.#host.mayAssemble(this)) this.creditPieces();
      return undefined;
    }
    const whole = this.#assembly.whole;
    this.onRead(this.#uncreditedBytes - whole.payload.length);
    this.#endAssembly();
    return whole;
  }

  #endAssembly(): void {
    const assembly = this.#assembly;
    if (assembly === undefined) return;
    this.#assembly = undefined;
    this.#uncreditedBytes = 0;
    this.#host.onHeldChange(this, 0, -assembly.bytes);
    this.#host.assemblyEnded(this);
  }

  #drop(): void {
    this.#endAssembly();
    this.#sending = 'reset';
    this.#outbox?.clear();
    // Also where nothing has come: nothing is delivered from now on.
    this.#receiveBox.discard();
  }

  #assertSendable(payloadBytes: number, end: boolean): void {
    if (!this.#host.isOpen) throw new MeshError('ConnectionClosed', 'connection is closed');
    if (this.#sending === 'reset') throw new MeshError('StreamReset', 'stream was reset');
    if (this.#sending !== 'open') throw new MeshError('InvalidArgument', 'send after end');
    if (payloadBytes === 0 && !end) {
      throw new MeshError('InvalidArgument', 'a frame without payload can only end a stream');
    }
    const { maxMessageBytes, maxQueuedBytes } = this.#host;
    if (payloadBytes > maxMessageBytes) {
      // The peer would close the connection over it.
      throw new MeshError(
        'MessageTooLarge',
        `payload of ${payloadBytes} bytes is over the limit of ${maxMessageBytes}`,
      );
    }
    if (this.queuedBytes > maxQueuedBytes) {
      throw new MeshError('Overloaded', `${this.queuedBytes} bytes wait to be sent on one stream`);
    }
  }
}

const NO_OPTIONS: SendOptions = {};
