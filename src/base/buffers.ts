/** What several parts do with byte strings. Nothing here copies more than it says. */

export const NO_BYTES: Buffer = Buffer.alloc(0);

/** The same memory as a Buffer: itself, if it is one. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * A copy of bytes that are kept for long, unless they are most of their memory: a few bytes must not keep a large block
 * alive. Small copies share blocks of 8 KiB, which is much cheaper than memory of their own.
 */
export function compact(bytes: Uint8Array): Uint8Array {
  if (bytes.length * 2 >= bytes.buffer.byteLength) return bytes;
  const own = Buffer.allocUnsafe(bytes.length);
  own.set(bytes);
  return own;
}

/**
 * Adds a piece to a list of pieces, in place. Small neighbours are merged, like digits of a binary counter: whoever sends
 * byte by byte would otherwise make us hold an object of some hundred bytes for each of them.
 * @param piece its memory is the list's from here on
 * @param maxMergedBytes pieces are merged up to this size; above, copying would cost more than it saves
 */
export function pushMerged(pieces: Uint8Array[], piece: Uint8Array, maxMergedBytes: number): void {
  let merged = piece;
  let last = pieces.at(-1);
  while (
    last !== undefined &&
    last.length <= 2 * merged.length &&
    last.length + merged.length <= maxMergedBytes
  ) {
    pieces.pop();
    merged = Buffer.concat([last, merged]);
    last = pieces.at(-1);
  }
  pieces.push(merged);
}
