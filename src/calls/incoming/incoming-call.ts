/** One call that the peer makes: finds the handler, runs it, and answers with its result or with an error. */

import type { ByteBudget } from '../../base/byte-budget.js';
import { isThenable } from '../../base/realms.js';
import { isWireErrorCode, MeshError, toMeshError } from '../../errors.js';
import { type PackedPayload, rawBytesOf } from '../../protocol/compression.js';
import type { Frame } from '../../protocol/frame.js';
import type { DataTransfer, Message } from '../../protocol/message.js';
import { priorityOf } from '../../protocol/priority.js';
import type { FrameStream, FrameStreamHandler } from '../../transport/connection.js';
import { Flow } from '../flow.js';
import { endHandling, newHandling, runHandling } from '../handling.js';
import type { MessageSink } from '../reading/message-sink.js';
import type { Bytes, Handler, HandlerKind, RequestMessage } from '../types.js';
import type { ArrivedCopy } from './arrived-copies.js';
import type { CallHost, HandledMessage } from './call-host.js';
import { HandlerContext } from './handler-context.js';
import type { SlotKind } from './handler-slots.js';
import { replyTo } from './reply.js';
import { TransferAttempt } from './transfer-attempt.js';

const KIND_OF: Readonly<Partial<Record<Message['type'], HandlerKind>>> = {
  queryRequest: 'query',
  replicationLog: 'replicationLog',
  consensus: 'consensus',
  dataTransfer: 'dataTransfer',
  request: 'request',
};

/** Receives the stream of one call of the peer, and settles the call exactly once. */
export class IncomingCall implements FrameStreamHandler, MessageSink, ArrivedCopy {
  readonly #host: CallHost;
  readonly #stream: FrameStream;
  #message: Message | undefined;
  #context: HandlerContext | undefined;
  #transfer: TransferAttempt | undefined;
  #flow: Flow | undefined;
  /** What the call's message takes in memory. */
  #messageBytes = 0;
  /** Bytes that the call has taken from its budget. Those of its answer are its stream's. */
  #bytes = 0;
  /** The transport has the answer, and has not sent all of it yet. */
  #isAnswered = false;
  #slot: SlotKind | undefined;
  /** The budget that the call's bytes count against. */
  #budget: ByteBudget;
  #over = false;
  #hasRun = false;
  /** Set for a call that may come twice, and of which this is the first copy. */
  #copyId: number | undefined;
  readonly #handling = newHandling();

  constructor(host: CallHost, stream: FrameStream) {
    this.#host = host;
    this.#stream = stream;
    this.#budget = host.receiveBudget;
    stream.account = this.#budget;
  }

  /** Made on first use: most calls are one small message and never hold their stream. */
  get flow(): Flow {
    this.#flow ??= new Flow(this.#stream);
    return this.#flow;
  }

