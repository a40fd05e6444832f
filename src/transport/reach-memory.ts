/**
 * Which transports lately did not reach a peer that another one reached: a network may let UDP through for some and
 * not for others. Pure: the clock comes with each call.
 */

export interface ReachMemoryOptions {
  /** How long the first failure counts; each further one twice as long. Default 5000. */
  readonly firstMs?: number | undefined;
  /** The longest that a failure counts. Default 300,000. */
  readonly maxMs?: number | undefined;
  /** Paths remembered; beyond, the one that failed longest ago is forgotten. Default 1024. */
  readonly maxPaths?: number | undefined;
}

interface Failure {
  readonly countsMs: number;
  readonly untilMs: number;
}

export class ReachMemory {
  readonly #firstMs: number;
  readonly #maxMs: number;
  readonly #maxPaths: number;
  /** By path, in order of the last failure. */
  readonly #failures = new Map<string, Failure>();

  constructor({ firstMs = 5000, maxMs = 300_000, maxPaths = 1024 }: ReachMemoryOptions = {}) {
    this.#firstMs = firstMs;
    this.#maxMs = maxMs;
    this.#maxPaths = maxPaths;
  }

  /** @param path a transport together with an address */
  failed(path: string, nowMs: number): void {
    const last = this.#failures.get(path);
    const countsMs = Math.min(last === undefined ? this.#firstMs : 2 * last.countsMs, this.#maxMs);
    this.#failures.delete(path);
    this.#failures.set(path, { countsMs, untilMs: nowMs + countsMs });
    if (this.#failures.size <= this.#maxPaths) return;
    const [oldest] = this.#failures.keys();
    if (oldest !== undefined) this.#failures.delete(oldest);
  }

  reached(path: string): void {
    this.#failures.delete(path);
  }

  /** When the path is worth another try, on the clock of `nowMs`; `nowMs` itself where nothing speaks against it. */
  retryAtMs(path: string, nowMs: number): number {
    return Math.max(this.#failures.get(path)?.untilMs ?? nowMs, nowMs);
  }
}
