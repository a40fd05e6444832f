/**
 * Calls to a peer that there is no connection to: each leaves as soon as one has come far enough for it, and goes by the
 * next connection when one fails that cannot have run it.
 */

import { joinSignals } from '../../base/abortable.js';
import { MeshError, toMeshError } from '../../errors.js';
import type { Waiter } from '../../pool/wait-queue.js';
import type { MessageCodec } from '../../protocol/codec.js';
import { type KeptMessage, messageIn } from '../../protocol/kept-message.js';
import type { DataTransfer, Message } from '../../protocol/message.js';
import { withExecution } from '../call-errors.js';
import type { Attempt } from '../outgoing/call-again.js';
import type { FailedCall, Recover } from '../outgoing/failed-call.js';
import type { AttemptOptions } from '../outgoing/latest-calls.js';
import {
  CHANGED_TEXT,
  compact,
  type MessageCopies,
  type WaitingMessage,
} from '../outgoing/message-copies.js';
import { DEFAULT_TIMEOUT_MS } from '../time-left.js';
import { closeBytes } from '../transfers/chunk-source.js';
import type { TransferOptions } from '../transfers/outgoing-transfer.js';
import type { CallSession } from './session.js';

/** Makes the call over a session that takes it. */
export type StartCall<T> = (
  session: CallSession,
  message: Message,
  options: AttemptOptions,
  recover?: Recover<T>,
) => Promise<T>;

/** Messages that leave as early data: of what comes ahead of TLS an acceptor takes little, and drops the rest. */
const MAX_EARLY_BYTES = 32 * 1024;

export class CallQueue {
  readonly #codec: MessageCodec;
  readonly #wait: (call: Waiter<CallSession>) => void;
  readonly #copies: MessageCopies;
  readonly #early = new EarlyBytes();

  /**
   * @param codec holds messages to this side's own limit
   * @param copies of messages that wait
   * @param wait puts a call in line for a connection
   */
  constructor(
    codec: MessageCodec,
    copies: MessageCopies,
    wait: (call: Waiter<CallSession>) => void,
  ) {
    this.#codec = codec;
    this.#copies = copies;
    this.#wait = wait;
  }

  /** Makes a call once there is a session for it, with the message as it is now. */
  call<T>(
    message: Message,
    options: AttemptOptions,
    start: StartCall<T>,
    recover?: Recover<T>,
  ): Attempt<T> {
    let call: WaitingCall | undefined;
    const made = new Promise<T>((resolve, reject) => {
      // Once more when it leaves, with the time that is left then.
      const split = this.#codec.encodeSplit(message);
      call = new WaitingCall({
        weight: split.payload.length + (split.tail === undefined ? 0 : split.tail.length),
        message: this.#copies.keep(message.type, split),
        replaySafe: message.type === 'ping' || options.replaySafe === true,
        options,
        early: this.#early,
        start: (session, its, left) => start(session, its, left).then(resolve),
        reject,
        wait: this.#wait,
      });
      this.#wait(call);
    });
    const waiting = call ?? NEVER_MADE;
    const result =
      recover === undefined
        ? made
        : made.catch((thrown: unknown) => recover(toMeshError(thrown), waiting));
    return { result, carrier: waiting };
  }

  /** A transfer's first message as it is now, whose bytes are few. One that cannot be sent says so where it is. */
  capture(open: DataTransfer): DataTransfer {
    try {
      const { payload, tail } = this.#codec.encodeSplit(open);
      return messageIn(open.type, compact(payload), tail) as DataTransfer;
    } catch {
      return open;
    }
  }

  /** See Peer.stream. */
  stream(open: DataTransfer, options: TransferOptions): AsyncIterable<Uint8Array> {
    const { body, priority, context } = options;
    const waiting = new AbortController();
    const { signal, release } = joinSignals(waiting.signal, options.signal);
    const { result } = this.call(
      open,
      {
        timeoutMs: options.timeoutMs ?? Number.POSITIVE_INFINITY,
        signal,
        priority,
      },
      async (session, kept, left) =>
        session.stream(kept as DataTransfer, { ...left, signal: options.signal, body, context }),
    );
    result.finally(release).catch(() => {
      // It has not left, so nobody has read of it.
      if (typeof body !== 'function') void closeBytes(body);
    });
    return new LaterBytes(result, () => waiting.abort());
  }
}

const NEVER_MADE = { isOpen: false, keepMessage: () => undefined };

