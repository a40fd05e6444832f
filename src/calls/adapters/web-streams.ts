/** Transfers as WHATWG streams. Uploads need no adapter: a ReadableStream serves as a `body`. */
import {
  ReadableStream,
  WritableStream,
  type WritableStreamDefaultController,
} from 'node:stream/web';
import { isBytes } from '../../base/realms.js';
import { MeshError, toMeshError } from '../../errors.js';
import { cancelledStream } from './adapter-errors.js';
import { ByteHandoff } from './byte-handoff.js';

/**
 * The bytes of a transfer, or of `context.body`, as a byte stream, which can also be read into the reader's own memory.
 * It is read as fast as it is consumed; cancelling it cancels the transfer. It fails with the MeshError that the loop
 * over `bytes` would throw.
 */
export function toWebReadable(bytes: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array> {
  return readableOf(bytes[Symbol.asyncIterator](), () => {});
}

/**
 * A transfer as a pair of streams: what is written goes out, and what comes back is read. Closing `writable` ends the
 * bytes that go out; aborting it, or cancelling `readable`, cancels the transfer. When the peer's answer has ended, what
 * is still written is dropped. It cannot be resumed: what was written is gone.
 * @param open opens the transfer with the body that it is given: `(body) => peer.stream(transfer, { body })`
 */
export function toWebDuplex(open: (body: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>): {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
} {
  const body = new ByteHandoff();
  let writing: WritableStreamDefaultController | undefined;
  const writable = new WritableStream<Uint8Array>({
    start(controller) {
      writing = controller;
    },
    async write(chunk) {
      if (!isBytes(chunk)) {
        const error = new MeshError('InvalidArgument', 'a transfer takes Uint8Array pieces');
        body.end(error);
        throw error;
      }
      await body.write(chunk);
    },
    close: () => body.end(),
    abort: (reason) => body.end(cancelledStream(reason)),
  });
  const reader = open(body)[Symbol.asyncIterator]();
  const readable = readableOf(reader, (error) => {
    body.end(error);
    writing?.error(error);
  });
  return { readable, writable };
}

/** @param failed called when the bytes break off before their end */
function readableOf(
  reader: AsyncIterator<Uint8Array>,
  failed: (error: MeshError) => void,
): ReadableStream<Uint8Array> {
  return new ReadableStream({
    type: 'bytes',
    async pull(controller) {
      try {
        const { done, value } = await reader.next();
        if (done !== true) {
          // Copied: the stream takes over the memory, and a chunk shares its memory with its neighbours.
          controller.enqueue(new Uint8Array(value));
          return;
        }
      } catch (thrown) {
        const error = toMeshError(thrown);
        failed(error);
        throw error;
      }
      controller.close();
      controller.byobRequest?.respond(0);
    },
    async cancel(reason) {
      failed(cancelledStream(reason));
      await reader.return?.();
    },
  });
}
