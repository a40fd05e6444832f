/**
 * Calls to a peer that is being dialed: each leaves as soon as the dial has come far enough for it, and goes by the
 * next connection when one fails that cannot have run it.
 */
import { MeshError, toMeshError } from '../errors.js';
import type { MessageCodec } from '../protocol/codec.js';
import type { DataTransfer, Message } from '../protocol/message.js';
import { cancelledError } from '../transport/abortable.js';
import { DEFAULT_TIMEOUT_MS, withExecution } from './outgoing-call.js';
import type { CallSession } from './session.js';
import type {
  CallOptions,
  OneWayMessage,
  ReplyTo,
  RequestMessage,
  StreamCallOptions,
} from './types.js';

export interface DialQueueLimits {
  /** Calls that wait. */
  readonly maxCalls: number;
  /** Bytes of their messages together. */
  readonly maxBytes: number;
}

/** Makes the call over a session that takes it. */
type Start<T> = (session: CallSession, options: CallOptions) => Promise<T>;

/** Messages that leave as early data: of what comes ahead of TLS an acceptor takes little, and drops the rest. */
const MAX_EARLY_BYTES = 32 * 1024;

/** Which call it is, for whoever decides when it may leave. */
interface CallTraits {
  /** Of the encoded message. */
  readonly bytes: number;
  readonly replaySafe: boolean;
}

export class DialQueue {
  readonly #codec: MessageCodec;
  readonly #limits: DialQueueLimits;
  readonly #waiting = new Set<WaitingCall>();
  #bytes = 0;
  #session: CallSession | undefined;
  /** Of messages that left on it as early data. */
  #earlyBytes = 0;
  #failure: MeshError | undefined;

  /** @param codec holds messages to this side's own limit */
  constructor(codec: MessageCodec, limits: DialQueueLimits) {
    this.#codec = codec;
    this.#limits = limits;
  }

  /** Whether the dial has led to a connection that is still there. */
  get isOpen(): boolean {
    return this.#session?.isOpen ?? false;
  }

  /** See Peer.request. */
  request<M extends RequestMessage>(message: M, options: CallOptions): Promise<ReplyTo<M>> {
    return this.#add(message, options, (session, left) => session.request(message, left));
  }

  /** See Peer.send. */
  send(message: OneWayMessage, options: CallOptions): Promise<void> {
    return this.#add(message, options, (session, left) => session.send(message, left));
  }

  /** See Peer.stream. */
  stream(open: DataTransfer, options: StreamCallOptions): AsyncIterable<Uint8Array> {
    const { body } = options;
    const waiting = new AbortController();
    const signals = options.signal === undefined ? [] : [options.signal];
    const started = this.#add(
      open,
      {
        timeoutMs: options.timeoutMs ?? Number.POSITIVE_INFINITY,
        signal: AbortSignal.any([waiting.signal, ...signals]),
      },
      async (session, left) => session.stream(open, { ...left, body }),
    );
    return new LaterBytes(started, () => waiting.abort());
  }

  /** A connection that may take calls, or takes more than it did. */
  offer(session: CallSession): void {
    if (this.#session !== session) this.#earlyBytes = 0;
    this.#session = session;
    for (const call of [...this.#waiting]) {
      if (!this.#mayLeave(call, session)) continue;
      this.#remove(call);
      this.#start(call, session);
    }
  }

  /** The dial has failed: so do the calls that still wait, and all that come later. */
  fail(error: MeshError): void {
    this.#failure = error;
    for (const call of [...this.#waiting]) {
      this.#remove(call);
      call.fail(error);
    }
  }

  #add<T>(message: Message, options: CallOptions, start: Start<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      // Once more when it leaves, with the time that is left then.
      const { payload, tail } = this.#codec.encodeSplit(message);
      const bytes = payload.length + (tail === undefined ? 0 : tail.length);
      const replaySafe = message.type === 'ping' || options.replaySafe === true;
      this.#enqueue(
        new WaitingCall({
          bytes,
          replaySafe,
          options,
          start: (session, left) => start(session, left).then(resolve),
          reject,
          queue: this.#owner,
        }),
      );
    });
  }

  readonly #owner: CallQueue = {
    enqueue: (call) => this.#enqueue(call),
    remove: (call) => this.#remove(call),
  };

  /** @throws MeshError Overloaded */
  #enqueue(call: WaitingCall): void {
    const session = this.#session;
    if (this.#failure !== undefined) {
      call.fail(this.#failure);
    } else if (session !== undefined && this.#mayLeave(call, session)) {
      this.#start(call, session);
    } else {
      const { maxCalls, maxBytes } = this.#limits;
      if (this.#waiting.size >= maxCalls || this.#bytes + call.bytes > maxBytes) {
        call.fail(new MeshError('Overloaded', 'too many calls wait for the connection'));
        return;
      }
      this.#waiting.add(call);
      this.#bytes += call.bytes;
      call.wait();
    }
  }

  #mayLeave(call: WaitingCall, session: CallSession): boolean {
    if (!session.takes(call)) return false;
    return !session.isEarly || this.#earlyBytes + call.bytes <= MAX_EARLY_BYTES;
  }

  #start(call: WaitingCall, session: CallSession): void {
    if (session.isEarly) this.#earlyBytes += call.bytes;
    call.start(session);
  }

  #remove(call: WaitingCall): void {
    if (this.#waiting.delete(call)) this.#bytes -= call.bytes;
  }
}

