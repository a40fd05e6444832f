/**
 * Gathers messages that extend a log, and sends those that continue each other as one. That makes fewer calls, and costs a
 * delay that the caller chooses.
 */

import { cancelledError } from '../../base/abortable.js';
import { assertWhole } from '../../base/whole-number.js';
import { MeshError, toMeshError } from '../../errors.js';
import type { Message } from '../../protocol/message.js';
import { LOG_TYPES, typeRefusal } from '../call-types.js';
import { DEFAULT_TIMEOUT_MS } from '../time-left.js';
import type { CallOptions, ReplyTo } from '../types.js';
import { Batch, type Carry } from './batch.js';
import { isMergeable, type LogMessage, messageBytes, ownMessage } from './merge-messages.js';
import type { OpenBatches } from './open-batches.js';

/** When a batch is sent, and how much of all batches may be unanswered. */
export interface BatchOptions {
  /** Largest size of a batch, estimated before compression. A larger message goes alone. Default 64 KiB. */
  readonly maxBytes?: number | undefined;
  /** A batch leaves this long after its first message, up to 60,000. 0: at the end of the event loop's turn. Default 2. */
  readonly maxDelayMs?: number | undefined;
  /** Largest number of messages in a batch. Default 256. */
  readonly maxMessages?: number | undefined;
  /** Messages that may be unanswered. More fail with Overloaded. Default 65,536. */
  readonly maxPendingMessages?: number | undefined;
  /** Bytes of messages that may be unanswered. Default 32 MiB. */
  readonly maxPendingBytes?: number | undefined;
}

/** Options of one message. */
export type BatchCallOptions = Pick<CallOptions, 'timeoutMs' | 'signal' | 'replaySafe'>;

const MIB = 1024 * 1024;
const MAX_MESSAGES = 65_536;

/** Batches the log messages to one peer; see Peer.batch. */
export class MessageBatcher {
  readonly #carry: Carry;
  readonly #openBatches: OpenBatches;
  readonly #limits: Readonly<Record<keyof BatchOptions, number>>;
  #batch: Batch | undefined;
  #stopDelay: () => void = () => {};
  readonly #underWay = new Set<Promise<void>>();
  #pendingMessages = 0;
  #pendingBytes = 0;
  #isClosed = false;

  /**
   * Batchers are made by `peer.batch`.
   * @internal
   * @throws MeshError InvalidArgument
   */
  constructor(carry: Carry, openBatches: OpenBatches, options: BatchOptions = {}) {
    const { maxBytes = 64 * 1024, maxDelayMs = 2, maxMessages = 256 } = options;
    const { maxPendingMessages = MAX_MESSAGES, maxPendingBytes = 32 * MIB } = options;
    assertWhole('maxBytes', maxBytes, 1, 256 * MIB);
    assertWhole('maxDelayMs', maxDelayMs, 0, 60_000);
    assertWhole('maxMessages', maxMessages, 1, MAX_MESSAGES);
    assertWhole('maxPendingMessages', maxPendingMessages, 1, 16 * MAX_MESSAGES);
    assertWhole('maxPendingBytes', maxPendingBytes, 1, 4096 * MIB);
    this.#carry = carry;
    this.#openBatches = openBatches;
    this.#limits = { maxBytes, maxDelayMs, maxMessages, maxPendingMessages, maxPendingBytes };
  }

  /**
   * Adds the message to the batch that it continues. A message that continues none first sends the batch that is there. All
   * callers of a batch share one reply object. The message's time begins now, and giving up does not touch the others.
   * The message and its memory are the caller's again at once.
   * @throws MeshError as Peer.request, for all of one batch alike; Overloaded, with side `local`, when too much is
   *   unanswered; InvalidArgument after `close`, NodeClosed after that of the node
   */
  request<M extends LogMessage>(message: M, options: BatchCallOptions = {}): Promise<ReplyTo<M>> {
    const { timeoutMs = DEFAULT_TIMEOUT_MS, signal, replaySafe = false } = options;
    const unknown = typeRefusal(message, LOG_TYPES);
    if (unknown !== undefined) return Promise.reject(unknown);
    let bytes: number;
    let isAlone: boolean;
    try {
      bytes = messageBytes(message);
      isAlone = !isMergeable(message);
    } catch (thrown) {
      return Promise.reject(toMeshError(thrown, 'InvalidArgument'));
    }
    const refusal = this.#refusal(bytes, timeoutMs, signal);
    if (refusal !== undefined) return Promise.reject(refusal);
    if (this.#batch?.takes(message, bytes, this.#limits.maxBytes) === false) this.flush();
    const batch = this.#batch ?? this.#begin();
    const deadlineMs = performance.now() + timeoutMs;
    const { maxBytes, maxMessages } = this.#limits;
    const isFull = batch.bytes + bytes >= maxBytes || batch.messages + 1 >= maxMessages;
    const leavesNow = isFull || isAlone;
    const reply = new Promise<Message>((resolve, reject) => {
      const own = leavesNow ? message : ownMessage(message);
      batch.add({ message: own, bytes, deadlineMs, signal, replaySafe, resolve, reject });
    });
    if (leavesNow) this.flush();
    return reply as Promise<ReplyTo<M>>;
  }

  /** Sends the batch that is there now. */
  flush(): void {
    const batch = this.#batch;
    if (batch === undefined) return;
    this.#batch = undefined;
    this.#openBatches.delete(this);
    this.#stopDelay();
    void this.#send(batch);
  }

  /** Sends the batch that is there, and takes no more messages. Fulfils when all are answered or have failed. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.flush();
    await Promise.all(this.#underWay);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #refusal(
    bytes: number,
    timeoutMs: number,
    signal: AbortSignal | undefined,
  ): MeshError | undefined {
    if (this.#isClosed) return new MeshError('InvalidArgument', 'request after close');
    const { end } = this.#openBatches;
    if (end !== undefined) return end;
    if (signal?.aborted === true) return cancelledError(signal);
    if (!(timeoutMs > 0)) {
      return new MeshError('DeadlineExceeded', `no time left: ${timeoutMs} ms`);
    }
    const { maxPendingMessages, maxPendingBytes } = this.#limits;
    const messages = this.#pendingMessages + (this.#batch?.messages ?? 0);
    const sum = this.#pendingBytes + (this.#batch?.bytes ?? 0) + bytes;
    if (messages < maxPendingMessages && sum <= maxPendingBytes) return undefined;
    return new MeshError('Overloaded', `${messages} messages of batches are unanswered`);
  }

  #begin(): Batch {
    const batch = new Batch();
    this.#batch = batch;
    this.#openBatches.add(this);
    const { maxDelayMs } = this.#limits;
    const due = (): void => this.flush();
    if (maxDelayMs === 0) {
      const turn = setImmediate(due);
      this.#stopDelay = () => clearImmediate(turn);
    } else {
      const timer = setTimeout(due, maxDelayMs);
      this.#stopDelay = () => clearTimeout(timer);
    }
    return batch;
  }

  async #send(batch: Batch): Promise<void> {
    const { messages, bytes } = batch;
    this.#pendingMessages += messages;
    this.#pendingBytes += bytes;
    const sent = batch.send(this.#carry);
    this.#underWay.add(sent);
    await sent;
    this.#underWay.delete(sent);
    this.#pendingMessages -= messages;
    this.#pendingBytes -= bytes;
  }
}
