/** Memory for large frames, used again: taking 64 KiB anew for each makes the garbage collector the bottleneck. */
import type { FrameLoan } from '../protocol/frame.js';

/** A chunk of a bulk transfer with all that goes around it. */
const BUFFER_BYTES = 65 * 1024;
/** Below, new memory costs less than the bookkeeping. */
const MIN_FRAME_BYTES = 16 * 1024;
/** Kept while nobody needs them. */
const MAX_IDLE_BUFFERS = 16;
/** What is kept of a frame, for whoever gets it or until it can leave, should be most of what it lies in. */
const MIN_LENT_BYTES = BUFFER_BYTES / 2;

/**
 * A pool of buffers for large frames, those that leave and those that arrive. New memory for each of them would make the
 * garbage collector the bottleneck of bulk data.
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

  /** Memory for so many bytes of a frame that are to be kept; `undefined` where they had better have their own. */
  lend(frameBytes: number): FrameLoan | undefined {
    const memory = frameBytes < MIN_LENT_BYTES ? undefined : this.take(frameBytes);
    return memory === undefined ? undefined : new Loan(this, memory);
  }
}

class Loan implements FrameLoan {
  readonly bytes: Buffer;
  #from: FrameMemory | undefined;

  constructor(from: FrameMemory, bytes: Buffer) {
    this.#from = from;
    this.bytes = bytes;
  }

  giveBack(): void {
    this.#from?.give(this.bytes);
    this.#from = undefined;
  }
}
