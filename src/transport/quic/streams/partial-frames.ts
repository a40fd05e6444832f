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

/**
 * Bounds what all streams of a connection keep of frames that are not whole. Above the limit only the stream that has
 * waited longest is read on. Pure.
 */
export class PartialFrames {
  readonly #limitBytes: number;
  readonly #bytes = new LazyMap<QuicStream, number>();
  readonly #skipped = new LazySet<QuicStream>();
  #totalBytes = 0;

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
    const [oldest] = this.#bytes.keys();
    if (oldest === stream) return true;
    this.#skipped.add(stream);
    return false;
  }

  /** Takes note of what the stream keeps now. @returns whether streams that were skipped may be read again */
  note(stream: QuicStream, bytes: number): boolean {
    const before = this.#bytes.get(stream) ?? 0;
    if (bytes === before) return false;
    this.#totalBytes += bytes - before;
    if (bytes > 0) this.#bytes.set(stream, bytes);
    else this.#bytes.delete(stream);
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