  onFrame(frame: Frame): void {
    if (!this.#over) this.#host.reader.receive(frame, this.#host.codec, this, this.#host);
  }

  get isOver(): boolean {
    return this.#over;
  }

  onMessage(message: Message, frame: Frame, heldBytes: number): void {
    if (this.#over) return;
    if (this.#message === undefined) this.#messageBytes = heldBytes;
    if (this.#message === undefined && this.#host.isEarly && !isReplaySafe(message)) {
      this.flow.hold();
      this.#takeBytes(heldBytes);
      this.#host.whenOpen(() => {
        if (!this.#over) this.#giveBytes();
        this.#take(message, frame);
        this.flow.release();
      });
      return;
    }
    this.#take(message, frame);
  }

  #take(message: Message, frame: Frame): void {
    if (this.#over) return;
    try {
      if (this.#message === undefined) this.#begin(message, frame);
      else this.#continue(message, frame);
    } catch (thrown) {
      this.onBadMessage(toMeshError(thrown));
    }
  }

  onBadMessage(error: MeshError): void {
    if (this.#over) return;
    this.#host.callRefused(error);
    this.#cancel(error);
  }

  onEnd(): void {
    if (this.#message === undefined && !this.#over) {
      this.onBadMessage(new MeshError('UnexpectedMessage', 'call ended before it began'));
      return;
    }
    this.#context?.endBody();
  }

  onReset(error: MeshError): void {
    this.#context?.cancel(error);
    this.#finish(error);
  }

  repeat(answer: PackedPayload): void {
    this.#sendPacked(answer);
  }

  endUnanswered(): void {
    if (this.#over) return;
    this.#stream.end();
    this.#finish();
  }

  onDrain(): void {
    if (this.#isAnswered) this.#finish();
    else this.#transfer?.drained();
  }

  #begin(message: Message, frame: Frame): void {
    this.#message = message;
    this.#stream.prioritize(priorityOf(message));
    if ('copyId' in message && message.copyId !== undefined) {
      // Ahead of everything that might refuse the call: both copies get the same answer.
      if (!this.#host.arrivedCopies.begin(message.copyId, this)) {
        this.#host.copyDropped();
        return;
      }
      this.#copyId = message.copyId;
    }
    if (message.type === 'ping') {
      this.#host.pinged();
      this.#send(
        message.token === undefined ? { type: 'pong' } : { type: 'pong', token: message.token },
      );
      return;
    }
    if (message.type === 'handshakeRequest' || message.type === 'handshakeResponse') {
      this.#host.violated(
        new MeshError('HandshakeRepeated', 'handshake came twice on one connection'),
      );
      return;
    }
    const kind = KIND_OF[message.type];
    if (kind === undefined) {
      throw new MeshError('UnexpectedMessage', `${message.type} does not begin a call`);
    }
    const call = message as HandledMessage;
    const refusal =
      this.#host.capabilityRefusal(message.type) ?? this.#host.authorizationRefusal(call);
    if (refusal !== undefined) throw refusal;
    const handler = this.#host.handlers.get(kind);
    if (handler === undefined) throw new MeshError('NoHandler', `no handler for ${kind}`);
    this.#handling.isNested = call.nested === true;
    this.#takePlace(priorityOf(message) === 'control', this.#handling.isNested);
    if (call.type === 'dataTransfer') this.#beginTransfer(handler, call, frame);
    else this.#run(handler, call, new HandlerContext(this.#host, call));
  }

  #beginTransfer(handler: Handler<HandlerKind>, message: DataTransfer, frame: Frame): void {
    const attempt = new TransferAttempt(message, this.#stream, this.#host, {
      flow: this.flow,
      isOver: () => this.#over,
      run: () => this.#run(handler, message, context),
      refuse: (error) => this.onBadMessage(error),
      supersede: (error) => this.#supersede(error),
    });
    this.#transfer = attempt;
    const context = new HandlerContext(this.#host, message, attempt.transfer);
    this.#context = context;
    attempt.begin(message, frame);
  }

  /** @throws MeshError Overloaded */
  #takePlace(isUrgent: boolean, isNested: boolean): void {
    const { nestedReceiveBudget, slots } = this.#host;
    if (isNested) {
      this.#budget = nestedReceiveBudget;
      this.#stream.account = nestedReceiveBudget;
    }
    if (!this.#budget.hasRoomFor(isUrgent)) {
      throw new MeshError('Overloaded', 'calls under way have too many bytes already');
    }
    const kind = isUrgent ? 'urgent' : isNested ? 'nested' : 'usual';
    if (!slots.take(kind)) {
      throw new MeshError('Overloaded', `${slots.limit} calls of one node are handled already`);
    }
    this.#slot = kind;
    this.#takeBytes(this.#messageBytes);
  }

  /** The handler is done, whatever becomes of its answer. */
  #freeSlot(): void {
    if (this.#slot === undefined) return;
    this.#host.slots.give(this.#slot);
    this.#slot = undefined;
    if (this.#over) this.#letGo();
  }

  /** The call is over, and its handler is done: nothing of the message is used any more, whoever still knows the call. */
  #letGo(): void {
    this.#giveBytes();
    this.#message = undefined;
  }

  #takeBytes(bytes: number): void {
    this.#bytes += bytes;
    this.#budget.take(bytes);
  }

  #giveBytes(): void {
    if (this.#bytes > 0) this.#budget.give(this.#bytes);
    this.#bytes = 0;
  }