/** What a call asks of the queue that it waits in. */
interface CallQueue {
  enqueue(call: WaitingCall): void;
  remove(call: WaitingCall): void;
}

interface WaitingCallOptions extends CallTraits {
  readonly options: CallOptions;
  /** Fulfils when the call has succeeded. */
  readonly start: Start<void>;
  readonly reject: (error: MeshError) => void;
  readonly queue: CallQueue;
}

/** One call; its time and its signal count while it waits, too. */
class WaitingCall implements CallTraits {
  readonly bytes: number;
  readonly replaySafe: boolean;
  readonly #call: WaitingCallOptions;
  readonly #deadlineMs: number;
  #timer: NodeJS.Timeout | undefined;
  /** It may have run on a connection that failed. */
  #maybeExecuted = false;

  constructor(call: WaitingCallOptions) {
    this.#call = call;
    this.bytes = call.bytes;
    this.replaySafe = call.replaySafe;
    this.#deadlineMs = performance.now() + (call.options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
  }

  wait(): void {
    const { signal } = this.#call.options;
    const leftMs = this.#deadlineMs - performance.now();
    if (signal?.aborted === true) {
      this.#aborted();
      return;
    }
    signal?.addEventListener('abort', this.#aborted, { once: true });
    if (leftMs !== Number.POSITIVE_INFINITY) {
      this.#timer = setTimeout(this.#timedOut, Math.min(Math.max(0, leftMs), MAX_TIMER_MS));
    }
  }

  start(session: CallSession): void {
    this.#stopWaiting();
    const { options, start } = this.#call;
    const timeoutMs = this.#deadlineMs - performance.now();
    start(session, { ...options, timeoutMs }).catch((thrown: unknown) => {
      this.#failed(session, toMeshError(thrown));
    });
  }

  fail(error: MeshError): void {
    this.#stopWaiting();
    this.#call.reject(withExecution(error, error.maybeExecuted || this.#maybeExecuted));
  }

  /** What stands being replayed stands going once more, if the connection never came about. */
  #failed(session: CallSession, error: MeshError): void {
    this.#maybeExecuted ||= error.maybeExecuted;
    if (this.replaySafe && session.isVain && !this.#isOwnEnd(error)) {
      this.#call.queue.enqueue(this);
    } else {
      this.fail(error);
    }
  }

  /** Whether the caller ended the call; dials are given up with the same code when another is faster. */
  #isOwnEnd({ code }: MeshError): boolean {
    return code === 'DeadlineExceeded' || this.#call.options.signal?.aborted === true;
  }

  readonly #aborted = (): void => {
    this.#call.queue.remove(this);
    this.fail(cancelledError(this.#call.options.signal as AbortSignal));
  };

  readonly #timedOut = (): void => {
    this.#call.queue.remove(this);
    this.fail(new MeshError('DeadlineExceeded', 'the peer was not reached in time'));
  };

  #stopWaiting(): void {
    clearTimeout(this.#timer);
    this.#call.options.signal?.removeEventListener('abort', this.#aborted);
  }
}

/** Node's timers hold 31 bits. */
const MAX_TIMER_MS = 0x7fff_ffff;

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
