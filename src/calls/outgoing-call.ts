/** One call of this side: sends a message on a stream of its own and settles exactly once. */
import { isMeshErrorCode, MeshError, type MeshErrorCode } from '../errors.js';
import type { MessageCodec } from '../protocol/codec.js';
import type { Frame } from '../protocol/frame.js';
import type { ErrorMessage, Message, MessageType } from '../protocol/message.js';
import { cancelledError } from '../transport/abortable.js';
import type { Connection, FrameStream, FrameStreamHandler } from '../transport/connection.js';
import type { CallOptions } from './types.js';

export const DEFAULT_TIMEOUT_MS = 10_000;

/** Sends `message` and waits for a message of type `expected`; see Peer.request. */
export function callOnce(
  connection: Connection,
  codec: MessageCodec,
  message: Message,
  expected: MessageType,
  options: CallOptions,
): Promise<Message> {
  return new Promise((resolve, reject) => {
    new OutgoingCall(codec, expected, options, resolve, reject).start(connection, message);
  });
}

/** Sends `message` and waits until the transport has taken it; see Peer.send. */
export function sendOnce(
  connection: Connection,
  codec: MessageCodec,
  message: Message,
  options: CallOptions,
): Promise<void> {
  return new Promise((resolve, reject) => {
    new OutgoingCall(codec, undefined, options, () => resolve(), reject).start(connection, message);
  });
}

class OutgoingCall implements FrameStreamHandler {
  readonly #codec: MessageCodec;
  /** `undefined`: one-way, settled when the message is taken. */
  readonly #expected: MessageType | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #timeoutMs: number;
  readonly #resolve: (message: Message) => void;
  readonly #reject: (error: MeshError) => void;
  #stream: FrameStream | undefined;
  #timer: NodeJS.Timeout | undefined;
  #settled = false;

  constructor(
    codec: MessageCodec,
    expected: MessageType | undefined,
    options: CallOptions,
    resolve: (message: Message) => void,
    reject: (error: MeshError) => void,
  ) {
    this.#codec = codec;
    this.#expected = expected;
    this.#signal = options.signal;
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  start(connection: Connection, message: Message): void {
    const signal = this.#signal;
    if (signal?.aborted === true) {
      this.#fail(cancelledError(signal));
      return;
    }
    const timeoutMs = this.#timeoutMs;
    if (!(timeoutMs > 0)) {
      this.#fail(new MeshError('DeadlineExceeded', `no time left: ${timeoutMs} ms`));
      return;
    }
    try {
      const timed =
        timeoutMs === Number.POSITIVE_INFINITY
          ? message
          : { ...message, timeoutMs: Math.ceil(timeoutMs) };
      const payload = this.#codec.encode(message.type === 'ping' ? message : timed);
      this.#stream = connection.openStream(this);
      signal?.addEventListener('abort', this.#aborted, { once: true });
      if (timeoutMs !== Number.POSITIVE_INFINITY)
        this.#timer = setTimeout(this.#timedOut, timeoutMs);
      const taken = this.#stream.send(payload, { end: true });
      if (taken && this.#expected === undefined) this.#succeed(message);
    } catch (error) {
      this.#fail(error as MeshError);
    }
  }

  onFrame(frame: Frame): void {
    if (this.#settled) return;
    if (this.#expected === undefined) return;
    try {
      const reply = decodeReply(this.#codec, frame);
      if (reply.type === this.#expected) {
        this.#succeed(reply);
        return;
      }
      throw new MeshError(
        'UnexpectedMessage',
        `${reply.type} came where ${this.#expected} was due`,
        {
          side: 'remote',
          maybeExecuted: true,
        },
      );
    } catch (error) {
      this.#fail(error as MeshError);
    }
  }

  onEnd(): void {
    if (this.#settled) return;
    this.#fail(
      new MeshError('UnexpectedMessage', 'the call ended without an answer', {
        side: 'remote',
        maybeExecuted: true,
      }),
    );
  }

  onReset(error: MeshError): void {
    if (this.#settled) return;
    this.#fail(withExecution(error, this.#wasSent));
  }

  onDrain(): void {
    if (this.#expected === undefined && !this.#settled) this.#succeed(NO_REPLY);
  }

  get #wasSent(): boolean {
    return (this.#stream?.messageId ?? 0) > 0;
  }

  readonly #aborted = (): void => {
    const { code, message, cause } = cancelledError(this.#signal as AbortSignal);
    this.#giveUp(code, message, cause);
  };

  readonly #timedOut = (): void => {
    this.#giveUp('DeadlineExceeded', `no answer within ${this.#timeoutMs} ms`, undefined);
  };

  #giveUp(code: MeshErrorCode, text: string, cause: unknown): void {
    if (this.#settled) return;
    const maybeExecuted = this.#wasSent;
    this.#stream?.reset(code, text);
    this.#fail(new MeshError(code, text, { maybeExecuted, cause }));
  }

  #succeed(reply: Message): void {
    this.#settle();
    this.#resolve(reply);
  }

  #fail(error: MeshError): void {
    this.#settle();
    this.#reject(error);
  }

  #settle(): void {
    this.#settled = true;
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener('abort', this.#aborted);
  }
}

/** What a one-way call settles with: nobody looks at it. */
const NO_REPLY: Message = { type: 'response' };

/**
 * The message of a reply.
 * @throws MeshError what the reply reports, if it is an `error`; what the codec throws
 */
export function decodeReply(codec: MessageCodec, frame: Frame): Message {
  const reply = codec.decode(frame.payload);
  if (reply.type === 'error') throw errorOfMessage(reply);
  return reply;
}

/** The error that an `error` message reports. */
export function errorOfMessage(message: ErrorMessage): MeshError {
  const code = isMeshErrorCode(message.code) ? message.code : 'HandlerFailed';
  return new MeshError(code, message.text, {
    side: 'remote',
    maybeExecuted: !NEVER_EXECUTED.has(code),
    ...(message.retryable === undefined ? {} : { retryable: message.retryable }),
  });
}

/** Answers that say that no handler ran. */
const NEVER_EXECUTED: ReadonlySet<MeshErrorCode> = new Set<MeshErrorCode>([
  'NoHandler',
  'UnknownMessageType',
  'MalformedMessage',
  'Overloaded',
  'GoingAway',
  'CapabilityMissing',
]);

/** The same error, told whether the other side may have run the call. */
export function withExecution(error: MeshError, maybeExecuted: boolean): MeshError {
  if (error.maybeExecuted === maybeExecuted) return error;
  const { code, message, side, retryable } = error;
  return new MeshError(code, message, { side, retryable, maybeExecuted, cause: error });
}
