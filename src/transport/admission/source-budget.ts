/**
 * Bounds the processor time that one source may cost this node by handshakes that come to nothing.
 *
 * Pure: the caller brings the clock. Work goes by fixed prices and not by the clock: on a busy machine a clock would charge
 * a dialer for the work of everybody else. What a dialer was charged it gets back once its certificate is good. So any number of
 * nodes may restart behind one address, and only those that fail count.
 */
import type { HalfOpenLimits } from './half-open.js';

export interface SourceBudgetOptions {
  /** Work that a source may cause at once, in milliseconds. */
  readonly burstMs: number;
  /** Work that it may cause in the long run, as a share of one processor. */
  readonly share: number;
  /** How many sources are remembered. The one that was charged the longest ago is forgotten first. */
  readonly maxSources: number;
}

/** What one source may cause in the long run: a tenth of one processor. */
export const SOURCE_SHARE = 0.1;
const MAX_SOURCES = 4096;

/**
 * The budget of a listener. At once a source may cause what all of its half-open places cost, twice.
 * @param handshakeMs the price of one handshake
 */
export function createSourceBudget(
  { maxHalfOpenPerSource }: HalfOpenLimits,
  handshakeMs: number,
): SourceBudget {
  const burstMs = 2 * maxHalfOpenPerSource * handshakeMs;
  return new SourceBudget({ burstMs, share: SOURCE_SHARE, maxSources: MAX_SOURCES });
}

/** What sources have cost, each as one number: the time by which it is paid off. */
export class SourceBudget {
  readonly #options: SourceBudgetOptions;
  /** The source that was charged last is the last. */
  readonly #paidAtMs = new Map<string, number>();

  constructor(options: SourceBudgetOptions) {
    this.#options = options;
  }

  /** How many sources are remembered. */
  get size(): number {
    return this.#paidAtMs.size;
  }

  /** Work of the source that is not paid off, in milliseconds. */
  owedMs(source: string, nowMs: number): number {
    const paidAtMs = this.#paidAtMs.get(source);
    return paidAtMs === undefined ? 0 : Math.max(0, paidAtMs - nowMs) * this.#options.share;
  }

  /** Whether work that nobody has proved to be of the source has used its half: an address can be forged. */
  isHalfSpent(source: string, nowMs: number): boolean {
    return this.owedMs(source, nowMs) >= this.#options.burstMs / 2;
  }

  /** @returns in how many milliseconds the source may cause more work; 0 when it may now */
  waitMs(source: string, nowMs: number): number {
    const { burstMs, share } = this.#options;
    return Math.max(0, this.owedMs(source, nowMs) - burstMs) / share;
  }

  charge(source: string, workMs: number, nowMs: number): void {
    const paidAtMs = Math.max(nowMs, this.#paidAtMs.get(source) ?? nowMs);
    this.#paidAtMs.delete(source);
    if (this.#paidAtMs.size >= this.#options.maxSources) this.#forgetSome(nowMs);
    this.#paidAtMs.set(source, paidAtMs + workMs / this.#options.share);
  }

  /** Gives back what was charged: the work was for a peer. */
  refund(source: string, workMs: number, nowMs: number): void {
    const paidAtMs = this.#paidAtMs.get(source);
    if (paidAtMs === undefined) return;
    const sooner = paidAtMs - workMs / this.#options.share;
    if (sooner <= nowMs) this.#paidAtMs.delete(source);
    else this.#paidAtMs.set(source, sooner);
  }

  /** Forgets the first sources up to one that still owes something, and that one if nobody else goes. */
  #forgetSome(nowMs: number): void {
    for (const [source, paidAtMs] of this.#paidAtMs) {
      if (paidAtMs > nowMs && this.#paidAtMs.size < this.#options.maxSources) return;
      this.#paidAtMs.delete(source);
    }
  }
}
