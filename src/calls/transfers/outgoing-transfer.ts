/** A dataTransfer that this side opened, on one connection: sends the bytes of `body`, and receives bytes for a reader. */
import type { AsyncResource } from 'node:async_hooks';
import { cancelledError, offAbort, onAbort } from '../../base/abortable.js';
import type { ByteBudget } from '../../base/byte-budget.js';
import { MAX_TIMER_MS } from '../../base/clock.js';
import { MeshError, toMeshError } from '../../errors.js';
import type { Frame } from '../../protocol/frame.js';
import type { FrameCodec } from '../../protocol/frame-codec.js';
import type { DataTransfer, Message } from '../../protocol/message.js';
import { priorityOf } from '../../protocol/priority.js';
import type { FrameStream } from '../../transport/connection.js';
import { errorOfMessage, unexpectedMessage, withExecution } from '../call-errors.js';
import { Flow, FlowSwitch } from '../flow.js';
import type { MessageSink } from '../reading/message-sink.js';
import type { PeerReader } from '../reading/peer-reader.js';
import type { CallHandler, StreamOpener } from '../stream-opener.js';
import { noTimeLeft } from '../time-left.js';
import type { Bytes, StreamCallOptions } from '../types.js';
import { ByteQueue } from './byte-queue.js';
import { ChunkReceiver } from './chunk-receiver.js';
import { DrainGate, sendChunks } from './chunk-sender.js';
import { closeBytes } from './chunk-source.js';
import type { OpenTransfer, OpenTransfers } from './open-transfers.js';
import { isCrc32, TransferChecksum } from './transfer-checksum.js';

/** How a transfer is made. */
export interface TransferOptions extends StreamCallOptions {
  /** The async context in which `body` is read: its caller's. Default: that in which the transfer begins. */
  readonly context?: AsyncResource | undefined;
}

/** How far a transfer has come, over all the connections that carried it. */
export interface TransferProgress {
  readonly incoming: ByteQueue;
  /** Pauses and resumes `incoming`. */
  readonly flow: FlowSwitch;
  readonly received: TransferChecksum;
  readonly sent: TransferChecksum;
  /** The furthest position that the peer has asked to continue from. */
  resumedAt: number;
}

/** What a transfer needs of its session. */
export interface TransferCarrier {
  readonly openTransfers: OpenTransfers;
  readonly opener: StreamOpener;
  readonly codec: FrameCodec;
  readonly reader: PeerReader;
  /** Counts the bytes that wait to be sent. */
  readonly chunkBudget: ByteBudget;
  /** Counts the bytes that wait to be read. */
  readonly unreadBudget: ByteBudget;
}

/** Opens a transfer that ends with its connection; see Peer.stream. For `onOver` see {@link carryTransfer}. */
export function openTransfer(
  carrier: TransferCarrier,
  open: DataTransfer,
  options: TransferOptions,
  onOver: (failure: MeshError | undefined) => void,
): AsyncIterable<Uint8Array> {
  const flow = new FlowSwitch();
  const incoming = new ByteQueue(flow, () => transfer.abandon());
  if (options.lendChunks === true) incoming.lend();
  const { offset, priorChecksum } = open;
  const received = new TransferChecksum(offset, priorChecksum);
  const sent = new TransferChecksum(offset, undefined);
  const progress = { incoming, flow, received, sent, resumedAt: 0 };
  const transfer = new OutgoingTransfer(carrier, open, options, progress, (failure) => {
    onOver(failure);
    if (failure === undefined) incoming.end();
    else incoming.fail(failure);
  });
  transfer.start();
  return incoming;
}

/**
 * Makes one attempt at a transfer, and continues from `progress`. `onOver` is called once, with the failure if there is one.
 * After that the attempt does not touch `progress` any more.
 */
export function carryTransfer(
  carrier: TransferCarrier,
  open: DataTransfer,
  options: TransferOptions,
  progress: TransferProgress,
  onOver: (failure: MeshError | undefined) => void,
): void {
  new OutgoingTransfer(carrier, open, options, progress, onOver).start();
}

