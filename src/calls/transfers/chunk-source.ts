/** Pulls bytes from any kind of source, and closes the source when no more are wanted. */
import type { ReadableStream } from 'node:stream/web';
import { handleRejection } from '../../base/realms.js';
import type { Bytes } from '../types.js';

export interface ChunkSource {
  next(): Promise<IteratorResult<Uint8Array>> | IteratorResult<Uint8Array>;
  /** Closes the source, also while a `next` has not settled. Never rejects. */
  close(): Promise<void>;
}

export function openSource(bytes: Bytes): ChunkSource {
  if (isWebStream(bytes)) return openWebStream(bytes);
  const iterator =
    Symbol.asyncIterator in bytes ? bytes[Symbol.asyncIterator]() : bytes[Symbol.iterator]();
  // An asynchronous method in the iterator's place gives a promise, which is no iterator.
  handleRejection(iterator);
  return {
    next: () => iterator.next(),
    close: once(async () => {
      // A Node stream's iterator would end only after its next piece has come.
      if (isDestroyable(bytes)) handleRejection(bytes.destroy());
      await iterator.return?.();
    }),
  };
}

/** Closes a source that nobody has begun to read. Never rejects. */
export async function closeBytes(bytes: Bytes | undefined): Promise<void> {
  try {
    if (bytes !== undefined) await openSource(bytes).close();
  } catch (thrown) {
    // It is no source, or somebody reads it.
    handleRejection(thrown);
  }
}

/**
 * Lets a source fail before anybody reads it: a Node stream that fails with nobody to tell would end the process. Whoever reads it
 * later meets the failure.
 */
export function expectFailure(bytes: Bytes): void {
  if (!('on' in bytes) || typeof bytes.on !== 'function') return;
  try {
    bytes.on('error', () => {});
  } catch (thrown) {
    // Reading it will fail, too.
    handleRejection(thrown);
  }
}

function openWebStream(stream: ReadableStream): ChunkSource {
  const reader = stream.getReader();
  return {
    next: async () => {
      const { done, value } = await reader.read();
      return done ? { done, value: undefined } : { done: false, value };
    },
    close: once(() => reader.cancel()),
  };
}

/** Also one of another realm. Its iterator would end only after its next piece has come, so its reader is used. */
function isWebStream(bytes: object): bytes is ReadableStream {
  return 'getReader' in bytes && typeof bytes.getReader === 'function';
}

function isDestroyable(bytes: object): bytes is { destroy(): unknown } {
  return 'destroy' in bytes && typeof bytes.destroy === 'function';
}

function once(close: () => unknown): () => Promise<void> {
  let closed: Promise<void> | undefined;
  return () => {
    closed ??= closeQuietly(close);
    return closed;
  };
}

/** The source is the user's: it may throw, also in place of a promise. */
async function closeQuietly(close: () => unknown): Promise<void> {
  try {
    await close();
  } catch (thrown) {
    handleRejection(thrown);
  }
}
