/** Bytes that a seed stands for, from any position on, made as they are read. */
import { createHash } from 'node:crypto';
import { Random } from '../../scripts/fuzz/random.js';

export const PIECE_BYTES = 64 * 1024;

export class SeededBytes {
  readonly totalBytes: number;
  readonly #piece: Buffer;
  /** Bytes that were read of it in all. */
  readBytes = 0;

  constructor(seed: number, totalBytes: number) {
    this.totalBytes = totalBytes;
    const random = new Random(seed);
    this.#piece = Buffer.from(
      Uint8Array.from({ length: PIECE_BYTES }, () => Math.floor(random.fraction() * 256)),
    );
  }

  get sha256(): string {
    const hash = createHash('sha256');
    for (let at = 0; at < this.totalBytes; at += PIECE_BYTES) hash.update(this.#pieceAt(at));
    return hash.digest('hex');
  }

  /** All from `offset` on. Each piece is memory of its own. */
  *from(offset: number): Generator<Buffer> {
    for (let at = offset; at < this.totalBytes; ) {
      const piece = this.#pieceAt(at);
      at += piece.length;
      this.readBytes += piece.length;
      yield piece;
    }
  }

  /** To the end of the piece that the position is in; each piece says which it is. */
  #pieceAt(offset: number): Buffer {
    const start = offset - (offset % PIECE_BYTES);
    const piece = Buffer.from(this.#piece);
    piece.writeUInt32BE(start / PIECE_BYTES, 0);
    return piece.subarray(offset - start, Math.min(PIECE_BYTES, this.totalBytes - start));
  }
}
