/**
 * What calls that have to wait keep of their messages: a caller has its memory back when its call has returned, whatever
 * the call waits for. Pure.
 */
import { crc32After } from '../../protocol/checksum.js';
import type { PackedPayload } from '../../protocol/compression.js';
import { KeptMessage, messageIn, TailSum } from '../../protocol/kept-message.js';
import type { MessageType } from '../../protocol/message.js';

/** A message that waits. */
export interface WaitingMessage {
  readonly kept: KeptMessage;
  /** It waits no more. */
  release(): void;
}

/** The copies of one node. */
export class MessageCopies {
  readonly limitBytes: number;
  #bytes = 0;

  /**
   * @param limitBytes of large byte strings. Beyond, those stay the caller's memory, and a message is no longer intact when
   *   they were changed
   */
  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Keeps a message, which was just encoded, until it is released. */
  keep(
    type: MessageType,
    { payload, tail }: Pick<PackedPayload, 'payload' | 'tail'>,
  ): WaitingMessage {
    const own = compact(payload);
    if (tail === undefined) return { kept: new KeptMessage(messageIn(type, own, tail)), release };
    if (this.#bytes + tail.length > this.limitBytes) {
      const sum = new TailSum();
      sum.value = crc32After(0, tail);
      return { kept: new KeptMessage(messageIn(type, own, tail), { tail, sum }), release };
    }
    let bytes = tail.length;
    this.#bytes += bytes;
    return {
      kept: new KeptMessage(messageIn(type, own, Buffer.from(tail))),
      release: () => {
        this.#bytes -= bytes;
        bytes = 0;
      },
    };
  }
}

function release(): void {}

/**
 * Bytes that can be kept: few of them must not keep the memory that many more were cut from. Few share 8 KiB, which is much
 * cheaper than memory of their own.
 */
export function compact(bytes: Uint8Array): Uint8Array {
  if (bytes.length * 2 >= bytes.buffer.byteLength) return bytes;
  const own = Buffer.allocUnsafe(bytes.length);
  own.set(bytes);
  return own;
}

/** Of a call whose message is not what it was when the call was made. */
export const CHANGED_TEXT = 'a large byte string of the message was changed while the call waited';
