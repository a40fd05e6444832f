/** Hands bytes from a writer to a sender, piece by piece: the writer waits until the sender asks for the next piece. */
import type { MeshError } from '../../errors.js';

/** The piece that waits for the reader, or the reader that waits for a piece. */
interface Piece {
  readonly bytes: Uint8Array;
  readonly taken: () => void;
}

interface Reader {
  readonly resolve: (result: IteratorResult<Uint8Array>) => void;
  readonly reject: (error: MeshError) => void;
}

/** An async iterable of what a writer hands over, one piece at a time. */
export class ByteHandoff implements AsyncIterable<Uint8Array> {
  #piece: Piece | undefined;
  #isTaken = false;
  #reader: Reader | undefined;
  /** `undefined` while more may come. */
  #end: { readonly error: MeshError | undefined } | undefined;

  /**
   * Hands over one piece; not to be called again before it has fulfilled. Fulfils when the piece was sent or nobody wants it
   * any more. The memory is the writer's again then.
   */
  write(bytes: Uint8Array): Promise<void> {
    // Resolve in a later turn of the event loop: a writer that never yields would starve the event that ends the stream.
    if (this.#end !== undefined) return new Promise((resolve) => setImmediate(resolve));
    if (bytes.length === 0) return Promise.resolve();
    return new Promise((taken) => {
      this.#piece = { bytes, taken };
      this.#isTaken = false;
      this.#deliver();
    });
  }

  /** Ends the bytes. With an error they are incomplete. */
  end(error?: MeshError): void {
    this.#end ??= { error };
    this.#deliver();
    // After a failure nobody takes the piece that is left.
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
