/** One call that this side makes: sends a message on a stream of its own, and settles exactly once. */

import { cancelledError, offAbort, onAbort } from '../../base/abortable.js';
import type { BudgetWaiter, ByteBudget } from '../../base/byte-budget.js';
import { MAX_TIMER_MS } from '../../base/clock.js';
import { MeshError, type MeshErrorCode, toMeshError } from '../../errors.js';
import { type PackedPayload, rawBytesOf } from '../../protocol/compression.js';
import { MAX_COPY_BYTES } from '../../protocol/copy-window.js';
import type { Frame } from '../../protocol/frame.js';
import type { KeptMessage } from '../../protocol/kept-message.js';
import type { Message, MessageType } from '../../protocol/message.js';
import { type Priority, priorityOf } from '../../protocol/priority.js';
import type { FrameStream } from '../../transport/connection.js';
import { errorOfMessage, unexpectedMessage, withExecution } from '../call-errors.js';
import { Flow } from '../flow.js';
import type { MessageSink } from '../reading/message-sink.js';
import { ANSWERED_TEXT, checkCopyBytes, type Redundancy } from '../redundancy.js';
import type { CallHandler } from '../stream-opener.js';
import { DEFAULT_TIMEOUT_MS, noTimeLeft, withTimeout } from '../time-left.js';
import type { CallerHost } from './caller-host.js';
import type { FailedCall, Recovery } from './failed-call.js';
import type { AttemptOptions, CallPlace, PlacedCall, YieldedStream } from './latest-calls.js';
import { CHANGED_TEXT, type WaitingMessage } from './message-copies.js';
import { type CopiedCall, SecondCopy } from './second-copy.js';
import { SentMessage } from './sent-message.js';

/** Sends `message` and waits for a message of type `expected`; see Peer.request. */
export function callOnce(
  host: CallerHost,
  message: Message,
  expected: MessageType,
  options: AttemptOptions,
  recovery?: Recovery<Message>,
): Promise<Message> {
  return new Promise((resolve, reject) => {
    const call = new OutgoingCall(host, expected, options, resolve, reject, recovery);
    call.start(message);
  });
}

/** Sends `message` and waits until the transport has taken it; see Peer.send. */
export function sendOnce(
  host: CallerHost,
  message: Message,
  options: AttemptOptions,
  recovery?: Recovery<void>,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const call = new OutgoingCall<void>(host, undefined, options, resolve, reject, recovery);
    call.start(message);
  });
}

/**
 * Sends `message` if that can be done at once.
 * @returns false where it was not sent and a later attempt may succeed. After true, nobody learns whether it arrived
 * @throws MeshError why the message can never be sent
 */
export function trySendOnce(host: CallerHost, message: Message, options: AttemptOptions): boolean {
  let failure: MeshError | undefined;
  const call = new OutgoingCall<void>(
    host,
    undefined,
    options,
    () => {},
    (error) => {
      failure = error;
    },
    undefined,
  );
  call.start(message);
  if (failure === undefined) return true;
  if (failure.retryable) return false;
  throw failure;
}