  /** Only a transfer has more than one message. */
  #continue(message: Message, frame: Frame): void {
    if (this.#transfer === undefined) {
      throw new MeshError('UnexpectedMessage', `${message.type} came after a call's only message`);
    }
    this.#transfer.receive(message, frame);
  }

  #run(handler: Handler<HandlerKind>, message: HandledMessage, context: HandlerContext): void {
    this.#context = context;
    this.#hasRun = true;
    let result: unknown;
    let isLater: boolean;
    try {
      result = runHandling(this.#handling, handler, message, context);
      isLater = isThenable(result);
    } catch (thrown) {
      this.#handlerFailed(thrown);
      return;
    }
    // A handler that answers synchronously costs no promise: its answer leaves in the same turn.
    if (isLater) void this.#handleLater(result);
    else this.#handled(result);
  }

  /** `await` settles once even if a thenable calls back twice, and ignores an overridden `then` of a promise. */
  async #handleLater(result: unknown): Promise<void> {
    let fields: unknown;
    try {
      fields = await result;
    } catch (thrown) {
      this.#handlerFailed(thrown);
      return;
    }
    this.#handled(fields);
  }

  #handled(result: unknown): void {
    const message = this.#message as RequestMessage | DataTransfer;
    if (this.#transfer !== undefined) {
      void this.#answerBytes(result as Bytes | undefined, this.#transfer);
      return;
    }
    this.#freeSlot();
    endHandling(this.#handling);
    if (this.#over) return;
    if ('oneWay' in message && message.oneWay === true) {
      this.#stream.end();
      this.#finish();
    } else {
      this.#answer(message as RequestMessage, result);
    }
  }

  #handlerFailed(thrown: unknown): void {
    const error = toMeshError(thrown, 'HandlerFailed');
    this.#host.handlerFailed((this.#message as Message).type, error);
    this.#answerError(error);
    this.#handlerDone();
  }

  #handlerDone(): void {
    endHandling(this.#handling);
    this.#freeSlot();
    this.#transfer?.handlerDone();
  }

  #answer(message: RequestMessage, result: unknown): void {
    try {
      if (result !== undefined && (typeof result !== 'object' || result === null)) {
        throw new MeshError(
          'HandlerFailed',
          `handler of ${message.type} must answer with an object`,
        );
      }
      // Calls that began while there was room may all be answered at once, and the peer may read none of that.
      if (!this.#budget.hasSharedRoom) {
        throw new MeshError('HandlerFailed', UNREAD_TEXT, { retryable: true });
      }
      this.#send(replyTo(message, result));
    } catch (thrown) {
      this.#handlerFailed(thrown);
    }
  }

  async #answerBytes(bytes: Bytes | undefined, transfer: TransferAttempt): Promise<void> {
    try {
      await transfer.answer(bytes, this.#handling);
      this.#finish();
    } catch (thrown) {
      if (!this.#over) this.#handlerFailed(thrown);
    }
    this.#handlerDone();
  }

  /** Answers the call with an error, and tells its handler. */
  #cancel(error: MeshError): void {
    if (!this.#over) this.#context?.cancel(error);
    this.#answerError(error);
  }

  /**
   * Resets the stream so that the next attempt at the transfer can begin at once. An error message would wait behind bytes
   * that the peer may never read, and the handler that sends them would wait too.
   */
  #supersede(error: MeshError): void {
    if (this.#over) return;
    this.#context?.cancel(error);
    this.#stream.reset(error.code, error.message);
    this.#finish(error);
  }

  #answerError(error: MeshError): void {
    if (this.#over) return;
    const { retryable } = error;
    // Codes of local misuse never travel: the caller learns only that the handler failed.
    const code = isWireErrorCode(error.code) ? error.code : 'HandlerFailed';
    const text = error.message.slice(0, MAX_ERROR_TEXT);
    try {
      this.#send({ type: 'error', code, text, retryable });
    } catch (thrown) {
      this.#cannotSend(thrown);
    }
  }

  /** @throws MeshError what cannot be encoded */
  #send(message: Message): void {
    if (this.#over) return;
    const { codec } = this.#host;
    const plain = codec.encodePlain(message);
    const packed = codec.pack(plain);
    if (packed instanceof Promise) void this.#sendLater(packed, rawBytesOf(plain));
    else this.#sendPacked(packed);
  }

  /** @param bytes that the compressor keeps until it is done, whatever becomes of the call */
  async #sendLater(packed: Promise<PackedPayload>, bytes: number): Promise<void> {
    const budget = this.#budget;
    budget.take(bytes);
    try {
      const payload = await packed;
      this.#sendPacked(payload);
    } catch (thrown) {
      this.#cannotSend(thrown);
    } finally {
      budget.give(bytes);
    }
  }

  #sendPacked(packed: PackedPayload): void {
    if (this.#over) return;
    const { payload, tail, compression } = packed;
    if (this.#copyId !== undefined) {
      this.#host.arrivedCopies.answered(this.#copyId, packed, this.#budget);
    }
    try {
      if (this.#stream.send(payload, { tail, compression, end: true })) this.#finish();
      else this.#awaitDrain();
    } catch (thrown) {
      this.#cannotSend(thrown);
    }
  }

  #awaitDrain(): void {
    if (this.#over) return;
    this.#isAnswered = true;
    this.#context?.close();
  }

  #cannotSend(thrown: unknown): void {
    if (this.#over) return;
    this.#stream.reset('InternalError', toMeshError(thrown).message);
    this.#finish();
  }

  #finish(error: MeshError = ANSWERED): void {
    if (this.#over) return;
    this.#over = true;
    this.#transfer?.fail(error);
    // A handler that still reads the body after the answer gets an error, and bytes that still arrive are dropped.
    this.#context?.close();
    if (!this.#hasRun) this.#freeSlot();
    // A handler that works on keeps its message, and so does the peer's account.
    if (this.#slot === undefined) this.#letGo();
    if (this.#copyId !== undefined) this.#host.arrivedCopies.ended(this.#copyId);
    this.#host.finished();
  }
}

/** Text of the error for a call that ran, and whose answer the caller's share of this node's memory has no room for. */
const UNREAD_TEXT = 'the answer was dropped: too many answers to this node wait to be read';

/** What a sender meets that still works on a call that was answered. */
const ANSWERED = new MeshError('Cancelled', 'the call was answered');

/** Whether a call may run before TLS is done, when it could still be a replay. */
function isReplaySafe(message: Message): boolean {
  return message.type === 'ping' || ('replaySafe' in message && message.replaySafe === true);
}

/** `text` of an error message holds 1024 bytes; a UTF-16 unit is three at most. */
const MAX_ERROR_TEXT = 341;
