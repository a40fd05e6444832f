/**
 * Bytes that arrived on a stream and wait for their reader: an async iterable that pauses the stream when the
 * reader is slow and resumes it when it catches up.
 */

import type { ByteBudget } from '../../base/byte-budget.js';
import { MeshError } from '../../errors.js';
import type { FrameLoan } from '../../protocol/frame.js';

/** Above this many unread bytes the stream is paused. The transport's window bounds what still arrives then. */
const HIGH_WATER_BYTES = 256 * 1024;

/** `live`: more may come. `ended`: all bytes came. `failed`: the bytes broke off. */
type Phase =
  | { readonly kind: 'live' }
  | { readonly kind: 'ended' }
  | { readonly kind: 'failed'; readonly error: MeshError };

/** The source of the bytes, which can be paused. */
export interface Pausable {
  hold(): void;
  release(): void;
}

export interface ByteQueueOptions {
  /** Called when somebody begins to read. */
  readonly onReader?: (() => void) | undefined;
  /** See {@link ByteQueue.chargeTo}. */
  readonly budget?: ByteBudget | undefined;
}

interface Chunk {
  readonly bytes: Uint8Array;
  /** Of the memory that the bytes lie in. */
  readonly loan: FrameLoan | undefined;
}

interface Waiter {
  readonly resolve: (result: IteratorResult<Uint8Array>) => void;
  readonly reject: (error: MeshError) => void;
}

/** The unread bytes of one direction of a transfer, for one reader. */
export class ByteQueue implements AsyncIterable<Uint8Array> {
  readonly #flow: Pausable | undefined;
  readonly #onAbandon: () => void;
  readonly #onReader: (() => void) | undefined;
  #budget: ByteBudget | undefined;
  readonly #chunks: Chunk[] = [];
  #bytes = 0;
  #phase: Phase = { kind: 'live' };
  #waiter: Waiter | undefined;
  #paused = false;
  #hasReader = false;
  #takenBytes = 0;
  #isLending = false;
  /** Of the chunk that the reader has. */
  #lent: FrameLoan | undefined;

  /** @param onAbandon called when the reader stops before the end */
  constructor(
    flow: Pausable | undefined,
    onAbandon: () => void,
    { onReader, budget }: ByteQueueOptions = {},
  ) {
    this.#flow = flow;
    this.#onAbandon = onAbandon;
    this.#onReader = onReader;
    this.#budget = budget;
  }

  /** Bytes that the reader has taken. */
  get takenBytes(): number {
    return this.#takenBytes;
  }

  /** Whether unread bytes hold up those behind them. */
  get isHeldUp(): boolean {
    return this.#paused;
  }

  /** Whether anybody has begun to read. */
  get hasReader(): boolean {
    return this.#hasReader;
  }

  /**
   * Counts unread bytes against that budget from now on, or against none. While it has no room, the stream is paused as soon as
   * anything is unread.
   */
  chargeTo(budget: ByteBudget | undefined): void {
    if (this.#bytes > 0) {
      this.#budget?.give(this.#bytes);
      budget?.take(this.#bytes);
    }
    this.#budget = budget;
  }

  /** From now on the reader has each chunk only until it asks for the next one. */
  lend(): void {
    this.#isLending = true;
  }

  /** @param loan of the memory that the bytes lie in, if it can be used again once the reader has had them */
  push(bytes: Uint8Array, loan?: FrameLoan): void {
    if (this.#phase.kind !== 'live' || bytes.length === 0) return;
    const waiter = this.#waiter;
    if (waiter !== undefined) {
      this.#waiter = undefined;
      this.#takenBytes += bytes.length;
      if (this.#isLending) this.#lent = loan;
      waiter.resolve({ done: false, value: bytes });
      return;
    }
    this.#chunks.push({ bytes, loan });
    this.#count(bytes.length);
    if (this.#paused || (this.#bytes <= HIGH_WATER_BYTES && this.#hasRoom)) return;
    this.#paused = true;
    this.#flow?.hold();
  }

  end(): void {
    if (this.#phase.kind !== 'live') return;
    this.#phase = { kind: 'ended' };
    this.#waiter?.resolve({ done: true, value: undefined });
    this.#waiter = undefined;
  }

  /** Bytes that came before are still read. Then the reader gets the error. */
  fail(error: MeshError): void {
    if (this.#phase.kind !== 'live') return;
    this.#phase = { kind: 'failed', error };
    this.#waiter?.reject(error);
    this.#waiter = undefined;
  }

  /** @throws MeshError InvalidArgument for a second reader */
  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    if (this.#hasReader) {
      throw new MeshError('InvalidArgument', 'a stream of bytes has one reader');
    }
    this.#hasReader = true;
    this.#onReader?.();
    return {
      next: () => this.#next(),
      return: async () => {
        this.#abandon();
        return { done: true, value: undefined };
      },
    };
  }

  #next(): Promise<IteratorResult<Uint8Array>> {
    this.#lent?.giveBack();
    this.#lent = undefined;
    const chunk = this.#chunks.shift();
    if (chunk !== undefined) {
      const { bytes, loan } = chunk;
      this.#count(-bytes.length);
      this.#takenBytes += bytes.length;
      if (this.#isLending) this.#lent = loan;
      if (this.#paused && this.#mayFlow) {
        this.#paused = false;
        this.#flow?.release();
      }
      return Promise.resolve({ done: false, value: bytes });
    }
    if (this.#phase.kind === 'ended') return Promise.resolve({ done: true, value: undefined });
    if (this.#phase.kind === 'failed') return Promise.reject(this.#phase.error);
    if (this.#waiter !== undefined) {
      return Promise.reject(
        new MeshError('InvalidArgument', 'the last next() has not settled yet'),
      );
    }
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
    });
  }

  /** Nobody reads any more: drops what is held, and lets the stream flow so that its sender can end. */
  discard(): void {
    this.#chunks.length = 0;
    this.#count(-this.#bytes);
    if (!this.#paused) return;
    this.#paused = false;
    this.#flow?.release();
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    if (bytes > 0) this.#budget?.take(bytes);
    else if (bytes < 0) this.#budget?.give(-bytes);
  }

  get #hasRoom(): boolean {
    return this.#budget?.hasRoom !== false;
  }

  /** Whether the stream may resume. An empty queue always may: nobody tells it when its budget has room again. */
  get #mayFlow(): boolean {
    return this.#bytes === 0 || (this.#bytes <= HIGH_WATER_BYTES / 2 && this.#hasRoom);
  }

  #abandon(): void {
    this.discard();
    if (this.#phase.kind !== 'live') return;
    this.#phase = { kind: 'ended' };
    this.#waiter?.resolve({ done: true, value: undefined });
    this.#waiter = undefined;
    this.#onAbandon();
  }
}
