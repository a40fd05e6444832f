/** Checks the messages of one direction of a transfer: that each is the next one, and that the whole is what was sent. */
import { MeshError } from '../../errors.js';
import { crc32, crc32Joined } from '../../protocol/checksum.js';
import type { Frame } from '../../protocol/frame.js';
import type { Message } from '../../protocol/message.js';
import { unexpectedMessage } from '../call-errors.js';
import type { TransferChecksum } from './transfer-checksum.js';

/** Receives one direction of one attempt at a transfer. */
export class ChunkReceiver {
  readonly #received: TransferChecksum;
  #isComplete = false;

  /** @param received what came before; goes on with what arrives */
  constructor(received: TransferChecksum) {
    this.#received = received;
  }

  /**
   * Takes the next message. @returns its bytes
   * @throws MeshError UnexpectedMessage for any message but the chunk that is due; ChecksumMismatch for the last one, when
   *   the bytes are not what was sent
   */
  take(message: Message, frame: Frame): Uint8Array {
    if (message.type !== 'dataTransfer') {
      throw unexpectedMessage(`${message.type} came within a transfer`);
    }
    const { offset, data = NOTHING, checksum } = message;
    const received = this.#received;
    if (this.#isComplete) throw unexpectedMessage('a chunk came after the last one');
    if (offset !== received.offset) {
      throw unexpectedMessage(`chunk at ${offset} came where ${received.offset} was due`);
    }
    received.update(data, checksumWithin(frame, data));
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

/** CRC-32 of the bytes that a frame ends with, computed from the frame's own, so that no byte is read twice. */
function checksumWithin({ payload, payloadChecksum }: Frame, data: Uint8Array): number | undefined {
  if (payloadChecksum === undefined || data.buffer !== payload.buffer) return undefined;
  const headBytes = data.byteOffset - payload.byteOffset;
  if (headBytes < 0 || headBytes + data.length !== payload.length) return undefined;
  return crc32Joined(crc32(payload, 0, headBytes), payloadChecksum, data.length);
}

const NOTHING = new Uint8Array(0);
