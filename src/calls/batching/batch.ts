/** Calls whose messages go as one, and share its outcome. */

import { cancelledError, offAbort, onAbort } from '../../base/abortable.js';
import { MeshError, toMeshError } from '../../errors.js';
import { MAX_ITEMS, type Message } from '../../protocol/message.js';
import type { CallOptions } from '../types.js';
import { continues, entriesOf, type LogMessage, mergeMessages } from './merge-messages.js';

/** Makes the call that carries a batch. */
export type Carry = (message: LogMessage, options: CallOptions) => Promise<Message>;

/** One caller's message, and how its promise settles. */
export interface BatchedCall {
  readonly message: LogMessage;
  readonly bytes: number;
  /** On the clock of `performance.now()`; infinite without a deadline. */
  readonly deadlineMs: number;
  readonly signal: AbortSignal | undefined;
  readonly replaySafe: boolean;
  readonly resolve: (reply: Message) => void;
  readonly reject: (error: MeshError) => void;
}

/** One batch: gathers messages, is sent once, and settles all of its callers. */
export class Batch {
  readonly #calls: Caller[] = [];
  #bytes = 0;
  #entries = 0;
  /** Ends the call that carries the batch, once that is made. */
  #carrier: AbortController | undefined;

  get messages(): number {
    return this.#calls.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Whether the message can join the batch. */
  takes(message: LogMessage, bytes: number, maxBytes: number): boolean {
    const last = this.#calls.at(-1);
    return (
      last === undefined ||
      (this.#bytes + bytes <= maxBytes &&
        this.#entries + entriesOf(message).length <= MAX_ITEMS &&
        continues(last.call.message, message))
    );
  }

  add(call: BatchedCall): void {
    this.#calls.push(new Caller(call, this));
    this.#bytes += call.bytes;
    this.#entries += entriesOf(call.message).length;
  }

  /** Makes the call, if anybody still waits for it. Fulfils when it is over; never rejects. */
  async send(carry: Carry): Promise<void> {
    const open = this.#open;
    if (open.length === 0) return;
    const carrier = new AbortController();
    this.#carrier = carrier;
    const deadlineMs = Math.max(...open.map(({ call }) => call.deadlineMs));
    // The caller with the latest deadline gets the call's own timeout error, which knows whether the call may have run.
    for (const caller of open) if (caller.call.deadlineMs === deadlineMs) caller.stopTimer();
    try {
      const merged = mergeMessages(this.#calls.map(({ call }) => call.message));
      const reply = await carry(merged, {
        timeoutMs: deadlineMs - performance.now(),
        signal: carrier.signal,
        replaySafe: this.#calls.every(({ call }) => call.replaySafe),
      });
      for (const caller of this.#open) caller.succeed(reply);
    } catch (thrown) {
      for (const caller of this.#open) caller.fail(toMeshError(thrown));
    }
  }

  /** One caller gives up. The others wait on. */
  giveUp(caller: Caller, error: MeshError): void {
    const carrier = this.#carrier;
    if (carrier === undefined && this.#calls.at(-1) === caller) {
      // No later message continues this one yet, so it need not be sent.
      this.#calls.pop();
      this.#bytes -= caller.call.bytes;
      this.#entries -= entriesOf(caller.call.message).length;
      caller.fail(error);
      return;
    }
    const { code, message, cause } = error;
    if (carrier !== undefined && code === 'Cancelled' && this.#open.length === 1) {
      // Nobody else waits: the call ends, and its error tells this caller whether it may have run.
      carrier.abort(cause);
      return;
    }
    caller.fail(new MeshError(code, message, { maybeExecuted: true, cause }));
    if (this.#open.length === 0) carrier?.abort(cause);
  }

  get #open(): Caller[] {
    return this.#calls.filter(({ isSettled }) => !isSettled);
  }
}

/** Settles one caller's promise once: by the reply, the batch's failure, the deadline or the signal. */
class Caller {
  readonly call: BatchedCall;
  readonly #batch: Batch;
  #timer: NodeJS.Timeout | undefined;
  #isSettled = false;

  constructor(call: BatchedCall, batch: Batch) {
    this.call = call;
    this.#batch = batch;
    if (call.signal !== undefined) onAbort(call.signal, this.#cancelled);
    if (call.deadlineMs === Number.POSITIVE_INFINITY) return;
    this.#timer = setTimeout(this.#timedOut, call.deadlineMs - performance.now());
  }

  get isSettled(): boolean {
    return this.#isSettled;
  }

  stopTimer(): void {
    clearTimeout(this.#timer);
  }

  succeed(reply: Message): void {
    this.#settle();
    this.call.resolve(reply);
  }

  fail(error: MeshError): void {
    this.#settle();
    this.call.reject(error);
  }

  readonly #cancelled = (signal: AbortSignal): void => {
    this.#batch.giveUp(this, cancelledError(signal));
  };

  readonly #timedOut = (): void => {
    this.#batch.giveUp(this, new MeshError('DeadlineExceeded', 'no answer in time'));
  };

  #settle(): void {
    this.#isSettled = true;
    clearTimeout(this.#timer);
    const { signal } = this.call;
    if (signal !== undefined) offAbort(signal, this.#cancelled);
  }
}
