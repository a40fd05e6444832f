/** An upload whose reader reads nothing. */
import type { Peer } from '../../../src/index.js';

const PIECE = Buffer.alloc(64 * 1024, 's');

export class StalledUpload {
  /** Bytes that the transfer has asked for. */
  pulledBytes = 0;
  readonly #abort = new AbortController();

  /** Begins at once, and offers so many bytes. */
  constructor(peer: Peer, bytes: number) {
    const open = { transferId: 'stalled', metadata: { order: 'neverAnswer', chunks: 0 } };
    void this.#run(peer.stream(open, { body: this.#offer(bytes), signal: this.#abort.signal }));
  }

  stop(): void {
    this.#abort.abort();
  }

  async #run(answer: AsyncIterable<Uint8Array>): Promise<void> {
    try {
      for await (const chunk of answer) if (chunk.length === 0) return;
    } catch {
      // It ends when it is stopped.
    }
  }

  *#offer(bytes: number): Generator<Uint8Array> {
    while (this.pulledBytes < bytes) {
      this.pulledBytes += PIECE.length;
      // As an application would have it: memory of its own for every piece.
      yield Buffer.from(PIECE);
    }
  }
}
