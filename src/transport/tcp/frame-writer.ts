/** Frames onto a byte stream: those of one turn in one write, and a word when the peer does not keep up. */
import type { Duplex } from 'node:stream';
import { MeshError } from '../../errors.js';
import { encodeFrame, type FrameFields, frameBytes } from '../../protocol/frame.js';
import type { ConnectionCounters } from '../connection.js';
import type { FrameMemory } from '../frame-memory.js';

/** Unsent bytes at which writing stops until the stream has drained. */
const BACKLOG_BYTES = 256 * 1024;

/** Control bytes that may pile up behind a peer that does not read. */
const MAX_CONTROL_BACKLOG_BYTES = 1024 * 1024;

type SentCounters = Pick<ConnectionCounters, 'framesSent' | 'bytesSent'>;

export class FrameWriter {
  readonly #duplex: Duplex;
  readonly #counters: SentCounters;
  readonly #memory: FrameMemory | undefined;
  /** Never below the stream's own mark: above it `drain` is certain to come. */
  readonly #backlogBytes: number;
  #isBackedUp = false;
  #isCorked = false;
  #controlBacklogBytes = 0;

  /**
   * @param counters counted up in place
   * @param onDrain called when {@link isBackedUp} has become false again
   * @param memory where the byte stream keeps nothing of what it has written
   */
  constructor(duplex: Duplex, counters: SentCounters, onDrain: () => void, memory?: FrameMemory) {
    this.#duplex = duplex;
    this.#counters = counters;
    this.#memory = memory;
    this.#backlogBytes = Math.max(duplex.writableHighWaterMark, BACKLOG_BYTES);
    duplex.on('drain', () => {
      this.#controlBacklogBytes = 0;
      if (!this.#isBackedUp) return;
      this.#isBackedUp = false;
      onDrain();
    });
  }

  /** Whether frames should wait. Control frames need not. */
  get isBackedUp(): boolean {
    return this.#isBackedUp;
  }

  /** @returns the frame's size with its header */
  write(fields: FrameFields): number {
    const memory = this.#memory?.take(frameBytes(fields));
    const bytes = encodeFrame(fields, memory);
    if (!this.#isCorked) {
      this.#isCorked = true;
      this.#duplex.cork();
      process.nextTick(this.#uncork);
    }
    if (memory === undefined) this.#duplex.write(bytes);
    else this.#duplex.write(bytes, () => this.#memory?.give(memory));
    this.#counters.framesSent += 1;
    this.#counters.bytesSent += bytes.length;
    if (this.#duplex.writableLength >= this.#backlogBytes) this.#isBackedUp = true;
    return bytes.length;
  }

  /**
   * Writes a reset or credit frame, whose sending cannot wait: always with a checksum.
   * @throws MeshError Overloaded when the peer provokes such frames without reading them
   */
  writeControl(control: number, messageId: number, payload: Uint8Array): void {
    const wasBackedUp = this.#isBackedUp;
    const bytes = this.write({ control, messageId, payload, checksum: true });
    if (!wasBackedUp) return;
    this.#controlBacklogBytes += bytes;
    if (this.#controlBacklogBytes > MAX_CONTROL_BACKLOG_BYTES) {
      throw new MeshError('Overloaded', 'peer does not read the control frames that it provokes');
    }
  }

  readonly #uncork = (): void => {
    this.#isCorked = false;
    this.#duplex.uncork();
  };
}
