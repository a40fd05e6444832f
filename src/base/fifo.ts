/** A queue in which `shift` takes constant time. `Array.shift` moves all the other elements. */
export class Fifo<T> {
  /** Kept apart: most queues never hold more than one element, and then need no array. */
  #first: T | undefined;
  #rest: (T | undefined)[] | undefined;
  #head = 0;

  get length(): number {
    if (this.#first === undefined) return 0;
    return this.#rest === undefined ? 1 : 1 + this.#rest.length - this.#head;
  }

  get first(): T | undefined {
    return this.#first;
  }

  get last(): T | undefined {
    return this.#rest === undefined ? this.#first : this.#rest.at(-1);
  }

  push(item: T): void {
    if (this.#first === undefined) this.#first = item;
    else if (this.#rest === undefined) this.#rest = [item];
    else this.#rest.push(item);
  }

  shift(): T | undefined {
    const item = this.#first;
    this.#first = this.#rest === undefined ? undefined : this.#shiftRest(this.#rest);
    return item;
  }

  clear(): void {
    this.#first = undefined;
    this.#dropRest();
  }

  /** @param rest never empty */
  #shiftRest(rest: (T | undefined)[]): T | undefined {
    const item = rest[this.#head];
    rest[this.#head] = undefined;
    this.#head += 1;
    if (this.#head === rest.length) this.#dropRest();
    else if (this.#head >= COMPACT_AT && this.#head * 2 >= rest.length) this.#compact(rest);
    return item;
  }

  #dropRest(): void {
    this.#rest = undefined;
    this.#head = 0;
  }

  /** Called once half of the array is empty, so that an element moves at most once for each one that left. */
  #compact(rest: (T | undefined)[]): void {
    this.#rest = rest.slice(this.#head);
    this.#head = 0;
  }
}

const COMPACT_AT = 64;
