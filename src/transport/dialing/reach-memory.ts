/**
 * Which transports lately did not reach a peer that another one reached: a network may let UDP through for some and
 * not for others, or for none. Pure: the clock comes with each call.
 */

/** How long failures to reach a peer are remembered, and how many. */
export interface ReachMemoryOptions {
  /** How long the first failure counts. Each further one counts twice as long. Default 5000. */
  readonly firstMs?: number | undefined;
  /** The longest that a failure counts. Default 300,000. */
  readonly maxMs?: number | undefined;
  /** Paths remembered; beyond, the one that failed longest ago is forgotten. Default 1024. */
  readonly maxPaths?: number | undefined;
}

/** A transport that failed at this many addresses, and reached none since, is taken to reach no address at all. */
const NETWORK_FAILURES = 3;

interface Failure {
  readonly countsMs: number;
  readonly untilMs: number;
}

/**
 * Remembers which transports lately did not reach a peer that another one reached: these are tried last, for a while
 * that grows with each failure. Pure: the clock comes with each call.
 */
export class ReachMemory {
  readonly #firstMs: number;
  readonly #maxMs: number;
  readonly #maxPaths: number;
  /** Failures by path and by transport, in order of the last failure. */
  readonly #failures = new Map<string, Failure>();
  /** By transport, the paths that failed since it last reached anybody; only as many as are needed for the verdict. */
  readonly #failedPaths = new Map<string, Set<string>>();

  constructor({ firstMs = 5000, maxMs = 300_000, maxPaths = 1024 }: ReachMemoryOptions = {}) {
    this.#firstMs = firstMs;
    this.#maxMs = maxMs;
    this.#maxPaths = maxPaths;
  }

  /**
   * @param path a transport together with an address
   * @param transport its name, where failures at several addresses are to count for all addresses
   */
  failed(path: string, nowMs: number, transport?: string): void {
    this.#fail(path, nowMs);
    if (transport === undefined) return;
    const paths = this.#failedPaths.get(transport) ?? new Set();
    this.#failedPaths.set(transport, paths);
    if (paths.size < NETWORK_FAILURES) paths.add(path);
    if (paths.size === NETWORK_FAILURES) this.#fail(transport, nowMs);
  }

  reached(path: string, transport?: string): void {
    this.#failures.delete(path);
    if (transport === undefined) return;
    this.#failures.delete(transport);
    this.#failedPaths.delete(transport);
  }

  /** When the path is worth another try, on the clock of `nowMs`. `nowMs` itself if it is worth one now. */
  retryAtMs(path: string, nowMs: number, transport?: string): number {
    const untilMs = this.#failures.get(path)?.untilMs ?? nowMs;
    const networkUntilMs =
      transport === undefined ? nowMs : (this.#failures.get(transport)?.untilMs ?? nowMs);
    return Math.max(untilMs, networkUntilMs, nowMs);
  }

  #fail(key: string, nowMs: number): void {
    const last = this.#failures.get(key);
    const countsMs = Math.min(last === undefined ? this.#firstMs : 2 * last.countsMs, this.#maxMs);
    this.#failures.delete(key);
    this.#failures.set(key, { countsMs, untilMs: nowMs + countsMs });
    if (this.#failures.size <= this.#maxPaths) return;
    const [oldest] = this.#failures.keys();
    if (oldest !== undefined) this.#failures.delete(oldest);
  }
}
