/** What a call has sent, or was about to send, kept for its next attempt. Pure. */
import { compact } from '../../base/buffers.js';
import type { PackedPayload } from '../../protocol/compression.js';
import { KeptMessage, messageIn, TailSum } from '../../protocol/kept-message.js';
import type { MessageType } from '../../protocol/message.js';

/** The encoded message of one attempt. Where it is not copied, it keeps alive the block it was cut from; see PlainWriter. */
export class SentMessage {
  readonly #type: MessageType;
  /** Where the payload is. A slice of it would be another object, and thousands of calls may be under way. */
  readonly #memory: ArrayBufferLike;
  readonly #start: number;
  readonly #length: number;
  readonly #tail: Uint8Array | undefined;
  readonly #tailSum: TailSum | undefined;
  /** Whether the stream has the message. It then notes the checksum of the tail. */
  #isHandedOver = false;

  /**
   * @param plain before compression; its tail is the caller's memory
   * @param isLong whether the call may last: its message is then copied, so that few bytes do not keep 16 KiB alive
   */
  constructor(type: MessageType, { payload, tail }: PackedPayload, isLong: boolean) {
    const kept = isLong ? compact(payload) : payload;
    this.#type = type;
    this.#memory = kept.buffer;
    this.#start = kept.byteOffset;
    this.#length = kept.length;
    this.#tail = tail;
    this.#tailSum = tail === undefined ? undefined : new TailSum();
  }

  /** The message leaves compressed, so no stream will compute the checksum of its raw tail: that is done here. */
  compressed(): void {
    this.#tailSum?.note(this.#tail);
  }

  /** The message is handed to its stream. @returns what the stream notes the checksum of the tail in */
  handOver(): TailSum | undefined {
    this.#isHandedOver = true;
    return this.#tailSum;
  }

  /** To be called in the turn in which the attempt fails: after that the caller may change the tail. */
  keep(): KeptMessage {
    const payload = Buffer.from(this.#memory, this.#start, this.#length);
    const tail = this.#tail;
    const sum = this.#tailSum;
    // No stream has seen the tail, so its checksum is still to be computed. The caller has not got it back yet.
    if (!this.#isHandedOver && sum?.value === undefined) sum?.note(tail);
    const lent = tail === undefined || sum === undefined ? undefined : { tail, sum };
    return new KeptMessage(messageIn(this.#type, payload, tail), lent);
  }
}
