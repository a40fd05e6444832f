/** Bodies of uploads, and how a server acknowledges them: with the number of bytes that it counted. */
import { randomBytes } from 'node:crypto';
import { PIECE_BYTES } from './contender.js';

/** The pieces of a body; all but the last have {@link PIECE_BYTES} and share their memory. */
export function* piecesOf(totalBytes: number): Generator<Buffer, void, void> {
  const piece = randomBytes(PIECE_BYTES);
  let left = totalBytes;
  for (; left >= PIECE_BYTES; left -= PIECE_BYTES) yield piece;
  if (left > 0) yield piece.subarray(0, left);
}

/** The same without an end, but when the signal fires. */
export function* piecesUntil(signal: AbortSignal): Generator<Buffer, void, void> {
  const piece = randomBytes(PIECE_BYTES);
  while (!signal.aborted) yield piece;
}

export const ACK_BYTES = 8;

export function encodeAck(countedBytes: number): Buffer {
  const ack = Buffer.alloc(ACK_BYTES);
  ack.writeBigUInt64BE(BigInt(countedBytes));
  return ack;
}

/** The number of an acknowledgement; `undefined` for something else. */
export function readAck(ack: Uint8Array): number | undefined {
  return ack.length === ACK_BYTES ? Number(Buffer.from(ack).readBigUInt64BE()) : undefined;
}

/** @throws Error when the server has counted something else */
export function checkAck(ack: Uint8Array, totalBytes: number): void {
  const counted = readAck(ack);
  if (counted !== totalBytes) {
    throw new Error(`the server counted ${counted} bytes of ${totalBytes}`);
  }
}
