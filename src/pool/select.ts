/** Which connection of a pool takes the next call. Pure. */

/** Every {@link Strategy}. */
export const STRATEGIES = ['leastLoaded', 'roundRobin', 'firstAvailable'] as const;
/**
 * `leastLoaded`: the one with the fewest calls under way. `roundRobin`: each in turn. `firstAvailable`: the oldest that
 * is not busy, so that younger ones come to rest.
 */
export type Strategy = (typeof STRATEGIES)[number];

/** A connection, as far as the choice depends on it. */
export interface Candidate {
  /** Calls under way. */
  readonly load: number;
  /** It has been silent although it was asked for a sign of life: the last to be taken. */
  readonly isSuspect: boolean;
}

export interface SelectOptions {
  /** How often a choice was made before. */
  readonly turn: number;
  /** From so many calls under way on, a connection counts as busy. */
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

/** All that are well; where none is, all. */
function eligibleOf(candidates: readonly Candidate[]): number[] {
  const all = candidates.map((_, index) => index);
  const well = all.filter((index) => candidates[index]?.isSuspect === false);
  return well.length > 0 ? well : all;
}

/** Of equals, the first. */
function leastOf(indexes: readonly number[], loadOf: (index: number) => number): number {
  return indexes.reduce((least, index) => (loadOf(index) < loadOf(least) ? index : least));
}
