/** The second stream of a call that is sent twice. SPEC.md, "Redundancy". */

import { type MeshError, type MeshErrorCode, toMeshError } from '../../errors.js';
import type { PackedPayload } from '../../protocol/compression.js';
import type { Frame } from '../../protocol/frame.js';
import type { Message } from '../../protocol/message.js';
import type { FrameStream } from '../../transport/connection.js';
import { Flow } from '../flow.js';
import type { MessageSink } from '../reading/message-sink.js';
import { ANSWERED_TEXT } from '../redundancy.js';
import type { CallHandler } from '../stream-opener.js';
import type { CallerHost } from './caller-host.js';

/** A call that is sent twice, as its second stream sees it. */
export interface CopiedCall {
  /** Whether no answer is waited for, or no longer. */
  readonly isOver: boolean;
  onMessage(message: Message): void;
  /** The answer could not be read. */
  onBadMessage(error: MeshError): void;
  /** The second stream is over without an answer. @param error absent where the peer has just ended it */
  copyLost(error?: MeshError): void;
}

/** Sends the second copy of a call, and hands on the first answer. */
export class SecondCopy implements CallHandler, MessageSink {
  readonly #host: CallerHost;
  readonly #call: CopiedCall;
  #stream: FrameStream | undefined;
  /** Why the first of the two streams ended without an answer, once it has. */
  #firstLoss: MeshError | undefined;

  constructor(host: CallerHost, call: CopiedCall) {
    this.#host = host;
    this.#call = call;
  }

  /** @returns false where it cannot be sent */
  send({ payload, compression }: PackedPayload): boolean {
    try {
      this.#stream = this.#host.opener.openStream(this, 'control');
      this.#stream.send(payload, { compression, end: true });
    } catch (thrown) {
      this.reset('Cancelled', toMeshError(thrown).message);
      return false;
    }
    this.#host.copySent();
    return true;
  }

  /**
   * One of the two streams is over without an answer.
   * @returns why the call has failed, once both are
   */
  lost(error: MeshError): MeshError | undefined {
    const first = this.#firstLoss;
    this.#firstLoss = error;
    // A peer that ends one stream silently means the other one. What became of that says more.
    return first?.code === 'UnexpectedMessage' ? error : first;
  }

  get hasLeft(): boolean {
    return this.#stream?.hasSent === true;
  }

  /** The call is given up: tells the peer. */
  reset(code: MeshErrorCode, text: string): void {
    this.#stream?.reset(code, text);
  }

  /** Nobody needs this copy any more. One that has left is let run: to call it back would cost a packet. */
  letGo(): void {
    if (!this.hasLeft) this.#stream?.reset('Cancelled', ANSWERED_TEXT);
  }

  get flow(): Flow {
    return new Flow(this.#stream as FrameStream);
  }

  get isOver(): boolean {
    return this.#call.isOver;
  }

  onFrame(frame: Frame): void {
    if (!this.isOver) this.#host.reader.receive(frame, this.#host.codec, this);
  }

  onMessage(message: Message): void {
    this.#call.onMessage(message);
  }

  onBadMessage(error: MeshError): void {
    this.#stream?.reset(error.code, error.message);
    this.#call.onBadMessage(error);
  }

  onEnd(): void {
    this.#call.copyLost();
  }

  onReset(error: MeshError): void {
    this.#call.copyLost(error);
  }

  /** Copies leave only after the handshake, so the peer cannot refuse it any more. */
  onRefused(error: MeshError): void {
    this.#call.copyLost(error);
  }
}
