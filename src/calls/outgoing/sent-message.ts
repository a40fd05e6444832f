/** What a call has sent, or was about to send, kept for its next attempt. Pure. */
import type { PackedPayload } from '../../protocol/compression.js';
import { KeptMessage, messageIn, TailSum } from '../../protocol/kept-message.js';
import type { MessageType } from '../../protocol/message.js';

/** The encoded message of one attempt. It is no copy: it keeps the block that it was cut from, see PlainWriter. */
export class SentMessage {
  readonly #type: MessageType;
  readonly #plain: PackedPayload;
  readonly #tailSum: TailSum | undefined;
  /** The stream has the message, and tells the checksum of its tail. */
  #isHandedOver = false;

  /** @param plain before compression; its tail is the caller's memory */
  constructor(type: MessageType, plain: PackedPayload) {
    this.#type = type;
    this.#plain = plain;
    this.#tailSum = plain.tail === undefined ? undefined : new TailSum();
  }

  /** The message leaves compressed. That is a copy: nobody else passes over the bytes that it was made of. */
  compressed(): void {
    this.#tailSum?.note(this.#plain.tail);
  }

  /** The message is handed to its stream. @returns what the stream notes the checksum of the tail in */
  handOver(): TailSum | undefined {
    this.#isHandedOver = true;
    return this.#tailSum;
  }

  /** To be called in the turn in which the attempt fails: after that the tail may be another. */
  keep(): KeptMessage {
    const { payload, tail } = this.#plain;
    const sum = this.#tailSum;
    // No stream has it yet, so the caller has not had it back; or it was sent as a copy, and its sum is known.
    if (!this.#isHandedOver && sum?.value === undefined) sum?.note(tail);
    const lent = tail === undefined || sum === undefined ? undefined : { tail, sum };
    return new KeptMessage(messageIn(this.#type, payload, tail), lent);
  }
}
