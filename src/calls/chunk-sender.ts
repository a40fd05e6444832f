/** Sends an iterable of bytes as dataTransfer messages, at the pace that the stream takes them. */
import { MeshError } from '../errors.js';
import type { FrameCodec } from '../protocol/frame-codec.js';
import type { FrameStream } from '../transport/connection.js';
import type { Bytes } from './types.js';

/** Bytes of one dataTransfer message at most: small enough that others get their turn between two. */
export const CHUNK_BYTES = 64 * 1024;

/** What a sender of chunks waits for; told by the owner of the stream's handler. */
export class DrainGate {
  #open: (() => void) | undefined;
  #failure: MeshError | undefined;
  #reject: ((error: MeshError) => void) | undefined;

  /** Fulfils when the stream has room again; rejects when it is over. */
  wait(): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#open = resolve;
      this.#reject = reject;
    });
  }

  drained(): void {
    this.#open?.();
    this.#open = undefined;
    this.#reject = undefined;
  }

  fail(error: MeshError): void {
    this.#failure ??= error;
    this.#reject?.(error);
    this.#open = undefined;
    this.#reject = undefined;
  }

  get failure(): MeshError | undefined {
    return this.#failure;
  }
}

/**
 * Sends everything that `source` yields, in messages of at most {@link CHUNK_BYTES}. Does not end the stream.
 * The source's memory is not kept once this has passed on to its next piece.
 * @throws MeshError what ended the stream, InvalidArgument for a piece that is not bytes, or what the source throws
 */
export async function sendChunks(
  source: Bytes,
  transfer: { readonly transferId: string; readonly offset: number },
  stream: FrameStream,
  gate: DrainGate,
  codec: FrameCodec,
): Promise<void> {
  let { offset } = transfer;
  for await (const piece of source) {
    if (!(piece instanceof Uint8Array)) {
      throw new MeshError('InvalidArgument', 'a dataTransfer body yields Uint8Array pieces');
    }
    for (let start = 0; start < piece.length; start += CHUNK_BYTES) {
      if (gate.failure !== undefined) throw gate.failure;
      const data = piece.subarray(start, start + CHUNK_BYTES);
      const { payload, tail } = codec.encodePlain({
        type: 'dataTransfer',
        transferId: transfer.transferId,
        offset,
        data,
      });
      offset += data.length;
      if (!stream.send(payload, { tail })) await gate.wait();
    }
  }
}
