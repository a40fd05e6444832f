/**
 * Durations counted in buckets, so that what many processes measured adds up to exact counts and to percentiles
 * that are off by less than 1 %.
 *
 * Below 128 µs every microsecond has a bucket of its own; above that each power of two is cut into 64.
 */

/** Bucket numbers and counts in turn, zeros left out: what travels between processes. */
export type SparseCounts = readonly number[];

export class LatencyCounts {
  readonly #counts = new Uint32Array(BUCKETS);
  #total = 0;

  get total(): number {
    return this.#total;
  }

  recordMs(durationMs: number): void {
    const bucket = bucketOf(Math.min(MAX_US, Math.max(0, Math.round(durationMs * 1000))));
    this.#counts[bucket]! += 1;
    this.#total += 1;
  }

  /** The duration that the given share (0 to 1) of all stays below, in milliseconds; `undefined` without any. */
  percentileMs(share: number): number | undefined {
    if (this.#total === 0) return undefined;
    let left = Math.max(1, Math.ceil(this.#total * share));
    const bucket = this.#counts.findIndex((count) => {
      left -= count;
      return left <= 0;
    });
    return middleUs(bucket) / 1000;
  }

  add(counts: SparseCounts): void {
    for (let at = 0; at < counts.length; at += 2) {
      const count = counts[at + 1]!;
      this.#counts[counts[at]!]! += count;
      this.#total += count;
    }
  }

  /** What was counted since the last call. */
  take(): SparseCounts {
    const taken = this.sparse();
    this.#counts.fill(0);
    this.#total = 0;
    return taken;
  }

  sparse(): SparseCounts {
    return [...this.#counts].flatMap((count, bucket) => (count === 0 ? [] : [bucket, count]));
  }
}

const EXACT = 128;
const PARTS = 64;
const POWERS = 20;
const BUCKETS = EXACT + POWERS * PARTS;
/** A little over two minutes. */
const MAX_US = EXACT * 2 ** POWERS - 1;

function bucketOf(us: number): number {
  if (us < EXACT) return us;
  const power = 31 - Math.clz32(us) - 7;
  return EXACT + power * PARTS + (us >>> (power + 1)) - PARTS;
}

function middleUs(bucket: number): number {
  if (bucket < EXACT) return bucket;
  const power = Math.floor((bucket - EXACT) / PARTS);
  const width = 2 ** (power + 1);
  return (PARTS + ((bucket - EXACT) % PARTS)) * width + width / 2;
}
