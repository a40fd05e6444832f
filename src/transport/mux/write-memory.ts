/**
 * Memory in which a writer puts frames one behind the other, so that those of one turn leave as one piece: a TLS socket
 * copies what comes in several. It is used again, since memory taken anew for bulk data costs more than its encryption.
 */

/** Two chunks of a bulk transfer with all that goes around them. */
const SLAB_BYTES = 132 * 1024;
/** Kept while nobody needs them. */
const MAX_IDLE_SLABS = 8;
/** A slab with less room is not taken up again before it has been written. */
const MIN_ROOM_BYTES = 1024;

/** A piece of memory that one writer at a time puts frames into. */
export class Slab {
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

export class WriteMemory {
  readonly #idle: Slab[] = [];
  readonly #isReusable: boolean;

  /** @param isReusable whether a byte stream keeps nothing of what it has written */
  constructor(isReusable: boolean) {
    this.#isReusable = isReusable;
  }

  /** A slab with room for that many bytes. */
  take(bytes: number): Slab {
    if (bytes > SLAB_BYTES) return new Slab(bytes);
    for (let slab = this.#idle.pop(); slab !== undefined; slab = this.#idle.pop()) {
      if (slab.roomBytes < bytes) continue;
      slab.isTaken = true;
      return slab;
    }
    return new Slab(SLAB_BYTES);
  }

  /** Takes a slab back that its writer puts nothing more into. */
  give(slab: Slab): void {
    slab.isTaken = false;
    if (slab.roomBytes >= MIN_ROOM_BYTES) this.#keep(slab);
  }

  /** One of a slab's writes is done. */
  written(slab: Slab): void {
    slab.writes -= 1;
    if (slab.writes > 0 || slab.isTaken || !this.#isReusable) return;
    slab.end = 0;
    this.#keep(slab);
  }

  #keep(slab: Slab): void {
    if (slab.bytes.length !== SLAB_BYTES || this.#idle.includes(slab)) return;
    if (this.#idle.length < MAX_IDLE_SLABS) this.#idle.push(slab);
  }
}
