/** One client's datagrams in one direction: the hook, the size, chance, the rate and the delay, in this order. */
import type { Random } from '../../../scripts/fuzz/random.js';
import { type DatagramCounters, type SizeCounters, sizeClassOf } from './counters.js';
import type { DelayLine } from './delay-line.js';
import { corrupted, drawFate, type Fate, type Faults } from './faults.js';
import { SizeLimit } from './size-limit.js';

/** What a hook wants done with a datagram; nothing said, it takes its chances like all others. */
export type DatagramVerdict =
  | undefined
  | 'drop'
  | { readonly replaceWith?: Buffer; readonly moreDelayMs?: number };

export interface DatagramPathOptions {
  readonly random: Random;
  readonly line: DelayLine;
  readonly counters: DatagramCounters;
  readonly maxQueuedBytes: number;
  readonly faults: () => Faults;
  readonly hook: (datagram: Buffer) => DatagramVerdict;
  readonly deliver: (datagram: Buffer) => void;
}

interface Held {
  readonly datagram: Buffer;
  /** Datagrams that are still to overtake it. */
  left: number;
  released: boolean;
}

/** For datagrams to be overtaken that nothing comes after. */
const HOLD_LIMIT_MS = 50;

export class DatagramPath {
  readonly #options: DatagramPathOptions;
  #queued = 0;
  #queuedBytes = 0;
  /** When the rate lets the next one go. */
  #freeAtMs = 0;
  #held: Held[] = [];
  readonly #sizeLimit = new SizeLimit();

  constructor(options: DatagramPathOptions) {
    this.#options = options;
  }

  take(received: Buffer): void {
    const { counters, faults, hook, random } = this.#options;
    const fate = drawFate(random);
    const verdict = hook(received);
    const { blackHole, loss, corrupt, duplicate } = faults();
    if (verdict === 'drop') {
      this.#drop(received);
      return;
    }
    let datagram = verdict?.replaceWith ?? received;
    const fit = this.#sizeLimit.judge(datagram.length, faults(), performance.now());
    if (fit === 'tooLarge') counters.tooLarge += 1;
    if (fit === 'tooLarge' || blackHole || fate.loss < loss) {
      this.#drop(datagram);
      return;
    }
    if (fit === 'fragmented') counters.fragmented += 1;
    if (fate.corrupt < corrupt) {
      counters.corrupted += 1;
      datagram = corrupted(datagram, fate);
    }
    const moreDelayMs = verdict?.moreDelayMs ?? 0;
    this.#send(datagram, fate, moreDelayMs);
    if (fate.duplicate >= duplicate) return;
    counters.duplicated += 1;
    this.#send(datagram, fate, moreDelayMs);
  }

  #drop({ length }: Buffer): void {
    this.#options.counters.dropped += 1;
    this.#sizeOf(length).dropped += 1;
  }

  #sizeOf(bytes: number): SizeCounters {
    return this.#options.counters.sizes[sizeClassOf(bytes)] as SizeCounters;
  }

  #send(datagram: Buffer, fate: Fate, moreDelayMs: number): void {
    const { counters, faults, line, maxQueuedBytes } = this.#options;
    const { bytesPerSecond, delayMs, jitterMs } = faults();
    if (this.#queuedBytes + datagram.length > maxQueuedBytes) {
      counters.overflowed += 1;
      return;
    }
    const nowMs = performance.now();
    const sentMs = Math.max(nowMs, this.#freeAtMs) + (datagram.length / bytesPerSecond) * 1000;
    this.#freeAtMs = sentMs;
    const atMs = sentMs + delayMs + fate.jitter * jitterMs + moreDelayMs;
    // With nothing before it that is late.
    if (atMs <= nowMs && this.#queued === 0) {
      this.#arrive(datagram, fate);
      return;
    }
    this.#queued += 1;
    this.#queuedBytes += datagram.length;
    line.schedule(atMs, () => {
      this.#queued -= 1;
      this.#queuedBytes -= datagram.length;
      this.#arrive(datagram, fate);
    });
  }

  #arrive(datagram: Buffer, fate: Fate): void {
    const { counters, faults } = this.#options;
    const { reorder, reorderBy } = faults();
    if (fate.reorder < reorder) {
      counters.reordered += 1;
      this.#hold({ datagram, left: reorderBy, released: false });
      return;
    }
    this.#deliver(datagram);
    if (this.#held.length === 0) return;
    for (const held of this.#held) {
      held.left -= 1;
      if (held.left <= 0) this.#release(held);
    }
    this.#held = this.#held.filter(({ released }) => !released);
  }

  #hold(held: Held): void {
    this.#held.push(held);
    this.#queuedBytes += held.datagram.length;
    this.#options.line.schedule(performance.now() + HOLD_LIMIT_MS, () => {
      if (held.released) return;
      this.#release(held);
      this.#held = this.#held.filter((other) => other !== held);
    });
  }

  #release(held: Held): void {
    held.released = true;
    this.#queuedBytes -= held.datagram.length;
    this.#deliver(held.datagram);
  }

  #deliver(datagram: Buffer): void {
    const { counters, deliver } = this.#options;
    counters.forwarded += 1;
    counters.forwardedBytes += datagram.length;
    counters.largestForwardedBytes = Math.max(counters.largestForwardedBytes, datagram.length);
    this.#sizeOf(datagram.length).forwarded += 1;
    deliver(datagram);
  }
}
