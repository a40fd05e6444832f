/** What decoded CBOR takes on the heap of V8. Pure. */

/** A place in a list or map, and a number, a short text or an empty list in it. */
const ITEM_BYTES = 32;
/** A map, with what it takes for keys of its own, or a byte string: a Buffer is a large object. */
const OBJECT_BYTES = 80;

/**
 * An estimate, besides the bytes of texts and byte strings.
 * @param items every key, every value, and every list and map
 * @param objects those of them that are maps or byte strings
 */
export function heapBytesOf(items: number, objects: number): number {
  return items * ITEM_BYTES + objects * OBJECT_BYTES;
}
