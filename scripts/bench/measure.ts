/** Timing within one process, in rounds of several contestants in turn; and figures out of samples. */

/** Something to be timed: `run` does it `count` times. */
export interface Contestant {
  readonly name: string;
  run(count: number): void;
}

export interface Timing {
  readonly name: string;
  /** Of each round, in nanoseconds for one time. */
  readonly samplesNs: readonly number[];
}

export interface RoundOptions {
  readonly rounds: number;
  /** Length of one contestant's part of a round; how often it runs in it is found out while warming up. */
  readonly roundMs: number;
}

/** Times every contestant in each round, so that what disturbs the machine disturbs all of them. */
export function compete(contestants: readonly Contestant[], options: RoundOptions): Timing[] {
  const counts = contestants.map((contestant) => warmUp(contestant, options.roundMs));
  const samples = contestants.map((): number[] => []);
  for (let round = 0; round < options.rounds; round += 1) {
    for (const [i, contestant] of contestants.entries()) {
      const count = counts[i] as number;
      samples[i]?.push(timeNs(contestant, count) / count);
    }
  }
  return contestants.map(({ name }, i) => ({ name, samplesNs: samples[i] as number[] }));
}

/** Runs until the compiler has done its work; answers how often fits a round. */
function warmUp(contestant: Contestant, roundMs: number): number {
  let count = 64;
  for (;;) {
    const tookMs = timeNs(contestant, count) / 1e6;
    if (tookMs >= roundMs / 2) return Math.max(1, Math.round((count * roundMs) / tookMs));
    count *= 2;
  }
}

function timeNs(contestant: Contestant, count: number): number {
  const start = process.hrtime.bigint();
  contestant.run(count);
  return Number(process.hrtime.bigint() - start);
}

export function median(samples: readonly number[]): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2;
}

/** The smallest sample that at least `percent` of all do not exceed (nearest rank). NaN without samples. */
export function percentile(sorted: Float64Array, percent: number): number {
  const rank = Math.ceil((percent / 100) * sorted.length);
  return sorted[Math.max(0, rank - 1)] ?? Number.NaN;
}

/** Three digits, or all that are before the point. */
export function formatNumber(value: number): string {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return value.toLocaleString('en-US', {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
}
