/**
 * Memory for outgoing frames. A writer puts the frames of one turn into one piece, because a TLS socket copies what comes in
 * several. Memory is reused: for bulk data, new memory costs more than the encryption.
 */

/** Two pieces of a bulk transfer with all that goes around them. */
const CHUNK_BYTES = 132 * 1024;
/** Kept while nobody needs them. */
const MAX_IDLE_CHUNKS = 8;
/** A chunk with less room is not taken up again before it has been written. */
const MIN_ROOM_BYTES = 1024;

/** A block of memory that one writer at a time puts frames into. */
export class WriteChunk {
  readonly bytes: Buffer;
  /** Where the next frame goes. */
  end = 0;
  /** Writes out of it that are under way. */
  writes = 0;
  isTaken = true;

  constructor(bytes: number) {
    this.bytes = Buffer.allocUnsafeSlow(bytes);
  }

  get roomBytes(): number {
    return this.bytes.length - this.end;
  }
}

/**
 * Chunks of memory in which a writer puts frames one behind the other, so that those of one turn leave as one piece.
 * They are used again where the byte stream keeps nothing of what it has written.
 */
export class WriteMemory {
  readonly #idle: WriteChunk[] = [];
  readonly #isReusable: boolean;

  /** @param isReusable whether a byte stream keeps nothing of what it has written */
  constructor(isReusable: boolean) {
    this.#isReusable = isReusable;
  }

  /** A chunk with room for that many bytes. */
  take(bytes: number): WriteChunk {
    if (bytes > CHUNK_BYTES) return new WriteChunk(bytes);
    for (let chunk = this.#idle.pop(); chunk !== undefined; chunk = this.#idle.pop()) {
      if (chunk.roomBytes < bytes) continue;
      chunk.isTaken = true;
      return chunk;
    }
    return new WriteChunk(CHUNK_BYTES);
  }

  /** Takes a chunk back that its writer puts nothing more into. */
  give(chunk: WriteChunk): void {
    chunk.isTaken = false;
    if (chunk.roomBytes >= MIN_ROOM_BYTES) this.#keep(chunk);
  }

  /** One of a chunk's writes is done. */
  written(chunk: WriteChunk): void {
    chunk.writes -= 1;
    if (chunk.writes > 0 || chunk.isTaken || !this.#isReusable) return;
    chunk.end = 0;
    this.#keep(chunk);
  }

  #keep(chunk: WriteChunk): void {
    if (chunk.bytes.length !== CHUNK_BYTES || this.#idle.includes(chunk)) return;
    if (this.#idle.length < MAX_IDLE_CHUNKS) this.#idle.push(chunk);
  }
}
