/**
 * Unfinished frames of all streams of a connection: how many bytes of them are kept, and who may bring more. Pure.
 *
 * Bytes that are read no longer count for QUIC's flow control, so it does not bound what many streams keep of frames that
 * never become whole. Above a limit only one stream is read on: the one that has waited longest, so that some frame always
 * becomes whole. QUIC's windows then stop the senders of the others.
 */
import { LazyMap, LazySet } from '../../../base/lazy-collections.js';
import type { QuicStream } from './stream.js';

/** Memory that is taken ahead of its bytes stays below half of the limit: a 64th, 32 times. */
const PLENTY = 64;
/** Streams that are read above the limit, at most: each is asked about with each stream that is to be read. */
const MAX_READ_ON = 4;

/**
 * Bounds what all streams of a connection keep of frames that are not whole. Above the limit only the stream that has
 * waited longest is read on. Pure.
 */
export class PartialFrames {
  readonly #limitBytes: number;
  readonly #bytes = new LazyMap<QuicStream, number>();
  readonly #skipped = new LazySet<QuicStream>();
  #totalBytes = 0;
  /** So many of the streams that have waited longest are read above the limit. */
  #readOn = 1;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get totalBytes(): number {
    return this.#totalBytes;
  }

  /** The stream whose frame began to arrive last. */
  get latest(): QuicStream | undefined {
    return [...this.#bytes.keys()].at(-1);
  }

  /** The streams of unfinished frames, those first whose frames began to arrive first. */
  streams(): Iterable<QuicStream> {
    return this.#bytes.keys();
  }

  /** Whether streams are left unread. */
  get isHolding(): boolean {
    return this.#skipped.size > 0;
  }

  /** Whether frames may get memory of their own, ahead of what arrives: of at most 32 times what they have brought. */
  get hasPlenty(): boolean {
    return this.#totalBytes * PLENTY <= this.#limitBytes;
  }

  /** Whether the stream may be read. One that may not is among the next {@link takeSkipped}. */
  mayRead(stream: QuicStream): boolean {
    if (this.#totalBytes < this.#limitBytes) return true;
    let ahead = 0;
    for (const oldest of this.#bytes.keys()) {
      if (oldest === stream) return true;
      ahead += 1;
      if (ahead === this.#readOn) break;
    }
    this.#skipped.add(stream);
    return false;
  }

  /**
   * Reads one stream more above the limit, until it is met again: what waits unread of others may keep the rest of the oldest from
   * coming. @returns whether there is one whose frame has begun
   */
  readOneMore(): boolean {
    if (this.#skipped.size === 0 || this.#readOn >= Math.min(MAX_READ_ON, this.#bytes.size))
      return false;
    this.#readOn += 1;
    return true;
  }

  /** Takes note of what the stream keeps now. @returns whether streams that were skipped may be read again */
  note(stream: QuicStream, bytes: number): boolean {
    const before = this.#bytes.get(stream) ?? 0;
    if (bytes === before) return false;
    this.#totalBytes += bytes - before;
    if (bytes > 0) this.#bytes.set(stream, bytes);
    else this.#bytes.delete(stream);
    if (this.#totalBytes < this.#limitBytes) this.#readOn = 1;
    return this.#skipped.size > 0 && (bytes === 0 || this.#totalBytes < this.#limitBytes);
  }

  takeSkipped(): QuicStream[] {
    const skipped = [...this.#skipped];
    this.#skipped.clear();
    return skipped;
  }

  /** The stream is over. @returns as {@link note} */
  forget(stream: QuicStream): boolean {
    this.#skipped.delete(stream);
    return this.note(stream, 0);
  }
}
