/** How many lines a log gets about one source. */

/** Time between two lines about one source. */
export const LINE_INTERVAL_MS = 1000;
/** Sources that are told apart. All others share one entry: an attacker can forge any number of addresses. */
const MAX_SOURCES = 1024;
const OTHERS = 'other sources';

/** The lines about one source that were left out since its last one. */
export interface LeftOut {
  readonly source: string;
  readonly lines: number;
}

interface Entry {
  lastMs: number;
  leftOut: number;
}

/**
 * Lets each source have one line in a while, and counts what is left out. It remembers a bounded number of sources; the
 * others share one entry. Pure: the clock comes with each call.
 */
export class LineLimit {
  readonly #entries = new Map<string, Entry>();

  /** Whether a line about this source may be written now. One that may not is counted. */
  take(source: string, nowMs: number): boolean {
    const entry = this.#entryOf(source, nowMs);
    if (entry === undefined) return true;
    entry.leftOut += 1;
    return false;
  }

  /** Whether a later {@link takeLeftOut} will have something to report or to forget. */
  get isEmpty(): boolean {
    return this.#entries.size === 0;
  }

  /** Left-out lines of the sources that may have a line again; the report of them is that line. Forgets quiet sources. */
  takeLeftOut(nowMs: number): readonly LeftOut[] {
    const due: LeftOut[] = [];
    for (const [source, entry] of this.#entries) {
      if (nowMs - entry.lastMs < LINE_INTERVAL_MS) continue;
      if (entry.leftOut === 0) {
        this.#entries.delete(source);
        continue;
      }
      due.push({ source, lines: entry.leftOut });
      entry.leftOut = 0;
      entry.lastMs = nowMs;
    }
    return due;
  }

  /** The entry that holds a line back; `undefined` where the line may be written, which then counts as written. */
  #entryOf(source: string, nowMs: number): Entry | undefined {
    const key = this.#entries.has(source) || this.#entries.size < MAX_SOURCES ? source : OTHERS;
    const entry = this.#entries.get(key);
    // The report of what was left out comes before the next line of this source.
    if (entry !== undefined && (entry.leftOut > 0 || nowMs - entry.lastMs < LINE_INTERVAL_MS)) {
      return entry;
    }
    this.#entries.set(key, { lastMs: nowMs, leftOut: 0 });
    return undefined;
  }
}
