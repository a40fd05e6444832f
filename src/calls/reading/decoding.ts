/** A message whose payload is here, until it is decoded: at once where it has few items, else in steps. */
import type { MessageReading } from '../../protocol/codec.js';
import type { Message } from '../../protocol/message.js';
import type { UnreadMessage } from './unread-message.js';

export class Decoding {
  readonly unread: UnreadMessage;
  /** Bytes on the wire that have not paid for anything yet. */
  unspentBytes: number;
  readonly #raw: Uint8Array;
  #heapBytes = 0;
  #reading: MessageReading | undefined;

  /** @param raw the payload without compression */
  constructor(unread: UnreadMessage, raw: Uint8Array) {
    this.unread = unread;
    this.unspentBytes = unread.frame.payload.length;
    this.#raw = raw;
  }

  /** What the message takes in memory, as far as that is known. */
  get heldBytes(): number {
    return this.#raw.length + this.#heapBytes;
  }

  /**
   * @param mayGoOn is asked now and then
   * @returns the message, once it is whole
   * @throws MeshError MalformedMessage, UnknownMessageType
   */
  read(mayGoOn: () => boolean): Message | undefined {
    this.#reading ??= this.unread.codec.begin(this.#raw);
    if (this.#heapBytes === 0) {
      this.#heapBytes = this.#reading.heapBytes;
      this.unread.expect(this.#heapBytes);
    }
    return this.#reading.read(mayGoOn);
  }
}
