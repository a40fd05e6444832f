/**
 * Holds calls to a peer that has no connection yet. Each leaves as soon as a connection can take it, and a replay-safe one
 * is sent again if its connection failed before the handshake finished.
 */

import { joinSignals } from '../../base/abortable.js';
import { compact } from '../../base/buffers.js';
import { MeshError, toMeshError } from '../../errors.js';
import type { Waiter } from '../../pool/wait-queue.js';
import type { MessageCodec } from '../../protocol/codec.js';
import { type KeptMessage, messageIn } from '../../protocol/kept-message.js';
import type { DataTransfer, Message } from '../../protocol/message.js';
import { MAX_PRE_HANDSHAKE_BYTES } from '../../transport/connection.js';
import { withExecution } from '../call-errors.js';
import type { Attempt } from '../outgoing/call-again.js';
import type { FailedCall, Recovery } from '../outgoing/failed-call.js';
import type { AttemptOptions } from '../outgoing/latest-calls.js';
import {
  CHANGED_TEXT,
  type MessageCopies,
  type WaitingMessage,
} from '../outgoing/message-copies.js';
import { DEFAULT_TIMEOUT_MS } from '../time-left.js';
import { closeBytes } from '../transfers/chunk-source.js';
import type { TransferOptions } from '../transfers/outgoing-transfer.js';
import type { CallSession } from './session.js';

/** Makes the call over a session that has accepted it. */
export type StartCall<T> = (
  session: CallSession,
  message: Message,
  options: AttemptOptions,
  recovery?: Recovery<T>,
) => Promise<T>;

/** Bytes of messages that leave as early data: an acceptor keeps little before TLS is done, and drops the rest. */
const MAX_EARLY_BYTES = 32 * 1024;

/** Makes calls to one peer over connections that are still to come. */
export class CallQueue {
  readonly #codec: MessageCodec;
  readonly #wait: (call: Waiter<CallSession>) => void;
  readonly #copies: MessageCopies;
  readonly #sent = new PreHandshakeBytes();

  /**
   * @param codec refuses messages over this side's own limit
   * @param copies keeps the messages that wait
   * @param wait queues a call for a connection
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

  /**
   * Makes a call once there is a session for it. The message is kept as it is now, whatever its caller does to it.
   * @param isOpenEnded whether more follows the message at once, so that it waits for the handshake's end
   */
  call<T>(
    message: Message,
    options: AttemptOptions,
    start: StartCall<T>,
    recovery?: Recovery<T>,
    isOpenEnded = false,
  ): Attempt<T> {
    let call: WaitingCall | undefined;
    const made = new Promise<T>((resolve, reject) => {
      // It is encoded again when it leaves, with the time that is left then.
      const split = this.#codec.encodeSplit(message);
      call = new WaitingCall({
        weight: split.payload.length + (split.tail === undefined ? 0 : split.tail.length),
        message: this.#copies.keep(message.type, split),
        replaySafe: message.type === 'ping' || options.replaySafe === true,
        options,
        isOpenEnded,
        sent: this.#sent,
        start: (session, its, left) => start(session, its, left).then(resolve),
        reject,
        wait: this.#wait,
      });
      this.#wait(call);
    });
    const waiting = call ?? NEVER_MADE;
    const result =
      recovery === undefined
        ? made
        : made.catch((thrown: unknown) => recovery.recover(toMeshError(thrown), waiting));
    return { result, carrier: waiting };
  }

  /** A copy of a transfer's first message, which is small. One that cannot be encoded stays as it is, and fails later. */
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
    const { body, priority, context, lendChunks } = options;
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
        session.stream(kept as DataTransfer, {
          ...left,
          signal: options.signal,
          body,
          context,
          lendChunks,
        }),
      undefined,
      body !== undefined,
    );
    result.finally(release).catch(() => {
      // The transfer never left, so nobody has read its body.
      if (typeof body !== 'function') void closeBytes(body);
    });
    return new LaterBytes(result, () => waiting.abort());
  }
}

const NEVER_MADE = { isOpen: false, keepMessage: () => undefined };

/** Counts the bytes that have left on each connection before its handshake was answered: the peer keeps no more. */
class PreHandshakeBytes {
  readonly #bytes = new WeakMap<CallSession, number>();

  hasRoom(session: CallSession, bytes: number): boolean {
    if (session.isAgreed) return true;
    const limitBytes = session.isEarly ? MAX_EARLY_BYTES : MAX_PRE_HANDSHAKE_BYTES;
    return this.#sentOn(session) + bytes <= limitBytes;
  }

  add(session: CallSession, bytes: number): void {
    if (!session.isAgreed) this.#bytes.set(session, this.#sentOn(session) + bytes);
  }

  #sentOn(session: CallSession): number {
    return this.#bytes.get(session) ?? 0;
  }
}

interface WaitingCallOptions {
  /** Size of the encoded message, in bytes. */
  readonly weight: number;
  readonly message: WaitingMessage;
  readonly replaySafe: boolean;
  readonly options: AttemptOptions;
  readonly isOpenEnded: boolean;
  readonly sent: PreHandshakeBytes;
  /** Fulfils when the call has succeeded. */
  readonly start: StartCall<void>;
  readonly reject: (error: MeshError) => void;
  readonly wait: (call: Waiter<CallSession>) => void;
}

/** One call that waits. Its deadline and its signal count meanwhile. */
class WaitingCall implements Waiter<CallSession>, FailedCall {
  readonly weight: number;
  readonly deadlineMs: number;
  readonly signal: AbortSignal | undefined;
  readonly #call: WaitingCallOptions;
  #session: CallSession | undefined;
  /** Whether it may have run on a connection that failed since. */
  #maybeExecuted = false;

  constructor(call: WaitingCallOptions) {
    this.#call = call;
    this.weight = call.weight;
    this.signal = call.options.signal;
    this.deadlineMs = performance.now() + (call.options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
  }

  /** Whether the connection that it left by is still open. */
  get isOpen(): boolean {
    return this.#session?.isOpen ?? false;
  }

  accepts(session: CallSession): boolean {
    const { replaySafe, isOpenEnded, sent } = this.#call;
    if (isOpenEnded && !session.isAgreed) return false;
    return session.takes({ bytes: this.weight, replaySafe }) && sent.hasRoom(session, this.weight);
  }

  start(session: CallSession): void {
    const { options, start, sent } = this.#call;
    sent.add(session, this.weight);
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

  /** A replay-safe call is sent again if its connection failed before the handshake finished. */
  #failed(session: CallSession, error: MeshError): void {
    this.#maybeExecuted ||= error.maybeExecuted;
    if (this.#call.replaySafe && session.isVain && !this.#isOwnEnd(error)) this.#call.wait(this);
    else this.fail(error);
  }

  /** Whether the caller ended the call. `Cancelled` alone does not tell: a dial that lost a race ends with it too. */
  #isOwnEnd({ code }: MeshError): boolean {
    return code === 'DeadlineExceeded' || this.signal?.aborted === true;
  }
}

/** The incoming bytes of a transfer that has not begun yet. */
class LaterBytes implements AsyncIterable<Uint8Array> {
  readonly #started: Promise<AsyncIterable<Uint8Array>>;
  readonly #cancel: () => void;
  #taken = false;

  constructor(started: Promise<AsyncIterable<Uint8Array>>, cancel: () => void) {
    this.#started = started;
    this.#cancel = cancel;
    // A reader meets the failure. Nobody has to read, so the rejection is handled here.
    started.catch(() => {});
  }

  /** @throws MeshError InvalidArgument for a second reader */
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