class OutgoingCall<T>
  implements CallHandler, MessageSink, BudgetWaiter, PlacedCall, FailedCall, CopiedCall
{
  readonly #host: CallerHost;
  readonly #budget: ByteBudget;
  readonly #mayWait: boolean;
  /** `undefined`: a one-way call, which settles when the transport has taken its message. */
  readonly #expected: MessageType | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #timeoutMs: number;
  readonly #resolve: (result: T | Promise<T>) => void;
  readonly #reject: (error: MeshError) => void;
  /** Makes its promise only when the call fails, so that calls which succeed cost none. */
  readonly #recovery: Recovery<T> | undefined;
  readonly #place: CallPlace | undefined;
  /** What the caller chose; a default is no reason to fail. */
  readonly #redundancy: Redundancy | undefined;
  #stream: FrameStream | undefined;
  /** Of a call that is sent twice: its other stream. */
  #copy: SecondCopy | undefined;
  #timer: NodeJS.Timeout | undefined;
  #onAbort: (() => void) | undefined;
  /** The message while it waits for room, and since when it does. */
  #waiting: { readonly message: WaitingMessage; readonly sinceMs: number } | undefined;
  /** What has left or was about to, where the call may be made again. */
  #sent: SentMessage | undefined;
  /** Bytes that the call has taken from its budget. */
  #bytes = 0;
  #settled = false;
  /** A one-way call with a key whose message is taken and has not left yet: a newer one may still replace it. */
  #isTaken = false;

  constructor(
    host: CallerHost,
    expected: MessageType | undefined,
    options: AttemptOptions,
    resolve: (result: T | Promise<T>) => void,
    reject: (error: MeshError) => void,
    recovery: Recovery<T> | undefined,
  ) {
    this.#host = host;
    this.#mayWait = options.nesting !== 'deeper';
    this.#budget = options.nesting === undefined ? host.sendBudget : host.nestedBudget;
    this.#expected = expected;
    this.#signal = options.signal;
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#recovery = recovery;
    this.#place = options.place;
    this.#redundancy = options.redundancy;
  }

  start(message: Message): void {
    const signal = this.#signal;
    if (signal?.aborted === true) {
      this.#fail(cancelledError(signal));
      return;
    }
    const timeoutMs = this.#timeoutMs;
    if (!(timeoutMs > 0)) {
      this.#fail(noTimeLeft(timeoutMs));
      return;
    }
    const { opener } = this.#host;
    const budget = this.#budget;
    try {
      // A call that takes over a stream replaces bytes that have had their room already.
      const isPlaced = this.#place?.hasStreamOf(opener) === true;
      const isUrgent = priorityOf(message) === 'control';
      if (isPlaced || budget.hasRoomFor(isUrgent)) {
        this.#leave(message, timeoutMs);
        return;
      }
      if (!this.#mayWait) throw new MeshError('Overloaded', NESTED_TEXT);
      const { codec, copies } = this.#host;
      const plain = codec.encodePlain(message);
      this.#arm();
      const sinceMs = performance.now();
      this.#waiting = { message: copies.keep(message.type, plain), sinceMs };
      budget.wait(this);
    } catch (error) {
      this.#failed(error);
    }
  }

  proceed(): void {
    const { message, sinceMs } = this.#waiting as { message: WaitingMessage; sinceMs: number };
    this.#waiting = undefined;
    message.release();
    try {
      const { kept } = message;
      if (!kept.isIntact) throw new MeshError('InvalidArgument', CHANGED_TEXT);
      // The timer may be late: a call without time left must not leave.
      const leftMs = this.#timeoutMs - (performance.now() - sinceMs);
      if (leftMs > 0) this.#leave(kept.message, leftMs);
      else this.#timedOut();
    } catch (error) {
      this.#failed(error);
    }
  }

  fail(error: MeshError): void {
    this.#fail(error);
  }

  keepMessage(): KeptMessage | undefined {
    if (this.#waiting !== undefined) return this.#waiting.message.kept;
    return this.#sent?.keep();
  }

  get flow(): Flow {
    return new Flow(this.#stream as FrameStream);
  }

  onFrame(frame: Frame): void {
    if (!this.isOver) this.#host.reader.receive(frame, this.#host.codec, this);
  }

  get isOver(): boolean {
    return this.#settled || this.#expected === undefined;
  }

  onMessage(message: Message): void {
    if (this.#settled) return;
    if (this.#copy !== undefined) this.#letGoUnsent(this.#copy);
    if (message.type === this.#expected) this.#succeed(message);
    else if (message.type === 'error') this.#fail(errorOfMessage(message));
    else {
      const text = `${message.type} came where ${this.#expected} was due`;
      this.onBadMessage(unexpectedMessage(text, true));
    }
  }

  onBadMessage(error: MeshError): void {
    if (this.#settled) return;
    // Tells the peer, and frees the stream, whose end may never come.
    this.#stream?.reset(error.code, error.message);
    this.#copy?.reset(error.code, error.message);
    this.#fail(withExecution(error, true));
  }

  onEnd(): void {
    if (!this.#settled && this.#expected !== undefined) {
      this.#streamLost(unexpectedMessage(UNANSWERED_TEXT, true));
    }
  }

  onReset(error: MeshError): void {
    if (this.#settled) return;
    this.#streamLost(withExecution(error, this.hasLeft));
  }

  copyLost(error: MeshError = unexpectedMessage(UNANSWERED_TEXT)): void {
    if (!this.isOver) this.#streamLost(withExecution(error, this.hasLeft));
  }

  onRefused(error: MeshError): void {
    if (!this.#settled) this.#fail(error);
  }

  onDrain(): void {
    if (this.#expected === undefined) this.#taken();
  }

  onSent(): void {
    if (this.#isTaken) this.#succeed(NO_REPLY);
  }

  get hasLeft(): boolean {
    return this.#stream?.hasSent === true || this.#copy?.hasLeft === true;
  }

  yieldStream(): YieldedStream | undefined {
    const stream = this.#stream;
    // Before the handshake is answered the stream has another handler, and cannot change hands.
    if (this.#settled || stream?.handler !== this) return undefined;
    this.#stream = undefined;
    this.#copy?.letGo();
    stream.unsend();
    return { stream, opener: this.#host.opener };
  }

  #openStream(priority: Priority): FrameStream {
    const { opener } = this.#host;
    const stream = this.#place?.take(this, opener);
    if (stream === undefined) return opener.openStream(this, priority);
    stream.handler = this;
    stream.prioritize(priority);
    return stream;
  }

  /** A one-way message is taken: the call is done, unless a newer one could still replace it. */
  #taken(): void {
    if (this.#place === undefined || this.hasLeft) this.#succeed(NO_REPLY);
    else this.#isTaken = true;
  }

  /** A call that was sent twice stands while one of its streams does. */
  #streamLost(error: MeshError): void {
    const isLast = this.#copy === undefined || this.#expected === undefined;
    const failure = isLast ? error : this.#copy?.lost(error);
    if (failure !== undefined) this.#fail(failure);
  }

  /** The call is answered: a copy that has not left need not leave. */
  #letGoUnsent(copy: SecondCopy): void {
    copy.letGo();
    if (this.#stream?.hasSent === false) this.#stream.reset('Cancelled', ANSWERED_TEXT);
  }

  /** @throws MeshError for a message that cannot be encoded, or why there is no stream */
  #leave(message: Message, timeoutMs: number): void {
    const { codec } = this.#host;
    const plain = codec.encodePlain(withTimeout(message, timeoutMs));
    const bytes = rawBytesOf(plain);
    if (this.#redundancy === 2) checkCopyBytes(bytes);
    if (this.#recovery !== undefined) {
      const isLong = this.#timeoutMs > DEFAULT_TIMEOUT_MS;
      this.#sent = new SentMessage(message.type, plain, isLong);
    }
    this.#stream = this.#openStream(priorityOf(message));
    this.#arm();
    const isTwice = 'copyId' in message && message.copyId !== undefined && bytes <= MAX_COPY_BYTES;
    if (isTwice) this.#copy = new SecondCopy(this.#host, this);
    this.#bytes = isTwice ? 2 * bytes : bytes;
    this.#budget.take(this.#bytes);
    // A peer may refuse what is compressed before it has read it, and then one copy and not the other.
    const packed = isTwice ? plain : codec.pack(plain);
    if (packed !== plain) this.#sent?.compressed();
    if (packed instanceof Promise) this.#sendLater(packed);
    else this.#send(packed);
  }

  /** From here on the deadline and the signal end the call. */
  #arm(): void {
    const signal = this.#signal;
    if (signal !== undefined && this.#onAbort === undefined) this.#heed(signal);
    if (this.#timer === undefined && this.#timeoutMs <= MAX_TIMER_MS) {
      this.#timer = setTimeout(() => this.#timedOut(), this.#timeoutMs);
    }
  }

  #sendLater(packed: Promise<PackedPayload>): void {
    packed.then(
      (payload) => this.#send(payload),
      (thrown: unknown) => this.#failed(thrown),
    );
  }

  #send(packed: PackedPayload): void {
    if (this.#settled) return;
    const { payload, tail, compression } = packed;
    try {
      const tailSum = this.#sent?.handOver();
      const taken = this.#stream?.send(payload, { tail, tailSum, compression, end: true });
      if (this.#copy !== undefined) this.#sendCopy(this.#copy, packed);
      if (taken === true && this.#expected === undefined) this.#taken();
    } catch (error) {
      this.#failed(error);
    }
  }

  #sendCopy(copy: SecondCopy, packed: PackedPayload): void {
    if (this.#settled || copy.send(packed)) return;
    // One will do.
    this.#copy = undefined;
  }

  /** The message cannot be sent. Its stream is reset: left open, it would keep the connection from draining. */
  #failed(thrown: unknown): void {
    if (this.#settled) return;
    const error = toMeshError(thrown);
    this.#stream?.reset('Cancelled', error.message);
    this.#copy?.reset('Cancelled', error.message);
    this.#fail(error);
  }

  #heed(signal: AbortSignal): void {
    this.#onAbort = () => {
      const { code, message, cause } = cancelledError(signal);
      this.#giveUp(code, message, cause);
    };
    onAbort(signal, this.#onAbort);
  }

  #timedOut(): void {
    this.#giveUp('DeadlineExceeded', `no answer within ${this.#timeoutMs} ms`, undefined);
  }

  #giveUp(code: MeshErrorCode, text: string, cause: unknown): void {
    if (this.#settled) return;
    const maybeExecuted = this.hasLeft;
    this.#stream?.reset(code, text);
    this.#copy?.reset(code, text);
    this.#fail(new MeshError(code, text, { maybeExecuted, cause }));
  }

  #succeed(reply: Message): void {
    if (this.#settled) return;
    this.#settle(true);
    this.#forget();
    this.#resolve(reply as T);
  }

  #fail(error: MeshError): void {
    // A stream that is reset while it takes a message may report that twice.
    if (this.#settled) return;
    this.#settle(false);
    if (this.#recovery === undefined) this.#reject(error);
    else this.#resolve(this.#recovery.recover(error, this));
    this.#forget();
  }

  /** Frees the message: somebody may hold the call for much longer. */
  #forget(): void {
    this.#waiting = undefined;
    this.#sent = undefined;
  }

  #settle(succeeded: boolean): void {
    this.#settled = true;
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    if (this.#onAbort !== undefined) offAbort(this.#signal as AbortSignal, this.#onAbort);
    if (this.#waiting !== undefined) {
      this.#budget.leave(this);
      this.#waiting.message.release();
    }
    this.#host.callSettled(succeeded);
    if (this.#bytes > 0) this.#budget.give(this.#bytes);
  }
}

const UNANSWERED_TEXT = 'the call ended without an answer';
const NESTED_TEXT = 'calls that handlers make have too many bytes under way already';

/** What a one-way call settles with. Nobody looks at it. */
const NO_REPLY: Message = { type: 'response' };
