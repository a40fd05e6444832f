/** One direction of a TCP connection: bytes that never change their order, but may be late, wrong or cut off. */
import type { Socket } from 'node:net';
import type { Random } from '../../../scripts/fuzz/random.js';
import type { PathCounters } from './counters.js';
import type { DelayLine } from './delay-line.js';
import { drawFate, type Faults } from './faults.js';

export interface StreamPathOptions {
  readonly source: Socket;
  readonly sink: Socket;
  readonly random: Random;
  readonly line: DelayLine;
  readonly counters: PathCounters;
  readonly maxQueuedBytes: number;
  readonly faults: () => Faults;
  /** When the connection is established, and bytes can set out; `undefined` before that is known. */
  readonly openAtMs: () => number | undefined;
}

/**
 * Chance decides for each so many bytes of the stream, wherever reads happen to end: what a packet carries over
 * Ethernet.
 */
const SEGMENT_BYTES = 1448;

interface Held {
  readonly bytes: number;
  readonly step: () => void;
}

export class StreamPath {
  readonly #options: StreamPathOptions;
  /** Wait for a black hole or a stall to end, or for the connection to be established. */
  #held: Held[] = [];
  /** Bytes that were read and that the sink has not taken yet. */
  #queuedBytes = 0;
  /** Steps on the delay line. */
  #queued = 0;
  #freeAtMs = 0;
  #lastAtMs = 0;
  /** Of the stream: bytes past chance, where the next segment starts, and where bits are to be flipped. */
  #position = 0;
  #nextSegment = 0;
  #corruptions: { readonly at: number; readonly bit: number }[] = [];
  #ended = false;

  constructor(options: StreamPathOptions) {
    this.#options = options;
    const { source } = options;
    source.on('data', (bytes: Buffer) => this.#read(bytes));
    source.on('end', () => this.end());
    source.on('error', () => {});
    source.on('close', () => {
      if (!source.readableEnded) this.reset();
    });
  }

  /** Lets pass what faults no longer hold. */
  settingsChanged(): void {
    for (let [next] = this.#held; next !== undefined; [next] = this.#held) {
      if (this.#isHeld(next.bytes)) return;
      this.#held.shift();
      next.step();
    }
  }

  /** Nothing comes after what is on its way; the other direction goes on. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#orHold(0, () => this.#schedule(0, 0, () => this.#options.sink.end()));
  }

  /** As {@link end}, but as a connection that is lost. */
  reset(): void {
    this.#ended = true;
    this.#orHold(0, () => this.#schedule(0, 0, () => this.#options.sink.resetAndDestroy()));
  }

  #isHeld(bytes: number): boolean {
    const { blackHole, stallsAfterBytes } = this.#options.faults();
    if (blackHole || this.#options.openAtMs() === undefined) return true;
    return this.#position + bytes > stallsAfterBytes;
  }

  #orHold(bytes: number, step: () => void): void {
    if (this.#held.length > 0 || this.#isHeld(bytes)) this.#held.push({ bytes, step });
    else step();
  }

  #read(bytes: Buffer): void {
    const { counters, maxQueuedBytes, source } = this.#options;
    if (this.#ended) return;
    this.#queuedBytes += bytes.length;
    if (this.#queuedBytes > maxQueuedBytes) {
      counters.overflowed += 1;
      source.pause();
    }
    this.#orHold(bytes.length, () => this.#pass(bytes));
  }

  /** Cuts before every segment that is lost: what comes before it is not late. */
  #pass(bytes: Buffer): void {
    const { counters, faults, random } = this.#options;
    const { loss, retransmitMs, corrupt, jitterMs } = faults();
    const start = this.#position;
    const end = start + bytes.length;
    let cut = start;
    let segments = 0;
    let lateMs = 0;
    for (; this.#nextSegment < end; this.#nextSegment += SEGMENT_BYTES) {
      const fate = drawFate(random);
      if (fate.loss < loss) {
        counters.dropped += 1;
        this.#write(bytes.subarray(cut - start, this.#nextSegment - start), segments, lateMs);
        cut = this.#nextSegment;
        segments = 0;
        lateMs = retransmitMs;
      }
      if (fate.corrupt < corrupt) {
        const at = this.#nextSegment + Math.floor(fate.corruptAt * SEGMENT_BYTES);
        this.#corruptions.push({ at, bit: Math.floor(fate.corruptBit * 8) });
      }
      lateMs = Math.max(lateMs, fate.jitter * jitterMs);
      segments += 1;
    }
    this.#corrupt(bytes);
    this.#position = end;
    this.#write(bytes.subarray(cut - start), segments, lateMs);
  }

  /** The bytes are this path's own since they were read. */
  #corrupt(bytes: Buffer): void {
    const end = this.#position + bytes.length;
    for (let next = this.#corruptions[0]; next !== undefined; next = this.#corruptions[0]) {
      if (next.at >= end) return;
      const index = next.at - this.#position;
      bytes[index] = (bytes[index] as number) ^ (1 << next.bit);
      this.#options.counters.corrupted += 1;
      this.#corruptions.shift();
    }
  }

  #write(bytes: Buffer, segments: number, lateMs: number): void {
    if (bytes.length === 0) return;
    const { counters, maxQueuedBytes, sink, source } = this.#options;
    this.#schedule(bytes.length, lateMs, () => {
      counters.forwarded += segments;
      counters.forwardedBytes += bytes.length;
      sink.write(bytes, () => {
        this.#queuedBytes -= bytes.length;
        if (source.isPaused() && this.#queuedBytes <= maxQueuedBytes / 2) source.resume();
      });
    });
  }

  /** In order, whatever the delays are. */
  #schedule(lengthBytes: number, lateMs: number, step: () => void): void {
    const { faults, line, openAtMs } = this.#options;
    const { bytesPerSecond, delayMs } = faults();
    const nowMs = performance.now();
    const sentMs =
      Math.max(nowMs, openAtMs() ?? nowMs, this.#freeAtMs) + (lengthBytes / bytesPerSecond) * 1000;
    this.#freeAtMs = sentMs;
    this.#lastAtMs = Math.max(this.#lastAtMs, sentMs + delayMs + lateMs);
    if (this.#lastAtMs <= nowMs && this.#queued === 0) {
      step();
      return;
    }
    this.#queued += 1;
    line.schedule(this.#lastAtMs, () => {
      this.#queued -= 1;
      step();
    });
  }
}
