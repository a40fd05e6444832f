/**
 * Memory for outgoing datagrams, which is reused once the system has taken them. With new memory for each datagram, the garbage
 * collector took a fifth of the time of a bulk transfer.
 */

const BLOCK_BYTES = 256 * 1024;
/** Room for any datagram that the binding may write. */
const MAX_DATAGRAM_BYTES = 65_535;
/** How many blocks are kept for the next burst: as much as a connection sends in one flush. */
const MAX_IDLE_BLOCKS = 32;

/** Buffers that the binding writes datagrams into. They are used again once the system has taken the datagrams. */
export class SendMemory {
  #block: Buffer = Buffer.allocUnsafeSlow(BLOCK_BYTES);
  #offset = 0;
  /** Blocks that are full since the last `release`; never more than may be kept. */
  #full: Buffer[] = [];
  readonly #idle: Buffer[] = [];

  /** Room for a datagram of up to `maxBytes`, at most 65,535. Not taken until `take`. */
  room(maxBytes: number): Buffer {
    if (BLOCK_BYTES - this.#offset < MAX_DATAGRAM_BYTES) this.#turnOver();
    return this.#block.subarray(this.#offset, this.#offset + maxBytes);
  }

  /** The first `length` bytes of what `room` offered last. They are the caller's until `release`. */
  take(length: number): Buffer {
    const start = this.#offset;
    this.#offset += length;
    return this.#block.subarray(start, this.#offset);
  }

  /** All memory that was taken may be reused: the system has sent it. */
  release(): void {
    this.#offset = 0;
    if (this.#full.length > 0) {
      this.#idle.push(...this.#full.splice(0, MAX_IDLE_BLOCKS - this.#idle.length));
      this.#full = [];
    } else if (this.#idle.length > 0) {
      // Only a burst needed them. They are given up one at a time.
      this.#idle.pop();
    }
  }

  #turnOver(): void {
    if (this.#full.length < MAX_IDLE_BLOCKS) this.#full.push(this.#block);
    this.#block = this.#idle.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES);
    this.#offset = 0;
  }
}
