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

/** The copies that one node keeps, or that it keeps for one peer, up to a limit in bytes. */
export class MessageCopies {
  readonly limitBytes: number;
  readonly #parent: MessageCopies | undefined;
  #bytes = 0;

  /**
   * @param limitBytes of large byte strings that are copied. Beyond it they stay in the caller's memory, and a checksum
   *   tells whether they were changed
   * @param parent copies that those of this one count among
   */
  constructor(limitBytes: number, parent?: MessageCopies) {
    this.limitBytes = limitBytes;
    this.#parent = parent;
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
    if (!this.#hasRoomFor(tail.length)) {
      const sum = new TailSum();
      sum.value = crc32After(0, tail);
      return { kept: new KeptMessage(messageIn(type, own, tail), { tail, sum }), release };
    }
    let bytes = tail.length;
    this.#count(bytes);
    return {
      kept: new KeptMessage(messageIn(type, own, Buffer.from(tail))),
      release: () => {
        this.#count(-bytes);
        bytes = 0;
      },
    };
  }

  #hasRoomFor(bytes: number): boolean {
    if (this.#bytes + bytes > this.limitBytes) return false;
    return this.#parent === undefined || this.#parent.#hasRoomFor(bytes);
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    if (this.#parent !== undefined) this.#parent.#count(bytes);
  }
}

function release(): void {}

/** Text of the error for a call whose message was changed after the call was made. */
export const CHANGED_TEXT = 'a large byte string of the message was changed while the call waited';
