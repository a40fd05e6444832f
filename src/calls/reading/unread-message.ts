/** A message that is not decoded yet, and what it takes meanwhile from the limits on the peer's calls. */

import type { ByteAccount, ByteBudget } from '../../base/byte-budget.js';
import { MeshError } from '../../errors.js';
import { rawBytesOf } from '../../protocol/compression.js';
import { Compression, type Frame } from '../../protocol/frame.js';
import type { FrameCodec } from '../../protocol/frame-codec.js';
import type { MessageSink } from './message-sink.js';

/** The limits that messages of the peer's calls count against before they are decoded. */
export interface ReadingRoom {
  /** How many messages of the peer may wait. */
  readonly slots: {
    readonly limit: number;
    take(kind: 'unread'): boolean;
    give(kind: 'unread'): void;
  };
  readonly receiveBudget: ByteBudget;
  readonly nestedReceiveBudget: ByteBudget;
}

/**
 * Larger messages need room for ordinary calls, or for nested ones. Up to this size they may also be urgent: that only their
 * content says.
 */
const MAX_URGENT_BYTES = 256 * 1024;

/** Holds its place until it is decoded or dropped, also where its call has ended meanwhile: its memory is still in use. */
export class UnreadMessage {
  readonly frame: Frame;
  readonly codec: FrameCodec;
  readonly sink: MessageSink;
  readonly #room: ReadingRoom | undefined;
  readonly #answers: ByteAccount | undefined;
  /** What the payload says that it becomes. */
  readonly rawBytes: number;
  #budget: ByteAccount | undefined;
  #bytes = 0;
  #hasSlot = false;

  /**
   * @param room `undefined` for answers: this side has asked for them, and refuses none
   * @param answers what their bytes are taken from
   */
  constructor(
    frame: Frame,
    codec: FrameCodec,
    sink: MessageSink,
    room: ReadingRoom | undefined,
    answers: ByteAccount | undefined,
  ) {
    this.frame = frame;
    this.codec = codec;
    this.sink = sink;
    this.#room = room;
    this.#answers = answers;
    this.rawBytes = rawBytesOf(frame);
  }

  /** Takes a slot and the bytes of the frame. @throws MeshError Overloaded */
  admit(): void {
    if (this.#room !== undefined) {
      const { slots } = this.#room;
      if (!slots.take('unread')) {
        throw new MeshError('Overloaded', `${slots.limit} messages of one node wait to be decoded`);
      }
      this.#hasSlot = true;
    }
    this.#take(this.frame.payload.length);
  }

  /** Takes the bytes that the frame says it will become. @throws MeshError Overloaded */
  reserve(): void {
    if (this.frame.compression === Compression.none) return;
    this.#take(this.frame.payload.length + this.rawBytes);
  }

  /** Takes what the message will take on the heap besides, now that this is known. There need not be room. */
  expect(heapBytes: number): void {
    this.#bytes += heapBytes;
    this.#budget?.take(heapBytes);
  }

  /** Gives everything back. May be called again. */
  release(): void {
    this.#budget?.give(this.#bytes);
    this.#budget = undefined;
    if (this.#hasSlot) this.#room?.slots.give('unread');
    this.#hasSlot = false;
  }

  #take(bytes: number): void {
    // What it has already does not stand in its own way.
    this.#budget?.give(this.#bytes);
    this.#budget = this.#room === undefined ? this.#answers : this.#roomIn(this.#room);
    this.#bytes = bytes;
    this.#budget?.take(bytes);
  }

  #roomIn({ receiveBudget, nestedReceiveBudget }: ReadingRoom): ByteBudget {
    const isSmall = this.rawBytes <= MAX_URGENT_BYTES;
    for (const budget of [receiveBudget, nestedReceiveBudget]) {
      if (budget.hasRoomFor(isSmall)) return budget;
    }
    this.#budget = undefined;
    throw new MeshError('Overloaded', 'calls under way have too many bytes already');
  }
}
