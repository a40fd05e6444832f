/**
 * How many calls of one peer this node runs at once, over all of its connections. Pure.
 *
 * A call holds its slot until its handler is done, also where the peer has given it up: resetting streams does not buy a
 * peer more work (CVE-2023-44487).
 */
/** Urgent: of class `control`. Nested: made by a handler of the peer. */
export type SlotKind = 'usual' | 'urgent' | 'nested';

export class HandlerSlots {
  readonly limit: number;
  #taken = 0;
  #urgentTaken = 0;
  #nestedTaken = 0;

  /** @param limit of calls of each kind: none can shut out another */
  constructor(limit: number) {
    this.limit = limit;
  }

  /** Calls that run. */
  get taken(): number {
    return this.#taken + this.#urgentTaken + this.#nestedTaken;
  }

  /** @returns whether there was one */
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
