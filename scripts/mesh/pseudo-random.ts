/** Bytes that both ends of a transfer can make from a seed. */
import { createCipheriv, createHash } from 'node:crypto';

const PIECE_BYTES = 16 * 1024;

/** The same `length` bytes for the same seed, in pieces that the reader owns. */
export function* pseudoRandomBytes(seed: number, length: number): Generator<Uint8Array> {
  const key = createHash('sha256').update(String(seed)).digest().subarray(0, 16);
  const cipher = createCipheriv('aes-128-ctr', key, Buffer.alloc(16));
  for (let left = length; left > 0; left -= PIECE_BYTES) {
    yield cipher.update(Buffer.alloc(Math.min(left, PIECE_BYTES)));
  }
}

/** SHA-256 in hex. */
export async function sha256Of(
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of pieces) hash.update(piece);
  return hash.digest('hex');
}
