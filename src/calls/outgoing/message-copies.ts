/**
 * Copies of messages whose calls have to wait: a caller may reuse its memory as soon as its call has returned, whatever the
 * call waits for. Pure.
 */
import { compact } from '../../base/buffers.js';
import { crc32After } from '../../protocol/checksum.js';
import type { PackedPayload } from '../../protocol/compression.js';
import { KeptMessage, messageIn, TailSum } from '../../protocol/kept-message.js';
import type { MessageType } from '../../protocol/message.js';

/** A message that waits. */
export interface WaitingMessage {
  readonly kept: KeptMessage;
  /** Ends the wait, and frees the copy's share of the limit. */
  release(): void;
}

/** The copies that one node keeps, up to a limit in bytes. */
export class MessageCopies {
  readonly limitBytes: number;
  #bytes = 0;

  /**
   * @param limitBytes of large byte strings that are copied. Beyond it they stay in the caller's memory, and a checksum
   *   tells whether they were changed
   */
  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Keeps a message that was just encoded until it is released. */
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

/** Text of the error for a call whose message was changed after the call was made. */
export const CHANGED_TEXT = 'a large byte string of the message was changed while the call waited';
