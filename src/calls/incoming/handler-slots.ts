/** How many calls of one peer this node runs at once, over all of the peer's connections. Pure. */

/**
 * `urgent`: of priority `control`. `nested`: made by a handler of the peer. `usual`: any other. `unread`: not decoded yet, so
 * that nobody knows which.
 */
export type SlotKind = 'usual' | 'urgent' | 'nested' | 'unread';

/**
 * Counts the calls of one peer that run. A call holds its slot until its handler is done, also where the peer has given
 * the call up: a peer cannot get more work done at once by resetting streams (CVE-2023-44487).
 */
export class HandlerSlots {
  readonly limit: number;
  readonly #taken: Record<SlotKind, number> = { usual: 0, urgent: 0, nested: 0, unread: 0 };

  /** @param limit of each kind, counted apart so that no kind can shut out another */
  constructor(limit: number) {
    this.limit = limit;
  }

  /** Calls that run now, or wait to be decoded. */
  get taken(): number {
    const { usual, urgent, nested, unread } = this.#taken;
    return usual + urgent + nested + unread;
  }

  /** Takes a slot. @returns false where none is free */
  take(kind: SlotKind): boolean {
    if (this.#taken[kind] >= this.limit) return false;
    this.#taken[kind] += 1;
    return true;
  }

  give(kind: SlotKind): void {
    this.#taken[kind] -= 1;
  }
}
