/** Frames of an attacker that has no time to lose: those of the corpus are written slowly, by other code than the library's. */

import { MessageCodec } from '../../../../src/protocol/codec.js';
import { Compression, encodeFrame, FrameFlag } from '../../../../src/protocol/frame.js';
import type { Message } from '../../../../src/protocol/message.js';

const codec = new MessageCodec();

export interface FrameOptions {
  /** Bits of {@link FrameFlag}. Default: none. */
  readonly control?: number;
  readonly compression?: Compression;
}

export function frameOf(
  messageId: number,
  payload: Uint8Array,
  { control = 0, compression = Compression.none }: FrameOptions = {},
): Buffer {
  return encodeFrame({ control, compression, messageId, payload, checksum: true });
}

/** A message, whole or with more to follow. */
export function messageOf(messageId: number, message: Message, { end = true } = {}): Buffer {
  return frameOf(messageId, codec.encode(message), { control: end ? FrameFlag.end : 0 });
}
