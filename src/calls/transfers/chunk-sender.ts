/** Sends bytes as dataTransfer messages, at the pace that the stream takes them. */

import type { ByteBudget } from '../../base/byte-budget.js';
import { isBytes } from '../../base/realms.js';
import { MeshError } from '../../errors.js';
import { crc32After } from '../../protocol/checksum.js';
import type { FrameCodec } from '../../protocol/frame-codec.js';
import type { FrameStream } from '../../transport/connection.js';
import type { Bytes } from '../types.js';
import { openSource } from './chunk-source.js';
import type { TransferChecksum } from './transfer-checksum.js';

/** Largest number of bytes in one dataTransfer message: small enough for other streams to get their turn in between. */
export const CHUNK_BYTES = 64 * 1024;

/** Lets a sender of chunks wait for room on its stream. The stream's handler calls it. */
export class DrainGate {
  /** Called once, when the stream is over. */
  onFailure: (() => void) | undefined;
  #open: (() => void) | undefined;
  #failure: MeshError | undefined;
  #reject: ((error: MeshError) => void) | undefined;

  /** Whether a sender waits for room. */
  get isAwaited(): boolean {
    return this.#open !== undefined;
  }

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
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#reject?.(error);
    this.#open = undefined;
    this.#reject = undefined;
    this.onFailure?.();
  }

  get failure(): MeshError | undefined {
    return this.#failure;
  }
}

/** One direction of a transfer, as its sender needs it. */
export interface OutgoingChunks {
  readonly transferId: string;
  /** Position and checksum of what was sent before; goes on with what is sent. */
  readonly checksum: TransferChecksum;
  readonly stream: FrameStream;
  readonly gate: DrainGate;
  readonly codec: FrameCodec;
  /** What the bytes of all streams that wait to be sent are taken from: each stream's account. */
  readonly budget: ByteBudget;
}

/**
 * Sends all that `source` yields, in messages of at most {@link CHUNK_BYTES}, and ends the stream with the checksum. A
 * piece's memory is the source's again when its next piece is asked for. A source that is not read to its end is closed as
 * soon as the stream is over.
 * @throws MeshError what ended the stream, InvalidArgument for a piece that is not bytes, or what the source throws
 */
export async function sendChunks(bytes: Bytes, chunks: OutgoingChunks): Promise<void> {
  const { gate, budget } = chunks;
  const source = openSource(bytes);
  gate.onFailure = source.close;
  try {
    for (;;) {
      if (!budget.hasRoom) await roomIn(budget, gate);
      const { done, value: piece } = await source.next();
      if (gate.failure !== undefined) throw gate.failure;
      if (done === true) break;
      if (!isBytes(piece)) {
        throw new MeshError('InvalidArgument', 'a dataTransfer body yields Uint8Array pieces');
      }
      for (let start = 0; start < piece.length; start += CHUNK_BYTES) {
        if (gate.failure !== undefined) throw gate.failure;
        const chunk = piece.subarray(start, start + CHUNK_BYTES);
        if (!sendChunk(chunk, chunks)) await gate.wait();
      }
    }
  } catch (thrown) {
    await source.close();
    throw thrown;
  }
  endChunks(chunks);
}

/** @throws MeshError what ended the stream, or its connection; Overloaded */
function roomIn(budget: ByteBudget, gate: DrainGate): Promise<void> {
  return new Promise((resolve, reject) => {
    const waiter = { proceed: resolve, fail: reject };
    gate.wait().catch((error: unknown) => {
      budget.leave(waiter);
      reject(error);
    });
    budget.wait(waiter);
  });
}

/** Sends one chunk. @returns whether the stream has room for more */
function sendChunk(
  data: Uint8Array,
  { transferId, checksum, stream, codec }: OutgoingChunks,
): boolean {
  const { offset } = checksum;
  const { payload, tail } = codec.encodePlain({ type: 'dataTransfer', transferId, offset, data });
  // The frame has a checksum too. One pass over the chunk serves both.
  const tailChecksum = tail === undefined ? undefined : crc32After(0, data);
  checksum.update(data, tailChecksum);
  return stream.send(payload, { tail, tailChecksum });
}

function endChunks({ transferId, checksum: sum, stream, codec }: OutgoingChunks): void {
  const { offset, value: checksum } = sum;
  if (checksum === undefined) {
    stream.end();
    return;
  }
  const last = { type: 'dataTransfer', transferId, offset, checksum } as const;
  stream.send(codec.encodePlain(last).payload, { end: true });
}