/** What has left as early data on the connection that is early now. */
class EarlyBytes {
  #session: CallSession | undefined;
  #bytes = 0;

  hasRoom(session: CallSession, bytes: number): boolean {
    return !session.isEarly || this.#sentOn(session) + bytes <= MAX_EARLY_BYTES;
  }

  send(session: CallSession, bytes: number): void {
    if (!session.isEarly) return;
    this.#bytes = this.#sentOn(session) + bytes;
    this.#session = session;
  }

  #sentOn(session: CallSession): number {
    return this.#session === session ? this.#bytes : 0;
  }
}

interface WaitingCallOptions {
  /** Bytes of the encoded message. */
  readonly weight: number;
  readonly message: WaitingMessage;
  readonly replaySafe: boolean;
  readonly options: AttemptOptions;
  readonly early: EarlyBytes;
  /** Fulfils when the call has succeeded. */
  readonly start: StartCall<void>;
  readonly reject: (error: MeshError) => void;
  readonly wait: (call: Waiter<CallSession>) => void;
}

/** One call; its time and its signal count while it waits, too. */
class WaitingCall implements Waiter<CallSession>, FailedCall {
  readonly weight: number;
  readonly deadlineMs: number;
  readonly signal: AbortSignal | undefined;
  readonly #call: WaitingCallOptions;
  #session: CallSession | undefined;
  /** It may have run on a connection that failed. */
  #maybeExecuted = false;

  constructor(call: WaitingCallOptions) {
    this.#call = call;
    this.weight = call.weight;
    this.signal = call.options.signal;
    this.deadlineMs = performance.now() + (call.options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
  }

  /** Whether the connection that it went by is still there. */
  get isOpen(): boolean {
    return this.#session?.isOpen ?? false;
  }

  accepts(session: CallSession): boolean {
    const { replaySafe, early } = this.#call;
    return session.takes({ bytes: this.weight, replaySafe }) && early.hasRoom(session, this.weight);
  }

  start(session: CallSession): void {
    const { options, start, early } = this.#call;
    early.send(session, this.weight);
    this.#session = session;
    const timeoutMs = this.deadlineMs - performance.now();
    const { kept } = this.#call.message;
    if (!kept.isIntact) {
      this.fail(new MeshError('InvalidArgument', CHANGED_TEXT));
      return;
    }
    start(session, kept.message, { ...options, timeoutMs }).then(
      () => this.#call.message.release(),
      (thrown: unknown) => this.#failed(session, toMeshError(thrown)),
    );
  }

  keepMessage(): KeptMessage {
    return this.#call.message.kept;
  }

  fail(error: MeshError): void {
    this.#call.message.release();
    this.#call.reject(withExecution(error, error.maybeExecuted || this.#maybeExecuted));
  }

  /** What stands being replayed stands going once more, if the connection never came about. */
  #failed(session: CallSession, error: MeshError): void {
    this.#maybeExecuted ||= error.maybeExecuted;
    if (this.#call.replaySafe && session.isVain && !this.#isOwnEnd(error)) this.#call.wait(this);
    else this.fail(error);
  }

  /** Whether the caller ended the call; dials are given up with the same code when another is faster. */
  #isOwnEnd({ code }: MeshError): boolean {
    return code === 'DeadlineExceeded' || this.signal?.aborted === true;
  }
}

/** The bytes of a transfer that is still to begin. */
class LaterBytes implements AsyncIterable<Uint8Array> {
  readonly #started: Promise<AsyncIterable<Uint8Array>>;
  readonly #cancel: () => void;
  #taken = false;

  constructor(started: Promise<AsyncIterable<Uint8Array>>, cancel: () => void) {
    this.#started = started;
    this.#cancel = cancel;
    // Whoever reads meets the failure; nobody has to read.
    started.catch(() => {});
  }

  /** @throws MeshError InvalidArgument when it is read by two */
  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    if (this.#taken) throw new MeshError('InvalidArgument', 'a stream of bytes has one reader');
    this.#taken = true;
    const reader = this.#started.then((bytes) => bytes[Symbol.asyncIterator]());
    reader.catch(() => {});
    return {
      next: async () => (await reader).next(),
      return: async () => {
        this.#cancel();
        const done = { done: true, value: undefined } as const;
        return (await reader.catch(() => undefined))?.return?.() ?? done;
      },
    };
  }
}
