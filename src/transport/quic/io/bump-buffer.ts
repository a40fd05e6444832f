/** Memory that the binding writes into, handed out in slices: one allocation serves many datagrams or reads. */
export class BumpBuffer {
  readonly #blockBytes: number;
  readonly #minBytes: number;
  #buffer: Buffer;
  #offset = 0;

  /** @param minBytes what `room()` offers at least */
  constructor(blockBytes: number, minBytes: number) {
    this.#blockBytes = blockBytes;
    this.#minBytes = minBytes;
    this.#buffer = Buffer.allocUnsafeSlow(blockBytes);
  }

  /**
   * Free memory to write into. Not taken until `take`.
   * @param maxBytes as much of it as is wanted, within what `room()` offers at least; by default all there is
   */
  room(maxBytes?: number): Buffer {
    if (this.#blockBytes - this.#offset < this.#minBytes) {
      this.#buffer = Buffer.allocUnsafeSlow(this.#blockBytes);
      this.#offset = 0;
    }
    if (maxBytes !== undefined) return this.#buffer.subarray(this.#offset, this.#offset + maxBytes);
    return this.#offset === 0 ? this.#buffer : this.#buffer.subarray(this.#offset);
  }

  /** The first `length` bytes of what `room` offered last; they are the caller's from here on. */
  take(length: number): Buffer {
    const start = this.#offset;
    this.#offset += length;
    return this.#buffer.subarray(start, this.#offset);
  }
}
