/** A queue that stays fast however long it is: `Array.shift` moves every element behind the first. */
export class Fifo<T> {
  #items: (T | undefined)[] = [];
  #head = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }

  get first(): T | undefined {
    return this.#items[this.#head];
  }

  get last(): T | undefined {
    return this.#items.at(-1);
  }

  push(item: T): void {
    this.#items.push(item);
  }

  shift(): T | undefined {
    // The usual case, a queue of one: nothing is allocated for it.
    if (this.#head === 0 && this.#items.length <= 1) return this.#items.pop();
    const item = this.#items[this.#head];
    this.#items[this.#head] = undefined;
    this.#head += 1;
    if (this.length === 0) this.clear();
    else if (this.#head >= COMPACT_AT && this.#head * 2 >= this.#items.length) this.#compact();
    return item;
  }

  clear(): void {
    this.#items = [];
    this.#head = 0;
  }

  /** Once half is holes: each element is moved once for every one that has left. */
  #compact(): void {
    this.#items = this.#items.slice(this.#head);
    this.#head = 0;
  }
}

const COMPACT_AT = 64;
