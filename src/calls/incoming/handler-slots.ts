/** How many calls of one peer this node runs at once, over all of the peer's connections. Pure. */

/** `urgent`: of priority `control`. `nested`: made by a handler of the peer. `usual`: any other. */
export type SlotKind = 'usual' | 'urgent' | 'nested';

/**
 * Counts the calls of one peer that run. A call holds its slot until its handler is done, also where the peer has given
 * the call up: a peer cannot get more work done at once by resetting streams (CVE-2023-44487).
 */
export class HandlerSlots {
  readonly limit: number;
  #taken = 0;
  #urgentTaken = 0;
  #nestedTaken = 0;

  /** @param limit of each kind, counted apart so that no kind can shut out another */
  constructor(limit: number) {
    this.limit = limit;
  }

  /** Calls that run now. */
  get taken(): number {
    return this.#taken + this.#urgentTaken + this.#nestedTaken;
  }

  /** Takes a slot. @returns false where none is free */
  take(kind: SlotKind): boolean {
    if (this.#takenOf(kind) >= this.limit) return false;
    this.#add(kind, 1);
    return true;
  }

  give(kind: SlotKind): void {
    this.#add(kind, -1);
  }

  #takenOf(kind: SlotKind): number {
    if (kind === 'usual') return this.#taken;
    return kind === 'urgent' ? this.#urgentTaken : this.#nestedTaken;
  }

  #add(kind: SlotKind, calls: number): void {
    if (kind === 'usual') this.#taken += calls;
    else if (kind === 'urgent') this.#urgentTaken += calls;
    else this.#nestedTaken += calls;
  }
}
