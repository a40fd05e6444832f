/** The batches for one peer that are still to be sent. When the peer or the node ends, none of them is left waiting. */
import { LazySet } from '../../base/lazy-collections.js';
import type { MeshError } from '../../errors.js';

/** A batch that is still to be sent. `flush` sends what it has now. */
export interface OpenBatch {
  flush(): void;
}

/** Knows the unsent batches of all batchers to one peer. */
export class OpenBatches {
  readonly #open = new LazySet<OpenBatch>();
  readonly #end: () => MeshError | undefined;

  /** @param end the error of an ended peer; `undefined` while messages can be sent to it */
  constructor(end: () => MeshError | undefined) {
    this.#end = end;
  }

  /** Why a new batch could never be sent; `undefined` where it can be. */
  get end(): MeshError | undefined {
    return this.#end();
  }

  get size(): number {
    return this.#open.size;
  }

  add(batch: OpenBatch): void {
    this.#open.add(batch);
  }

  delete(batch: OpenBatch): void {
    this.#open.delete(batch);
  }

  /** Sends all batches, or fails them where nothing can be sent. */
  flush(): void {
    for (const batch of [...this.#open]) batch.flush();
  }
}
