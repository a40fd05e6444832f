/**
 * Remembers which knocks were answered. Whoever sees a knock on the network can send it again: it must bring them no answer at
 * another address, and no second connection. SPEC.md, "Knocks". Pure.
 *
 * It forgets a knock together with its time slot: from then on the knock is not good any more. Only knocks with a good MAC get
 * here, so that nobody without a key can fill it.
 */
import { slotAt } from '../../protocol/knock.js';

/** Each takes about 150 bytes. */
export const MAX_KNOCKS = 65_536;
/** How long a knock that brought no connection stays with its address. A NAT may give the dialer another one. */
const HELD_MS = 1000;

/** `'full'`: it is not remembered, so the dialer has to prove by other means that it is at its address. */
export type KnockVerdict = 'good' | 'replayed' | 'full';

interface Holder {
  address: string;
  sinceMs: number;
}

/** It has led to a connection. */
const SPENT = Symbol('spent');

/** A bounded memory of knocks, by the slots that they are of. */
export class KnockMemory {
  readonly #maxKnocks: number;
  readonly #slots = new Map<number, Map<string, Holder | typeof SPENT>>();
  #size = 0;
  #presentSlot = Number.NaN;

  constructor(maxKnocks = MAX_KNOCKS) {
    this.#maxKnocks = maxKnocks;
  }

  get size(): number {
    return this.#size;
  }

  /**
   * Judges a knock that is about to be answered. A good one belongs to this address from then on.
   * @param knock as latin1 text
   * @param slot the slot that it is of
   * @param address host and port of its sender, as text
   * @param nowMs since 1970
   */
  claim(knock: string, slot: number, address: string, nowMs: number): KnockVerdict {
    this.#forget(nowMs);
    const known = this.#slots.get(slot)?.get(knock);
    if (known === SPENT) return 'replayed';
    if (known === undefined) {
      const holder = { address, sinceMs: nowMs };
      return this.#remember(knock, slot, holder) ? 'good' : 'full';
    }
    const isLater = nowMs - known.sinceMs >= HELD_MS;
    if (known.address !== address && !isLater) return 'replayed';
    known.address = address;
    known.sinceMs = nowMs;
    return 'good';
  }

  /** A claimed knock has led to a connection, and is good for no other. */
  spend(knock: string): void {
    for (const knocks of this.#slots.values()) {
      if (knocks.has(knock)) knocks.set(knock, SPENT);
    }
  }

  #remember(knock: string, slot: number, holder: Holder): boolean {
    if (this.#size >= this.#maxKnocks) return false;
    let knocks = this.#slots.get(slot);
    if (knocks === undefined) {
      knocks = new Map();
      this.#slots.set(slot, knocks);
    }
    knocks.set(knock, holder);
    this.#size += 1;
    return true;
  }

  #forget(nowMs: number): void {
    const present = slotAt(nowMs);
    if (present === this.#presentSlot) return;
    this.#presentSlot = present;
    for (const [slot, knocks] of this.#slots) {
      if (Math.abs(slot - present) <= 1) continue;
      this.#slots.delete(slot);
      this.#size -= knocks.size;
    }
  }
}
