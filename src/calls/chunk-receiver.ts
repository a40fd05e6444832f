/** Takes the messages of one direction of a transfer: each in its place, and the whole as it was sent. */
import { MeshError } from '../errors.js';
import type { DataTransfer } from '../protocol/message.js';
import type { TransferChecksum } from './transfer-checksum.js';

export class ChunkReceiver {
  readonly #received: TransferChecksum;
  #isComplete = false;

  /** @param received is carried on */
  constructor(received: TransferChecksum) {
    this.#received = received;
  }

  /**
   * The bytes of the next message.
   * @throws MeshError UnexpectedMessage when it is another message, or not the chunk that is due; ChecksumMismatch when
   *   it is the last one, and not all bytes are what was sent
   */
  take(message: { readonly type: string }): Uint8Array {
    if (message.type !== 'dataTransfer') {
      throw unexpected(`${message.type} came within a transfer`);
    }
    const { offset, data = NOTHING, checksum } = message as DataTransfer;
    const received = this.#received;
    if (this.#isComplete) throw unexpected('a chunk came after the last one');
    if (offset !== received.offset) {
      throw unexpected(`chunk at ${offset} came where ${received.offset} was due`);
    }
    received.update(data);
    if (checksum !== undefined) this.#complete(checksum);
    return data;
  }

  #complete(checksum: number): void {
    this.#isComplete = true;
    const { value, offset } = this.#received;
    if (value === undefined || value === checksum) return;
    const text = `the ${offset} bytes of the transfer are not those that were sent`;
    throw new MeshError('ChecksumMismatch', text);
  }
}

function unexpected(text: string): MeshError {
  return new MeshError('UnexpectedMessage', text, { side: 'remote' });
}

const NOTHING = new Uint8Array(0);
