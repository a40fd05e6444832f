/** Writes frames to a byte stream: those of one turn in one piece. Tells when the peer does not keep up. */
import type { Duplex } from 'node:stream';
import { MeshError } from '../../errors.js';
import { type FrameFields, frameBytes, writeFrame } from '../../protocol/frame.js';
import type { ConnectionCounters } from '../connection.js';
import type { Rank } from '../priority/class-turns.js';
import type { WriteChunk, WriteMemory } from './write-memory.js';

/**
 * Unsent bytes, by class rank, above which a class stops writing until the socket drains. Less urgent classes stop earlier, so that
 * urgent frames find a short queue.
 */
const BACKLOG_BYTES = [256 * 1024, 256 * 1024, 128 * 1024, 64 * 1024];

/** Control bytes that may pile up behind a peer that does not read. */
const MAX_CONTROL_BACKLOG_BYTES = 1024 * 1024;

type SentCounters = Pick<ConnectionCounters, 'framesSent' | 'bytesSent'>;

/**
 * Writes frames onto a byte stream. Those of one turn of the event loop go as one piece. It tells when the peer does
 * not keep up, and when there is room again.
 */
export class FrameWriter {
  readonly #duplex: Duplex;
  readonly #counters: SentCounters;
  readonly #onDrain: () => void;
  readonly #memory: WriteMemory;
  /** Never below the stream's own mark: above it `drain` is certain to come. */
  readonly #backlogBytes: readonly number[];
  /** Holds what this turn has put together, from `#start` on. */
  #chunk: WriteChunk | undefined;
  #start = 0;
  #isFlushDue = false;
  #isBackedUp = false;
  /** Somebody was told that there is no room. */
  #isAwaited = false;
  #controlBacklogBytes = 0;

  /**
   * @param counters counted up in place
   * @param onDrain called when there is room again after {@link hasRoom} was false
   */
  constructor(duplex: Duplex, counters: SentCounters, onDrain: () => void, memory: WriteMemory) {
    this.#duplex = duplex;
    this.#counters = counters;
    this.#onDrain = onDrain;
    this.#memory = memory;
    const leastBytes = duplex.writableHighWaterMark;
    this.#backlogBytes = BACKLOG_BYTES.map((bytes) => Math.max(leastBytes, bytes));
    duplex.on('drain', this.#drained);
  }

  /** Whether frames of a class may be written; else `onDrain` follows. Control frames need not ask. */
  hasRoom(rank: Rank): boolean {
    if (this.#unsentBytes < (this.#backlogBytes[rank] as number)) return true;
    this.#isAwaited = true;
    return false;
  }

  /** @returns the frame's size with its header */
  write(fields: FrameFields): number {
    const bytes = frameBytes(fields);
    const chunk = this.#chunkFor(bytes);
    writeFrame(fields, chunk.bytes, chunk.end);
    chunk.end += bytes;
    this.#scheduleFlush();
    this.#counters.framesSent += 1;
    this.#counters.bytesSent += bytes;
    if (this.#unsentBytes >= (this.#backlogBytes[0] as number)) this.#isBackedUp = true;
    return bytes;
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

  /** Hands the byte stream what has been put together. Happens by itself at the end of a turn. */
  flush(): void {
    const chunk = this.#chunk;
    if (chunk === undefined) return;
    this.#chunk = undefined;
    const piece = chunk.bytes.subarray(this.#start, chunk.end);
    chunk.writes += 1;
    this.#duplex.write(piece, () => this.#memory.written(chunk));
    this.#memory.give(chunk);
  }

  /** A chunk that has room, and goes out after whatever went before. */
  #chunkFor(bytes: number): WriteChunk {
    if (this.#chunk !== undefined && this.#chunk.roomBytes >= bytes) return this.#chunk;
    this.flush();
    const chunk = this.#memory.take(bytes);
    this.#chunk = chunk;
    this.#start = chunk.end;
    return chunk;
  }

  get #unsentBytes(): number {
    const waiting = this.#chunk === undefined ? 0 : this.#chunk.end - this.#start;
    return this.#duplex.writableLength + waiting;
  }

  #scheduleFlush(): void {
    if (this.#isFlushDue) return;
    this.#isFlushDue = true;
    process.nextTick(this.#flushTurn);
  }

  readonly #flushTurn = (): void => {
    this.#isFlushDue = false;
    this.flush();
    // What was unsent may have left since it was counted, and then no `drain` follows.
    if ((this.#isBackedUp || this.#isAwaited) && !this.#duplex.writableNeedDrain) this.#drained();
  };

  readonly #drained = (): void => {
    this.#controlBacklogBytes = 0;
    if (!this.#isBackedUp && !this.#isAwaited) return;
    this.#isBackedUp = false;
    this.#isAwaited = false;
    this.#onDrain();
  };
}
