/** Things by when they are due: a binary heap. Pure. */

/** What can be in a {@link DeadlineHeap}. The heap writes both fields, and nobody else. */
export interface Scheduled {
  /** When it is due; infinite outside of a heap. */
  scheduledMs: number;
  /** Its place in the heap; -1 outside. */
  heapIndex: number;
}

/**
 * Things in the order in which they are due. Each knows its place, so that a change costs as many comparisons as the heap is
 * deep, and a look at what is next costs none. Whatever is not due costs nothing.
 */
export class DeadlineHeap<T extends Scheduled> {
  readonly #items: T[] = [];

  get size(): number {
    return this.#items.length;
  }

  /** When the next one is due; infinite without one. */
  get nextMs(): number {
    return this.#items[0]?.scheduledMs ?? Number.POSITIVE_INFINITY;
  }

  /** Adds it, or moves it if it is in the heap. An infinite time takes it out. */
  set(item: T, scheduledMs: number): void {
    if (scheduledMs === Number.POSITIVE_INFINITY) {
      this.delete(item);
      return;
    }
    const isLater = scheduledMs > item.scheduledMs;
    item.scheduledMs = scheduledMs;
    if (item.heapIndex < 0) {
      item.heapIndex = this.#items.length;
      this.#items.push(item);
      this.#rise(item);
    } else if (isLater) this.#sink(item);
    else this.#rise(item);
  }

  /** Does nothing for one that is not here. */
  delete(item: T): void {
    const { heapIndex } = item;
    if (heapIndex < 0) return;
    item.heapIndex = -1;
    item.scheduledMs = Number.POSITIVE_INFINITY;
    const last = this.#items.pop() as T;
    if (last === item) return;
    this.#put(last, heapIndex);
    this.#rise(last);
    this.#sink(last);
  }

  /** Takes out the next one, if it is due by now. */
  take(nowMs: number): T | undefined {
    const first = this.#items[0];
    if (first === undefined || first.scheduledMs > nowMs) return undefined;
    this.delete(first);
    return first;
  }

  #rise(item: T): void {
    while (item.heapIndex > 0) {
      const above = this.#items[(item.heapIndex - 1) >> 1] as T;
      if (above.scheduledMs <= item.scheduledMs) return;
      this.#swap(item, above);
    }
  }

  #sink(item: T): void {
    for (;;) {
      const left = this.#items[2 * item.heapIndex + 1];
      if (left === undefined) return;
      const right = this.#items[2 * item.heapIndex + 2];
      const first = right !== undefined && right.scheduledMs < left.scheduledMs ? right : left;
      if (first.scheduledMs >= item.scheduledMs) return;
      this.#swap(item, first);
    }
  }

  #swap(one: T, other: T): void {
    const index = one.heapIndex;
    this.#put(one, other.heapIndex);
    this.#put(other, index);
  }

  #put(item: T, index: number): void {
    this.#items[index] = item;
    item.heapIndex = index;
  }
}
