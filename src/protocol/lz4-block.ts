/**
 * Decompresses an LZ4 block in steps, so that a large one holds up nobody for long. Format: "LZ4 Block Format Description" of the LZ4
 * project. The native library does it in one go, and its asynchronous function leaks what it returns.
 */

/** So much is written between two questions whether to go on: it takes some tens of microseconds. */
const LOOK_EVERY_BYTES = 64 * 1024;
/** Below, a loop takes less time than a call of the engine. */
const MIN_CALL_BYTES = 24;
const MIN_MATCH_BYTES = 4;
/** In the token: the length goes on in further bytes. */
const LONG_LENGTH = 15;

/** The decompression of one block. */
export class Lz4Block {
  /** As many bytes as the block was said to become; only what was written of it means anything. */
  readonly out: Buffer;
  readonly #data: Buffer;
  #at = 0;
  #end = 0;
  /** What is left to copy of a match, and from how far back. */
  #matchLeft = 0;
  #distance = 0;

  /** @param rawBytes what it is to become */
  constructor(data: Buffer, rawBytes: number) {
    this.#data = data;
    this.out = Buffer.allocUnsafeSlow(rawBytes);
  }

  /**
   * Goes on with decompressing.
   * @param mayGoOn is asked now and then
   * @returns whether all is written
   * @throws Error where the block is damaged, or becomes more or less than it was said to
   */
  read(mayGoOn: () => boolean): boolean {
    const data = this.#data;
    let lookAt = this.#end + LOOK_EVERY_BYTES;
    for (;;) {
      if (this.#matchLeft > 0) this.#copyMatch(lookAt);
      if (this.#end >= lookAt) {
        if (!mayGoOn()) return false;
        lookAt = this.#end + LOOK_EVERY_BYTES;
        if (this.#matchLeft > 0) continue;
      }
      if (this.#at >= data.length) throw new Error('the block is cut short');
      const token = data[this.#at] as number;
      this.#at += 1;
      this.#copyLiterals(this.#length(token >> 4));
      if (this.#at === data.length) {
        if (this.#end !== this.out.length) throw new Error('the block is too short');
        return true;
      }
      this.#beginMatch(token & 0xf);
    }
  }

  #length(short: number): number {
    if (short < LONG_LENGTH) return short;
    const data = this.#data;
    let length = short;
    for (;;) {
      if (this.#at >= data.length) throw new Error('the block is cut short');
      const more = data[this.#at] as number;
      this.#at += 1;
      length += more;
      if (more < 0xff) return length;
    }
  }

  /** There are no more of them than bytes came. */
  #copyLiterals(length: number): void {
    const data = this.#data;
    const { out } = this;
    const start = this.#at;
    const end = start + length;
    if (end > data.length) throw new Error('the block is cut short');
    if (this.#end + length > out.length) throw new Error('the block is too long');
    if (length < MIN_CALL_BYTES) {
      let to = this.#end;
      for (let at = start; at < end; at += 1, to += 1) out[to] = data[at] as number;
    } else {
      data.copy(out, this.#end, start, end);
    }
    this.#at = end;
    this.#end += length;
  }

  #beginMatch(short: number): void {
    const data = this.#data;
    if (this.#at + 2 > data.length) throw new Error('the block is cut short');
    this.#distance = (data[this.#at] as number) | ((data[this.#at + 1] as number) << 8);
    this.#at += 2;
    if (this.#distance === 0 || this.#distance > this.#end) throw new Error('a match is nowhere');
    this.#matchLeft = this.#length(short) + MIN_MATCH_BYTES;
    if (this.#end + this.#matchLeft > this.out.length) throw new Error('the block is too long');
  }

  /** Copies a match, no further than a little beyond `lookAt`. A match may overlap what it becomes: then it repeats. */
  #copyMatch(lookAt: number): void {
    const { out } = this;
    const distance = this.#distance;
    let to = this.#end;
    const length = Math.min(this.#matchLeft, Math.max(MIN_CALL_BYTES, lookAt - to));
    const end = to + length;
    if (length < MIN_CALL_BYTES) {
      for (; to < end; to += 1) out[to] = out[to - distance] as number;
    } else {
      // What was written repeats as well: each time twice as much of it can be copied.
      const from = to - distance;
      while (to < end) {
        const piece = Math.min(end - to, to - from);
        out.copyWithin(to, from, from + piece);
        to += piece;
      }
    }
    this.#end = end;
    this.#matchLeft -= length;
  }
}
