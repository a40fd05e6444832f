/** A dataTransfer that the peer opened: its bytes are the call's body, and the handler's bytes go back. */

import type { ByteBudget } from '../../base/byte-budget.js';
import { MeshError } from '../../errors.js';
import type { Frame } from '../../protocol/frame.js';
import type { FrameCodec } from '../../protocol/frame-codec.js';
import type { DataTransfer, Message } from '../../protocol/message.js';
import type { FrameStream } from '../../transport/connection.js';
import type { Flow } from '../flow.js';
import type { Bytes } from '../types.js';
import { ByteQueue } from './byte-queue.js';
import { ChunkReceiver } from './chunk-receiver.js';
import { DrainGate, sendChunks } from './chunk-sender.js';
import { checkCrc32, isCrc32, TransferChecksum } from './transfer-checksum.js';

/** What is kept of an interrupted transfer. */
export interface TransferMemory {
  readonly received: TransferChecksum;
  /** The position up to which handlers have taken its bytes. */
  readonly handedTo: number;
  readonly sent: TransferChecksum;
}

/** What a transfer asks of its session. */
export interface TransferHost {
  readonly codec: FrameCodec;
  /** Counts the bytes that wait to be sent. */
  readonly chunkBudget: ByteBudget;
  /** Counts the bytes that wait to be read. */
  readonly unreadBudget: ByteBudget;
}

/** Both directions of one attempt at a transfer of the peer. Knows no handler. */
export class IncomingTransfer {
  readonly body: ByteQueue;
  readonly #open: DataTransfer;
  readonly #stream: FrameStream;
  readonly #codec: FrameCodec;
  readonly #chunkBudget: ByteBudget;
  readonly #gate = new DrainGate();
  #received: TransferChecksum;
  #receiver: ChunkReceiver;
  #sent: TransferChecksum;
  /** With `resume`: the handler has called `resumeAt`, or has begun to read and so asked for all bytes. */
  #hasAsked = false;
  /** The position up to which handlers had taken bytes before those that are asked for now. */
  #handedBefore: number;

  /** @param open the first message. Its data is passed to `receive` as well */
  constructor(open: DataTransfer, stream: FrameStream, host: TransferHost, flow: Flow) {
    const { offset, priorChecksum, resume = false } = open;
    this.#open = open;
    this.#stream = stream;
    this.#codec = host.codec;
    this.#chunkBudget = host.chunkBudget;
    stream.account = host.chunkBudget;
    this.#handedBefore = offset;
    this.#received = new TransferChecksum(resume ? 0 : offset, undefined, resume);
    this.#receiver = new ChunkReceiver(this.#received);
    this.#sent = new TransferChecksum(offset, priorChecksum, resume);
    this.body = new ByteQueue(flow, () => {}, {
      onReader: resume ? () => this.#readFromStart() : undefined,
      budget: host.unreadBudget,
    });
  }

  get memory(): TransferMemory {
    const handedTo = this.#handedBefore + this.body.takenBytes;
    return { received: this.#received, handedTo, sent: this.#sent };
  }

  /**
   * To be called before anything else.
   * @param memory of the attempt before, if it is known. This transfer owns it from here on
   * @throws MeshError ChecksumMismatch, UnexpectedMessage when the opener cannot continue where it wants to
   */
  begin(memory: TransferMemory | undefined): void {
    const { offset, priorChecksum, resume = false, data } = this.#open;
    if (priorChecksum !== undefined && !isCrc32(priorChecksum)) {
      throw new MeshError('UnexpectedMessage', 'priorChecksum is no CRC-32');
    }
    if (!resume) return;
    if (data !== undefined) {
      throw new MeshError('UnexpectedMessage', 'a resumed transfer began with data');
    }
    this.#handedBefore = memory?.handedTo ?? 0;
    if (memory === undefined) return;
    const known = memory.sent.at(offset);
    if (known !== undefined && priorChecksum !== undefined && known !== priorChecksum) {
      const text = `what came before ${offset} is not what this node has sent`;
      throw new MeshError('ChecksumMismatch', text);
    }
    this.#received = memory.received;
    this.#sent = memory.sent;
    this.#sent.restart(offset, priorChecksum);
  }

  /** @throws MeshError UnexpectedMessage, ChecksumMismatch */
  receive(message: Message, frame: Frame): void {
    if (this.#open.resume === true && !this.#hasAsked) {
      throw new MeshError('UnexpectedMessage', 'bytes came before it was said from where on');
    }
    this.body.push(this.#receiver.take(message, frame), frame.loan);
  }

  /** See CallContext.resumeAt. */
  resumeAt(offset: number, checksum?: number): void {
    if (this.#open.resume !== true || this.#hasAsked) {
      throw new MeshError(
        'InvalidArgument',
        'resumeAt is for a transfer with resume, once and before its body is read',
      );
    }
    if (!Number.isSafeInteger(offset) || offset < 0) {
      throw new MeshError('InvalidArgument', `no position to resume at: ${offset}`);
    }
    if (checksum !== undefined) checkCrc32(checksum);
    this.#askFrom(offset, this.#priorAt(offset, checksum));
  }

  /**
   * Sends the handler's bytes and their checksum, and ends the stream. Without bytes it only ends the stream.
   * @throws MeshError what ended the stream, InvalidArgument for a piece that is not bytes, or what the source throws
   */
  async answer(bytes: Bytes | undefined): Promise<void> {
    if (bytes === undefined) {
      this.#stream.end();
      return;
    }
    const { transferId } = this.#open;
    await sendChunks(bytes, {
      transferId,
      checksum: this.#sent,
      stream: this.#stream,
      gate: this.#gate,
      codec: this.#codec,
      budget: this.#chunkBudget,
    });
  }

  /** Whether the handler's bytes wait for the peer to take some. */
  get isHeldUp(): boolean {
    return this.#gate.isAwaited;
  }

  /** How many of the handler's bytes the stream has taken. */
  get sentBytes(): number {
    return this.#sent.offset;
  }

  /** The stream has room again. */
  drained(): void {
    this.#gate.drained();
  }

  /** The stream is over. */
  fail(error: MeshError): void {
    this.#gate.fail(error);
  }

  #readFromStart(): void {
    if (!this.#hasAsked) this.#askFrom(0, 0);
  }

  #priorAt(offset: number, checksum: number | undefined): number {
    if (offset === 0) return 0;
    const known = offset <= this.#handedBefore ? this.#received.at(offset) : undefined;
    const prior = checksum ?? known;
    if (prior !== undefined) return prior;
    const text = `give the checksum of the bytes before: what came before ${offset} is not known`;
    throw new MeshError('InvalidArgument', text);
  }

  #askFrom(resumeAt: number, priorChecksum: number): void {
    this.#hasAsked = true;
    this.#handedBefore = resumeAt;
    this.#received.restart(resumeAt, priorChecksum);
    this.#receiver = new ChunkReceiver(this.#received);
    // The stream is over: the reader gets that error.
    if (this.#gate.failure !== undefined) return;
    const { transferId } = this.#open;
    const { offset } = this.#sent;
    const message = { type: 'dataTransfer', transferId, offset, resumeAt, priorChecksum } as const;
    this.#stream.send(this.#codec.encodePlain(message).payload);
  }
}
