/** What the library's codec makes of a frame, in the shape that vectors and the naive codec have. */

import type { MeshErrorCode } from '../../src/errors.js';
import { joinPayload } from '../../src/protocol/codec.js';
import {
  type Algorithm,
  Compression,
  decodeCredit,
  decodeGoAway,
  decodeReset,
  type Frame,
  FrameCodec,
  FrameDecoder,
  FrameFlag,
  loadCompression,
  type Message,
  MessageCodec,
  type PackedPayload,
} from '../../src/protocol/index.js';
import { plainOfDecoded } from './naive/decoded.js';
import { type Agreed, COMPRESSIONS, DEFAULT_AGREED, type Received } from './naive/receive.js';
import { refusalOf } from './properties.js';

export const algorithms: Readonly<Record<'lz4' | 'zstd', Algorithm>> = {
  lz4: await loadCompression('lz4'),
  zstd: await loadCompression('zstd'),
};

const codec = new MessageCodec();

/** A codec for what was agreed. */
export function codecFor(agreed: Agreed, thresholdBytes = 4096): FrameCodec {
  return new FrameCodec({
    codec,
    maxMessageBytes: agreed.maxMessageBytes,
    algorithms: agreed.compressions.map((name) => algorithms[name]),
    thresholdBytes,
  });
}

export function decoderFor(agreed: Agreed): FrameDecoder {
  return new FrameDecoder({
    maxPayloadBytes: agreed.maxMessageBytes,
    requireChecksum: agreed.requireChecksum,
    compressions: [Compression.none, ...agreed.compressions.map((name) => Compression[name])],
  });
}

/**
 * The first frame of some chunks, read to the end.
 * @throws whatever is not a MeshError
 */
export async function receive(
  chunks: readonly Buffer[],
  agreed: Agreed = DEFAULT_AGREED,
): Promise<Received> {
  const decoder = decoderFor(agreed);
  let frame: Frame | undefined;
  const refusal = refusalOf(() => {
    for (const chunk of chunks) {
      decoder.push(chunk);
      frame ??= decoder.next();
    }
    frame ??= decoder.next();
  });
  if (refusal !== undefined) return { error: refusal.code };
  if (frame === undefined) return { incomplete: true };
  return readFrame(frame, codecFor(agreed));
}

async function readFrame(frame: Frame, frameCodec: FrameCodec): Promise<Received> {
  const { flags, messageId, compression, payload } = frame;
  const head = { flags, messageId, compression: COMPRESSIONS[compression] as string };
  if ((flags & FrameFlag.reset) !== 0) {
    const unknown: MeshErrorCode = messageId === 0 ? 'ConnectionClosed' : 'StreamReset';
    return settled(() => ({ ...head, reset: decodeReset(payload, unknown) }));
  }
  if ((flags & FrameFlag.credit) !== 0) {
    return settled(() => ({ ...head, credit: decodeCredit(payload) }));
  }
  if (compression === Compression.none && payload.length === 0) return head;
  if (messageId === 0) return settled(() => ({ ...head, goAway: decodeGoAway(payload) as number }));
  const outcome = await decodeMessage(frame, frameCodec);
  if (typeof outcome === 'string') return { error: outcome };
  return { ...head, message: plainOfDecoded(outcome) };
}

/** The message in a frame, or the code of its refusal. @throws whatever is not a MeshError */
export async function decodeMessage(
  frame: Frame,
  frameCodec: FrameCodec,
): Promise<Message | MeshErrorCode> {
  let found: Message | Promise<Message> | undefined;
  const refusal = refusalOf(() => {
    found = frameCodec.decode(frame);
  });
  if (refusal !== undefined) return refusal.code;
  try {
    return (await found) as Message;
  } catch (error) {
    return refusalOf(() => {
      throw error;
    })?.code as MeshErrorCode;
  }
}

/** A packed payload as a frame that a decoder gave. */
export function frameOf({ payload, tail, compression }: PackedPayload): Frame {
  const flags = 0x0181 | (compression << FrameFlag.compressionShift);
  const whole = joinPayload(payload, tail);
  return { flags, compression, messageId: 1, payload: whole, payloadChecksum: undefined };
}

function settled(read: () => Received): Received {
  let received: Received | undefined;
  const refusal = refusalOf(() => {
    received = read();
  });
  return refusal === undefined ? (received as Received) : { error: refusal.code };
}
