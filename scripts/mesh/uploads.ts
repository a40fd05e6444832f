/** Bytes that nodes send to have them hashed. An upload goes on where a lost connection has left it. */
import { createHash, type Hash } from 'node:crypto';
import type { CallContext, DataTransfer } from '../../src/index.js';

interface Upload {
  readonly hash: Hash;
  bytes: number;
  digest: Buffer | undefined;
}

/** Those that came last, complete or not. */
const MAX_UPLOADS = 64;

export class Uploads {
  readonly #uploads = new Map<string, Upload>();

  /** Takes what is still to come, and answers with SHA-256 of all. */
  async *receive(
    { transferId, totalBytes, offset, resume }: DataTransfer,
    context: CallContext,
  ): AsyncGenerator<Uint8Array> {
    const upload = this.#uploadOf(`${context.peer.nodeId}/${transferId}`, resume === true);
    if (resume === true) context.resumeAt(upload.bytes);
    for await (const piece of context.body) {
      upload.hash.update(piece);
      upload.bytes += piece.length;
    }
    if (totalBytes !== undefined && upload.bytes !== totalBytes) {
      throw new Error(`${upload.bytes} bytes came where ${totalBytes} were announced`);
    }
    upload.digest ??= upload.hash.digest();
    yield upload.digest.subarray(offset);
  }

  #uploadOf(key: string, isResumable: boolean): Upload {
    const known = isResumable ? this.#uploads.get(key) : undefined;
    const upload = known ?? { hash: createHash('sha256'), bytes: 0, digest: undefined };
    if (!isResumable) return upload;
    this.#uploads.delete(key);
    this.#uploads.set(key, upload);
    for (const oldest of this.#uploads.keys()) {
      if (this.#uploads.size <= MAX_UPLOADS) break;
      this.#uploads.delete(oldest);
    }
    return upload;
  }
}
