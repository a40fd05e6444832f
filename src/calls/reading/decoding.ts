/** A message on its way from its frame: decompressed and decoded at once where that takes little time, else in steps. */
import type { MessageReading } from '../../protocol/codec.js';
import type { UnpackStep } from '../../protocol/compression.js';
import type { Message } from '../../protocol/message.js';
import type { UnreadMessage } from './unread-message.js';

/** The decoding of one message, which may be left and taken up again: what it has so far stays with it. */
export class Decoding {
  readonly unread: UnreadMessage;
  /** Bytes on the wire that have not paid for anything yet. */
  unspentBytes: number;
  /** The payload without compression, once it is there. */
  #raw: Uint8Array | undefined;
  #unpack: UnpackStep | undefined;
  #reading: MessageReading | undefined;

  /** @param raw the payload without compression, where that was done elsewhere */
  constructor(unread: UnreadMessage, raw?: Uint8Array) {
    this.unread = unread;
    this.unspentBytes = unread.frame.payload.length;
    this.#raw = raw;
  }

  /** What the message takes in memory, as far as that is known. */
  get heldBytes(): number {
    return (this.#raw?.length ?? 0) + (this.#reading?.heapBytes ?? 0);
  }

  /**
   * @param mayGoOn is asked now and then
   * @returns the message, once it is whole
   * @throws MeshError MalformedMessage, UnknownMessageType, MessageTooLarge, UnsupportedCompression
   */
  read(mayGoOn: () => boolean): Message | undefined {
    if (this.#raw === undefined) {
      this.#raw = this.#decompress(mayGoOn);
      if (this.#raw === undefined || !mayGoOn()) return undefined;
    }
    if (this.#reading === undefined) {
      this.#reading = this.unread.codec.begin(this.#raw);
      this.unread.expect(this.#reading.heapBytes);
    }
    return this.#reading.read(mayGoOn);
  }

  #decompress(mayGoOn: () => boolean): Uint8Array | undefined {
    const { codec, frame } = this.unread;
    this.#unpack ??= codec.beginUnpack(frame);
    if (this.#unpack !== undefined) return this.#unpack(mayGoOn);
    return codec.unpack(frame) as Uint8Array;
  }
}
