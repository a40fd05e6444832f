/** Bytes as a sender pulls them, from whatever holds them, and how to let go of that when nobody wants more. */
import type { ReadableStream } from 'node:stream/web';
import type { Bytes } from '../types.js';

export interface ChunkSource {
  next(): Promise<IteratorResult<Uint8Array>> | IteratorResult<Uint8Array>;
  /** Nothing more is wanted, also where a `next` has not settled yet. Never rejects. */
  close(): Promise<void>;
}

export function openSource(bytes: Bytes): ChunkSource {
  if (isWebStream(bytes)) return openWebStream(bytes);
  const iterator =
    Symbol.asyncIterator in bytes ? bytes[Symbol.asyncIterator]() : bytes[Symbol.iterator]();
  return {
    next: () => iterator.next(),
    close: once(async () => {
      // The iterator of a Node stream ends only when its next piece has come.
      if (isDestroyable(bytes)) bytes.destroy();
      await iterator.return?.();
    }),
  };
}

/** Lets go of bytes that nobody has begun to read. */
export async function closeBytes(bytes: Bytes | undefined): Promise<void> {
  try {
    if (bytes !== undefined) await openSource(bytes).close();
  } catch {
    // Not bytes, or somebody reads them.
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

/** Of this realm or another's: iterating it would not let go of it before its next piece has come. */
function isWebStream(bytes: object): bytes is ReadableStream {
  return 'getReader' in bytes && typeof bytes.getReader === 'function';
}

function isDestroyable(bytes: object): bytes is { destroy(): void } {
  return 'destroy' in bytes && typeof bytes.destroy === 'function';
}

function once(close: () => Promise<unknown>): () => Promise<void> {
  let closed: Promise<void> | undefined;
  return () => {
    closed ??= close().then(
      () => {},
      () => {},
    );
    return closed;
  };
}
