/** The batches for one peer that are still to be sent: who ends the peer, or the node, leaves none of them waiting. */
import type { MeshError } from '../../errors.js';

/** Sends what it has now. */
export interface OpenBatch {
  flush(): void;
}

export class OpenBatches {
  readonly #open = new Set<OpenBatch>();
  readonly #end: () => MeshError | undefined;

  /** @param end why nothing is sent to the peer any more, once that is so */
  constructor(end: () => MeshError | undefined) {
    this.#end = end;
  }

  /** Why a new batch would never be sent; `undefined` where it may be. */
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

  /** Sends all of them, or has them fail where nothing can be sent. */
  flush(): void {
    for (const batch of [...this.#open]) batch.flush();
  }
}
