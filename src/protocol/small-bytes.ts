/**
 * Copies small byte strings out of received memory. Somebody who keeps a value of 32 bytes would otherwise keep the whole
 * block alive that it was read into, up to 64 KiB.
 */
import { NO_BYTES } from '../base/buffers.js';

/** From here on a byte string shares the memory that it came in: to copy it costs more than a part of what it keeps. */
export const MAX_SMALL_BYTES = 1024;

/** The most that a kept byte string keeps alive. Nothing is copied out of received memory that is no larger than this. */
export const SMALL_BLOCK_BYTES = 8 * 1024;

/** Holds nothing of a source between two of them but one block of copies. */
export class SmallBytes {
  #block: Buffer = NO_BYTES;
  #at = 0;
  #source: Buffer = NO_BYTES;
  #isShared = false;
  #copies = 0;
  /** The range of the source that was copied last, and where its copy begins in the block. */
  #runStart = 0;
  #runEnd = 0;
  #runAt = 0;

  /** Slices are taken from this source from now on. */
  begin(source: Buffer): void {
    this.#source = source;
    this.#copies = 0;
    this.#runEnd = 0;
  }

  /** The source is the caller's again. */
  end(): void {
    this.#source = NO_BYTES;
  }

  /** The source's bytes from `start` to before `end`: a copy where they are few and the source's memory is large. */
  slice(start: number, end: number): Buffer {
    const source = this.#source;
    if (end === start) return NO_BYTES;
    if (end - start > MAX_SMALL_BYTES) return source.subarray(start, end);
    if (this.#copies === 0) this.#isShared = source.buffer.byteLength > SMALL_BLOCK_BYTES;
    if (!this.#isShared) return source.subarray(start, end);
    if (start < this.#runStart || end > this.#runEnd) this.#copyRun(start, end);
    const at = this.#runAt + start - this.#runStart;
    return this.#block.subarray(at, at + end - start);
  }

  /** Copies a whole range at once: small byte strings come in groups, as in the entries of a log. */
  #copyRun(start: number, end: number): void {
    const isFirst = this.#copies === 0;
    const runEnd = isFirst ? end : Math.min(start + MAX_SMALL_BYTES, this.#source.length);
    const bytes = runEnd - start;
    if (this.#at + bytes > this.#block.length) {
      this.#block = Buffer.allocUnsafeSlow(SMALL_BLOCK_BYTES);
      this.#at = 0;
    }
    this.#source.copy(this.#block, this.#at, start, runEnd);
    this.#copies += 1;
    this.#runStart = start;
    this.#runEnd = runEnd;
    this.#runAt = this.#at;
    this.#at += bytes;
  }
}

/**
 * Does the same for all byte strings within a decoded value, in place.
 * @param source the received bytes, which larger byte strings share
 */
export function ownSmallBytes(value: unknown, small: SmallBytes, source: Buffer): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Buffer.isBuffer(value)) {
    const start = value.byteOffset - source.byteOffset;
    return value.buffer === source.buffer ? small.slice(start, start + value.length) : value;
  }
  // Only the decoder's own lists and maps are left: it makes no other objects.
  if (Array.isArray(value)) {
    // By index: to list the keys of a long list takes longer than to decode it.
    for (let i = 0; i < value.length; i += 1) {
      const item = value[i];
      if (typeof item !== 'object' || item === null) continue;
      value[i] = ownSmallBytes(item, small, source);
    }
    return value;
  }
  const holder = value as Record<string, unknown>;
  for (const key of Object.keys(holder)) {
    const item = holder[key];
    if (typeof item !== 'object' || item === null) continue;
    const own = ownSmallBytes(item, small, source);
    if (own !== item) holder[key] = own;
  }
  return value;
}
