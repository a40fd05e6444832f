/** Bytes that a writer hands to a sender, piece by piece: the writer waits until the sender comes back for more. */
import type { MeshError } from '../../errors.js';

/** The piece that is on its way, or the reader that waits for one. */
interface Piece {
  readonly bytes: Uint8Array;
  readonly taken: () => void;
}

interface Reader {
  readonly resolve: (result: IteratorResult<Uint8Array>) => void;
  readonly reject: (error: MeshError) => void;
}

export class ByteHandoff implements AsyncIterable<Uint8Array> {
  #piece: Piece | undefined;
  #isTaken = false;
  #reader: Reader | undefined;
  /** `undefined` while more may come. */
  #end: { readonly error: MeshError | undefined } | undefined;

  /**
   * Fulfils when the piece has been sent, or nobody wants it any more. The memory is the writer's again then. One piece
   * at a time.
   */
  write(bytes: Uint8Array): Promise<void> {
    // A writer that never waits would let nothing else have its turn, the end that it should hear of included.
    if (this.#end !== undefined) return new Promise((resolve) => setImmediate(resolve));
    if (bytes.length === 0) return Promise.resolve();
    return new Promise((taken) => {
      this.#piece = { bytes, taken };
      this.#isTaken = false;
      this.#deliver();
    });
  }

  /** Nothing more comes. With an error the bytes are not the whole. */
  end(error?: MeshError): void {
    this.#end ??= { error };
    this.#deliver();
    // Where it failed, nobody takes what is left.
    if (this.#end.error !== undefined) this.#release();
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return {
      next: () => {
        if (this.#isTaken) this.#release();
        return new Promise((resolve, reject) => {
          this.#reader = { resolve, reject };
          this.#deliver();
        });
      },
      return: async () => {
        this.#end = { error: undefined };
        this.#release();
        this.#deliver();
        return { done: true, value: undefined };
      },
    };
  }

  #deliver(): void {
    const reader = this.#reader;
    if (reader === undefined) return;
    const piece = this.#isTaken ? undefined : this.#piece;
    if (piece === undefined && this.#end === undefined) return;
    this.#reader = undefined;
    if (this.#end?.error !== undefined) {
      reader.reject(this.#end.error);
    } else if (piece === undefined) {
      reader.resolve({ done: true, value: undefined });
    } else {
      this.#isTaken = true;
      reader.resolve({ done: false, value: piece.bytes });
    }
  }

  #release(): void {
    const piece = this.#piece;
    this.#piece = undefined;
    this.#isTaken = false;
    piece?.taken();
  }
}
