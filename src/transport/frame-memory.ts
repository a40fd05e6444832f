/** Memory for large outgoing frames, used again: taking 64 KiB anew for each makes the garbage collector the bottleneck. */

/** A chunk of a bulk transfer with all that goes around it. */
const BUFFER_BYTES = 65 * 1024;
/** Below, new memory costs less than the bookkeeping. */
const MIN_FRAME_BYTES = 16 * 1024;
/** Kept while nobody needs them. */
const MAX_IDLE_BUFFERS = 16;

/**
 * A pool of buffers for large outgoing frames. New memory for each of them would make the garbage collector the
 * bottleneck of bulk data.
 */
export class FrameMemory {
  readonly #idle: Buffer[] = [];

  /** Memory for a frame of that size, to be given back; `undefined` where the frame had better take its own. */
  take(frameBytes: number): Buffer | undefined {
    if (frameBytes < MIN_FRAME_BYTES || frameBytes > BUFFER_BYTES) return undefined;
    return this.#idle.pop() ?? Buffer.allocUnsafeSlow(BUFFER_BYTES);
  }

  /** Takes memory back that nobody reads any more. */
  give(memory: Buffer): void {
    if (this.#idle.length < MAX_IDLE_BUFFERS) this.#idle.push(memory);
  }
}
