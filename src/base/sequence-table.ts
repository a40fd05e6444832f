/**
 * A table for numbers that are given out in order and come back nearly so, such as those of streams. Pure.
 *
 * A Map is rebuilt each time so many numbers have come and gone, and V8 keeps the old table, with all that it held, until it
 * collects the old generation. So the more calls are under way, the more of them outlive their answers. Here a number has the
 * slot that its low digits name. Where that is still taken, by a call that lasts, the older one moves to a Map.
 */

const MIN_SLOTS = 8;
/** More calls than that share a connection only where its limits were raised. They work all the same, in the Map. */
const MAX_SLOTS = 65_536;
/** What an empty table keeps for the next calls, at most. */
const KEPT_SLOTS = 256;
const FREE = -1;

/** Items by whole numbers from 0 that mostly grow. */
export class SequenceTable<T> {
  #keys: number[] = [];
  #items: (T | undefined)[] = [];
  /** Items in slots. */
  #slotted = 0;
  #lasting: Map<number, T> | undefined;

  get size(): number {
    return this.#slotted + (this.#lasting === undefined ? 0 : this.#lasting.size);
  }

  get(key: number): T | undefined {
    const slot = key & (this.#keys.length - 1);
    if (this.#keys[slot] === key) return this.#items[slot];
    return this.#lasting?.get(key);
  }

  /** @param key one that is not in the table */
  add(key: number, item: T): void {
    if (this.#keys.length === 0) this.#resize(MIN_SLOTS);
    let slot = key & (this.#keys.length - 1);
    while (this.#keys[slot] !== FREE && this.#mayGrow) {
      this.#resize(this.#keys.length * 2);
      slot = key & (this.#keys.length - 1);
    }
    if (this.#keys[slot] === FREE) this.#slotted += 1;
    else this.#moveOut(slot);
    this.#keys[slot] = key;
    this.#items[slot] = item;
  }

  /** @returns whether there was one */
  delete(key: number): boolean {
    const slot = key & (this.#keys.length - 1);
    if (this.#keys[slot] !== key) return this.#lasting?.delete(key) ?? false;
    this.#keys[slot] = FREE;
    this.#items[slot] = undefined;
    this.#slotted -= 1;
    if (this.#slotted === 0 && this.#keys.length > KEPT_SLOTS) this.#resize(MIN_SLOTS);
    return true;
  }

  clear(): void {
    this.#keys = [];
    this.#items = [];
    this.#slotted = 0;
    this.#lasting = undefined;
  }

  /** All items, by their numbers. */
  values(): T[] {
    const entries = [...(this.#lasting ?? [])];
    for (const [slot, key] of this.#keys.entries()) {
      if (key !== FREE) entries.push([key, this.#items[slot] as T]);
    }
    return entries.sort(([a], [b]) => a - b).map(([, item]) => item);
  }

  /** A table that is mostly free has calls that last, and grows no further over them. */
  get #mayGrow(): boolean {
    const slots = this.#keys.length;
    return slots < MAX_SLOTS && this.#slotted * 4 >= slots;
  }

  #moveOut(slot: number): void {
    this.#lasting ??= new Map();
    this.#lasting.set(this.#keys[slot] as number, this.#items[slot] as T);
  }

  #resize(slots: number): void {
    const keys = this.#keys;
    const items = this.#items;
    this.#keys = new Array<number>(slots).fill(FREE);
    this.#items = new Array<T | undefined>(slots).fill(undefined);
    for (let old = 0; old < keys.length; old += 1) {
      const key = keys[old] as number;
      if (key === FREE) continue;
      // Numbers that had slots of their own have them in a larger array, too.
      const slot = key & (slots - 1);
      this.#keys[slot] = key;
      this.#items[slot] = items[old];
    }
  }
}
