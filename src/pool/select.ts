/** Which connection of a pool takes the next call. Pure. */

/** Every {@link Strategy}. */
export const STRATEGIES = ['leastLoaded', 'roundRobin', 'firstAvailable'] as const;
/**
 * `leastLoaded`: the one with the fewest calls under way. `roundRobin`: each in turn. `firstAvailable`: the oldest that is
 * not busy, so that younger ones become idle.
 */
export type Strategy = (typeof STRATEGIES)[number];

/** What the choice needs to know of a connection. */
export interface Candidate {
  /** Calls under way. */
  readonly load: number;
  /** It did not answer when asked for a sign of life: it is taken only where all are suspect. */
  readonly isSuspect: boolean;
}

export interface SelectOptions {
  /** How many choices were made before. */
  readonly turn: number;
  /** With this many calls under way, a connection is busy. */
  readonly busyAtCalls: number;
}

/**
 * The index of the candidate to take, or -1 where there is none.
 * @param candidates oldest first
 */
export function selectCandidate(
  strategy: Strategy,
  candidates: readonly Candidate[],
  { turn, busyAtCalls }: SelectOptions,
): number {
  const eligible = eligibleOf(candidates);
  if (eligible.length <= 1) return eligible[0] ?? -1;
  const loadOf = (index: number): number => (candidates[index] as Candidate).load;
  switch (strategy) {
    case 'roundRobin':
      return eligible[turn % eligible.length] as number;
    case 'leastLoaded':
      return leastOf(eligible, loadOf);
    case 'firstAvailable':
      return eligible.find((index) => loadOf(index) < busyAtCalls) ?? leastOf(eligible, loadOf);
  }
}

/** The candidates that are not suspect, or all where all are. */
function eligibleOf(candidates: readonly Candidate[]): number[] {
  const all = candidates.map((_, index) => index);
  const well = all.filter((index) => candidates[index]?.isSuspect === false);
  return well.length > 0 ? well : all;
}

/** The least loaded; the first of equals. */
function leastOf(indexes: readonly number[], loadOf: (index: number) => number): number {
  return indexes.reduce((least, index) => (loadOf(index) < loadOf(least) ? index : least));
}