class OutgoingTransfer implements CallHandler, MessageSink, OpenTransfer {
  readonly #carrier: TransferCarrier;
  readonly #open: DataTransfer;
  readonly #options: TransferOptions;
  readonly #progress: TransferProgress;
  readonly #onOver: (failure: MeshError | undefined) => void;
  readonly #receiver: ChunkReceiver;
  readonly #gate = new DrainGate();
  /** The caller's async context: reading the body may run the caller's code. */
  readonly #context: AsyncResource | undefined;
  #stream: FrameStream | undefined;
  #flow: Flow | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** Whether the peer has said where this side's bytes are to begin. */
  #isAsked = false;
  #settled = false;

  constructor(
    carrier: TransferCarrier,
    open: DataTransfer,
    options: TransferOptions,
    progress: TransferProgress,
    onOver: (failure: MeshError | undefined) => void,
  ) {
    this.#carrier = carrier;
    this.#open = open;
    this.#options = options;
    this.#progress = progress;
    this.#onOver = onOver;
    this.#receiver = new ChunkReceiver(progress.received);
    this.#context = options.context;
  }

  start(): void {
    const { signal, timeoutMs = Number.POSITIVE_INFINITY, body, resume } = this.#options;
    const { opener, codec } = this.#carrier;
    try {
      if (signal?.aborted === true) throw cancelledError(signal);
      if (!(timeoutMs > 0)) throw noTimeLeft(timeoutMs);
      this.#progress.incoming.chargeTo(this.#carrier.unreadBudget);
      const { payload, tail } = codec.encodePlain(this.#firstMessage(timeoutMs));
      const stream = opener.openStream(this, priorityOf(this.#open));
      stream.account = this.#carrier.chunkBudget;
      this.#stream = stream;
      this.#carrier.openTransfers.add(this);
      this.#flow = new Flow(stream);
      this.#progress.flow.turnTo(this.#flow);
      if (signal !== undefined) onAbort(signal, this.#aborted);
      if (timeoutMs <= MAX_TIMER_MS) this.#timer = setTimeout(this.#timedOut, timeoutMs);
      const taken = stream.send(payload, { tail, end: body === undefined });
      if (body !== undefined && resume !== true) this.#beginUpload(() => body as Bytes, taken);
    } catch (thrown) {
      if (typeof body !== 'function') void closeBytes(body);
      this.#fail(toMeshError(thrown));
    }
  }

  /** The reader wants no more. */
  abandon(): void {
    this.#giveUp(new MeshError('Cancelled', 'the reader stopped before the end'));
  }

  get isHeldUp(): boolean {
    return this.#progress.incoming.isHeldUp || this.#gate.isAwaited;
  }

  get isUnread(): boolean {
    const { isHeldUp, hasReader } = this.#progress.incoming;
    return isHeldUp && !hasReader;
  }

  get progress(): number {
    const { incoming, sent } = this.#progress;
    return incoming.takenBytes + sent.offset;
  }

  giveUp(): void {
    this.#giveUp(new MeshError('ConnectionClosed', 'nobody takes the bytes of the transfer'));
  }

  get flow(): Flow {
    return this.#flow as Flow;
  }

  onFrame(frame: Frame): void {
    if (!this.#settled) this.#carrier.reader.receive(frame, this.#carrier.codec, this);
  }

  get isOver(): boolean {
    return this.#settled;
  }

  onMessage(message: Message, frame: Frame): void {
    if (this.#settled) return;
    if (message.type === 'error') {
      this.#breakOff(errorOfMessage(message));
      return;
    }
    try {
      const data = this.#receiver.take(message, frame);
      const { resumeAt, priorChecksum } = message as DataTransfer;
      this.#progress.incoming.push(data, frame.loan);
      if (resumeAt !== undefined) this.#askedFrom(resumeAt, priorChecksum);
    } catch (thrown) {
      this.#giveUp(toMeshError(thrown));
    }
  }

  onBadMessage(error: MeshError): void {
    if (!this.#settled) this.#giveUp(error);
  }

  onEnd(): void {
    if (this.#settled) return;
    this.#settle(undefined);
    // An upload that still waits for room has lost its reader. One that the peer never asked for has not begun.
    this.#gate.fail(new MeshError('Cancelled', 'the peer has answered without waiting for more'));
    const { body, resume } = this.#options;
    if (body !== undefined && resume === true && !this.#isAsked) this.#stream?.end();
  }

  onReset(error: MeshError): void {
    this.#fail(withExecution(error, this.#wasSent));
  }

  onRefused(error: MeshError): void {
    this.#fail(error);
  }

  onDrain(): void {
    this.#gate.drained();
  }

  #firstMessage(timeoutMs: number): DataTransfer {
    const { received } = this.#progress;
    const { priorChecksum: _prior, ...open } = this.#open;
    const { offset, value } = received;
    return {
      ...open,
      offset,
      ...(timeoutMs > Number.MAX_SAFE_INTEGER ? {} : { timeoutMs: Math.ceil(timeoutMs) }),
      ...(this.#options.resume === true ? { resume: true } : {}),
      ...(offset === 0 || value === undefined ? {} : { priorChecksum: value }),
    };
  }

  /** @throws MeshError UnexpectedMessage, ChecksumMismatch */
  #askedFrom(resumeAt: number, priorChecksum: number | undefined): void {
    const { body, resume } = this.#options;
    if (resume !== true || this.#isAsked)
      throw unexpectedMessage('resumeAt came where none was due');
    this.#isAsked = true;
    if (typeof body !== 'function') return;
    const prior = resumeAt === 0 ? 0 : priorChecksum;
    if (prior === undefined || !isCrc32(prior)) {
      throw unexpectedMessage('resumeAt came without the checksum of what is before');
    }
    const { sent } = this.#progress;
    const known = sent.at(resumeAt);
    if (known !== undefined && known !== prior) {
      const text = `the ${resumeAt} bytes that the peer has are not those that were sent`;
      throw new MeshError('ChecksumMismatch', text);
    }
    sent.restart(resumeAt, prior);
    this.#progress.resumedAt = Math.max(resumeAt, this.#progress.resumedAt);
    this.#beginUpload(() => body(resumeAt), true);
  }

  /** Reads the body in its caller's async context: the code that runs now may belong to another call. */
  #beginUpload(source: () => Bytes, hasRoom: boolean): void {
    const begin = (): void => void this.#upload(source, hasRoom);
    if (this.#context === undefined) begin();
    else this.#context.runInAsyncScope(begin);
  }

  async #upload(source: () => Bytes, hasRoom: boolean): Promise<void> {
    const stream = this.#stream as FrameStream;
    let bytes: Bytes | undefined;
    try {
      bytes = source();
      if (!hasRoom) await this.#gate.wait();
      await sendChunks(bytes, {
        transferId: this.#open.transferId,
        checksum: this.#progress.sent,
        stream,
        gate: this.#gate,
        codec: this.#carrier.codec,
        budget: this.#carrier.chunkBudget,
      });
    } catch (thrown) {
      void closeBytes(bytes);
      const error = toMeshError(thrown, 'Cancelled');
      // The peer has ended already and wants no more bytes. The stream must end all the same.
      if (this.#settled) stream.reset('Cancelled', error.message);
      else this.#giveUp(error);
    }
  }

  readonly #aborted = (signal: AbortSignal): void => {
    this.#giveUp(cancelledError(signal));
  };

  readonly #timedOut = (): void => {
    this.#giveUp(
      new MeshError('DeadlineExceeded', `transfer took over ${this.#options.timeoutMs} ms`),
    );
  };

  get #wasSent(): boolean {
    return (this.#stream?.messageId ?? 0) > 0;
  }

  #giveUp(error: MeshError): void {
    this.#breakOff(withExecution(error, this.#wasSent));
  }

  #breakOff(error: MeshError): void {
    this.#stream?.reset(error.side === 'remote' ? 'Cancelled' : error.code, error.message);
    this.#fail(error);
  }

  #fail(error: MeshError): void {
    this.#gate.fail(error);
    if (!this.#settled) this.#settle(error);
  }

  #settle(failure: MeshError | undefined): void {
    this.#settled = true;
    this.#carrier.openTransfers.delete(this);
    // The peer can add nothing more: what is unread is the application's, which may never read it.
    this.#progress.incoming.chargeTo(undefined);
    clearTimeout(this.#timer);
    const { signal } = this.#options;
    if (signal !== undefined) offAbort(signal, this.#aborted);
    this.#onOver(failure);
  }
}
