/**
 * Small byte strings out of received memory, as copies: a value of 32 bytes that somebody keeps would otherwise keep the
 * block alive that it was read into, with what else came then, 64 KiB of it.
 */
import { NO_BYTES } from '../base/buffers.js';

/** From here on a byte string shares the memory that it came in: to copy it costs more than a part of what it keeps. */
export const MAX_SMALL_BYTES = 1024;

/** What a kept byte string keeps at most. Received memory that is no larger is not copied from. */
export const SMALL_BLOCK_BYTES = 8 * 1024;

/** Holds nothing of a source between two of them but one block of copies. */
export class SmallBytes {
  #block: Buffer = NO_BYTES;
  #at = 0;
  #source: Buffer = NO_BYTES;
  #isShared = false;
  #copies = 0;
  /** The run of the source's bytes that was copied last, and where the copy begins in the block. */
  #runStart = 0;
  #runEnd = 0;
  #runAt = 0;

  /** Slices are of that source from now on. */
  begin(source: Buffer): void {
    this.#source = source;
    this.#copies = 0;
    this.#runEnd = 0;
  }

  /** The source is the caller's again. */
  end(): void {
    this.#source = NO_BYTES;
  }

  /** Bytes of the source from `start` to before `end`: a copy where they are few and the source's memory is large. */
  slice(start: number, end: number): Buffer {
    const source = this.#source;
    if (end - start > MAX_SMALL_BYTES) return source.subarray(start, end);
    if (this.#copies === 0) this.#isShared = source.buffer.byteLength > SMALL_BLOCK_BYTES;
    if (!this.#isShared) return source.subarray(start, end);
    if (start < this.#runStart || end > this.#runEnd) this.#copyRun(start, end);
    const at = this.#runAt + start - this.#runStart;
    return this.#block.subarray(at, at + end - start);
  }

  /** Where one small byte string was, further ones follow, as in the entries of a log: they are copied with this one. */
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
 * The same for byte strings within a value that was decoded, in place.
 * @param source the received bytes, which larger byte strings share
 */
export function ownSmallBytes(value: unknown, small: SmallBytes, source: Buffer): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Buffer.isBuffer(value)) {
    const start = value.byteOffset - source.byteOffset;
    return value.buffer === source.buffer ? small.slice(start, start + value.length) : value;
  }
  // Lists and maps of the decoder's own, which has no other objects.
  const holder = value as Record<string, unknown>;
  for (const key of Object.keys(holder)) {
    const item = holder[key];
    if (typeof item !== 'object' || item === null) continue;
    const own = ownSmallBytes(item, small, source);
    if (own !== item) holder[key] = own;
  }
  return value;
}
