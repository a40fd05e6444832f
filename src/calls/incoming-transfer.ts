/** A dataTransfer that the peer opened: its bytes as the body of a call, and the handler's bytes back. */
import { MeshError } from '../errors.js';
import type { FrameCodec } from '../protocol/frame-codec.js';
import type { DataTransfer } from '../protocol/message.js';
import type { FrameStream } from '../transport/connection.js';
import type { ByteQueue } from './byte-queue.js';
import { DrainGate, sendChunks } from './chunk-sender.js';
import type { Bytes } from './types.js';

export class IncomingTransfer {
  readonly #open: DataTransfer;
  readonly #body: ByteQueue;
  readonly #stream: FrameStream;
  readonly #codec: FrameCodec;
  #gate: DrainGate | undefined;
  #nextOffset: number;

  /** @param open the first message, whose data is still to be received */
  constructor(open: DataTransfer, body: ByteQueue, stream: FrameStream, codec: FrameCodec) {
    this.#open = open;
    this.#body = body;
    this.#stream = stream;
    this.#codec = codec;
    this.#nextOffset = open.offset;
  }

  /** @throws MeshError UnexpectedMessage when it is another message, or not the chunk that is due */
  receive(message: { readonly type: string }): void {
    const data = takeChunk(message, this.#nextOffset);
    this.#nextOffset += data.length;
    this.#body.push(data);
  }

  /**
   * Sends the handler's bytes. Does not end the stream.
   * @throws MeshError what ended the stream, InvalidArgument for a piece that is not bytes, or what the source throws
   */
  async answer(bytes: Bytes): Promise<void> {
    this.#gate = new DrainGate();
    await sendChunks(bytes, this.#open, this.#stream, this.#gate, this.#codec);
  }

  /** The stream has room again. */
  drained(): void {
    this.#gate?.drained();
  }

  /** The stream is over. */
  fail(error: MeshError): void {
    this.#gate?.fail(error);
  }
}

/**
 * The bytes of one chunk of a transfer.
 * @throws MeshError UnexpectedMessage when it is another message, or not the chunk that is due
 */
export function takeChunk(message: { readonly type: string }, offset: number): Uint8Array {
  if (message.type !== 'dataTransfer') {
    throw new MeshError('UnexpectedMessage', `${message.type} came within a transfer`, {
      side: 'remote',
    });
  }
  const chunk = message as DataTransfer;
  if (chunk.offset !== offset) {
    const text = `chunk at ${chunk.offset} came where ${offset} was due`;
    throw new MeshError('UnexpectedMessage', text, { side: 'remote' });
  }
  return chunk.data ?? NOTHING;
}

const NOTHING = new Uint8Array(0);
