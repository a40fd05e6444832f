/** All of the naive codec: a frame's bytes to what the frame says. */
import { tableIn } from '../spec-page.js';
import { unpack } from './compression.js';
import { readFrames } from './frame.js';
import { readCredit, readGoAway, readMessage, readReset } from './message.js';
import { Refusal } from './refusal.js';

/** What was agreed for a connection. */
export interface Agreed {
  readonly maxMessageBytes: number;
  readonly requireChecksum: boolean;
  readonly compressions: readonly ('lz4' | 'zstd')[];
}

export const DEFAULT_AGREED: Agreed = {
  maxMessageBytes: 16 * 1024 * 1024,
  requireChecksum: true,
  compressions: ['lz4', 'zstd'],
};

/** What a frame turned into. */
export type Received =
  | { readonly error: string }
  | { readonly incomplete: true }
  | {
      readonly flags: number;
      readonly messageId: number;
      readonly compression: string;
      readonly message?: Record<string, unknown>;
      readonly reset?: { readonly code: string; readonly reason: string };
      readonly credit?: number;
      readonly goAway?: number;
    };

export const COMPRESSIONS = ['none', 'lz4', 'zstd'];
const CODES = new Map(
  tableIn('## Error codes')
    .map(([name, wire]) => [Number(wire), name] as const)
    .filter(([wire]) => wire < 0xf0),
);

/** The first frame of `bytes`, read to the end. */
export async function receiveNaively(bytes: Buffer, agreed = DEFAULT_AGREED): Promise<Received> {
  const { frames, error } = readFrames(bytes, {
    maxPayloadBytes: agreed.maxMessageBytes,
    requireChecksum: agreed.requireChecksum,
    compressions: [0, ...agreed.compressions.map((name) => COMPRESSIONS.indexOf(name))],
  });
  const frame = frames[0];
  if (frame === undefined) return error === undefined ? { incomplete: true } : { error };
  const { flags, messageId } = frame;
  const compression = (flags >> 4) % 8;
  const head = { flags, messageId, compression: COMPRESSIONS[compression] as string };
  const payload = Buffer.from(frame.payload, 'hex');
  try {
    if ((flags & 0x0200) > 0) {
      const reset = readReset(payload, (wire) => CODES.get(wire), messageId === 0);
      return { ...head, reset };
    }
    if ((flags & 0x0400) > 0) return { ...head, credit: readCredit(payload) };
    if (compression === 0 && payload.length === 0) return head;
    if (messageId === 0) return { ...head, goAway: readGoAway(payload) };
    const raw =
      compression === 0 ? payload : await unpack(payload, compression, agreed.maxMessageBytes);
    return { ...head, message: readMessage(raw) };
  } catch (error) {
    if (error instanceof Refusal) return { error: error.code };
    throw error;
  }
}
