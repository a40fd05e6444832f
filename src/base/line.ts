/**
 * A line in which anybody may leave from anywhere, in constant time however long it is. A Set in its place keeps the places
 * of those who left until it is rebuilt, and whoever looks for its first element steps over all of them. In a line of a
 * thousand that takes longer than a small call. Pure.
 */

/** What may stand in a {@link Line}, in one at a time. Only the line writes these. */
export interface InLine<T extends InLine<T>> {
  line: Line<T> | undefined;
  before: T | undefined;
  after: T | undefined;
}

/** A place in a line for what may stand in several of them, or has no room for links of its own. */
export class Place<T> implements InLine<Place<T>> {
  line: Line<Place<T>> | undefined;
  before: Place<T> | undefined;
  after: Place<T> | undefined;
  readonly item: T;

  constructor(item: T) {
    this.line = undefined;
    this.before = undefined;
    this.after = undefined;
    this.item = item;
  }
}

/** A queue whose elements hold their own links: nobody allocates, hashes or copies. */
export class Line<T extends InLine<T>> implements Iterable<T> {
  #first: T | undefined;
  #last: T | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get first(): T | undefined {
    return this.#first;
  }

  get last(): T | undefined {
    return this.#last;
  }

  has(item: T): boolean {
    return item.line === this;
  }

  /** Puts an item at the end. Whoever stands in this line keeps its place. @throws Error for one that stands in another */
  push(item: T): void {
    if (item.line === this) return;
    if (item.line !== undefined) throw new Error('stands in another line');
    const last = this.#last;
    item.line = this;
    item.before = last;
    if (last === undefined) this.#first = item;
    else last.after = item;
    this.#last = item;
    this.#size += 1;
  }

  /** Puts an item that stands in no line before all others. */
  pushFirst(item: T): void {
    const first = this.#first;
    if (first === undefined) {
      this.push(item);
      return;
    }
    if (item.line !== undefined) throw new Error('stands in a line');
    item.line = this;
    item.after = first;
    first.before = item;
    this.#first = item;
    this.#size += 1;
  }

  /** Takes an item out. @returns whether it stood here */
  remove(item: T): boolean {
    if (item.line !== this) return false;
    const { before, after } = item;
    if (before === undefined) this.#first = after;
    else before.after = after;
    if (after === undefined) this.#last = before;
    else after.before = before;
    item.line = undefined;
    item.before = undefined;
    item.after = undefined;
    this.#size -= 1;
    return true;
  }

  /** The item behind this one; the first, where this one has left or is `undefined`. For walks during which items leave. */
  following(item: T | undefined): T | undefined {
    return item?.line === this ? item.after : this.#first;
  }

  /** Lets everybody go. */
  clear(): void {
    for (let item = this.#first; item !== undefined; item = this.#first) this.remove(item);
  }

  /** In order. The item that was visited last must not leave meanwhile, unless the walk ends there. */
  *[Symbol.iterator](): IterableIterator<T> {
    for (let item = this.#first; item !== undefined; item = item.after) yield item;
  }
}
