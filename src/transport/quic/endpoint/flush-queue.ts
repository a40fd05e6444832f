/** Flushes connections once in a turn of the event loop, however many datagrams and calls asked for it. */

/** A connection's slot, as the queue sees it. */
export interface Flushable {
  /** Whether it is in the queue. The queue alone writes it. */
  isFlushDue: boolean;
  /** `undefined` once the connection is over. */
  readonly connection: { flush(): void } | undefined;
}

/** The slots of one endpoint that have something to send. */
export class FlushQueue {
  #due: Flushable[] = [];

  /** Has the connection flushed at the end of this turn. */
  add(slot: Flushable): void {
    if (slot.isFlushDue) return;
    slot.isFlushDue = true;
    this.#due.push(slot);
    // After the poll phase: answers to all datagrams of this turn share packets and acknowledgements.
    if (this.#due.length === 1) setImmediate(this.#flush);
  }

  readonly #flush = (): void => {
    const slots = this.#due;
    this.#due = [];
    for (const slot of slots) slot.isFlushDue = false;
    for (const { connection } of slots) connection?.flush();
  };
}
