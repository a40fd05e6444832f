/** Which connections of a pool are one too many. Pure. */

/** How many connections a pool keeps to a peer. */
export interface PoolSize {
  /** Connections to have, as long as the peer can be dialed: 1 to 10. */
  readonly min: number;
  /** Connections that this side dials at most: 1 to 10, and no fewer than `min`. */
  readonly max: number;
  /** Above `min`, a connection that was idle for so long is closed. */
  readonly idleMs: number;
}

/** A connection that takes calls, as far as the choice depends on it. */
export interface SurplusCandidate {
  /** Whether this side dialed it. What the peer dialed is the peer's to close. */
  readonly isDialed: boolean;
  readonly establishedMs: number;
  /** When bytes of the peer last arrived. */
  readonly lastReceivedMs: number;
  /** Since when there was no call; `undefined` while there is. */
  readonly idleSinceMs: number | undefined;
}

/**
 * Indexes of the connections to close, which this side has dialed.
 * @param candidates oldest first, those that are suspect left out
 * @param yields whether this side gives up its own connections where both sides have dialed at once: one side does
 */
export function selectSurplus(
  candidates: readonly SurplusCandidate[],
  { min, max, idleMs }: PoolSize,
  yields: boolean,
  nowMs: number,
): number[] {
  const live = livelySince(candidates);
  const chosen: number[] = [];
  const left = candidates.flatMap(({ isDialed }, index) => (isDialed ? [index] : []));
  const accepted = candidates.length - left.length;
  /** Leaves as many of its own, if one that stays is live. */
  const giveUpOldest = (keep: number, mayStay: (candidate: SurplusCandidate) => boolean): void => {
    const going = left.slice(0, Math.max(0, left.length - keep));
    const staying = candidates.filter(
      (_, index) => !going.includes(index) && !chosen.includes(index),
    );
    if (!staying.some((candidate) => live.includes(candidate) && mayStay(candidate))) return;
    chosen.push(...left.splice(0, going.length));
  };
  giveUpOldest(max, ({ isDialed }) => isDialed);
  if (yields && accepted > 0) {
    giveUpOldest(Math.max(0, max - accepted), ({ isDialed }) => !isDialed);
  }
  // What stays is to be seen at work before more of it goes.
  if (chosen.length > 0) return chosen;
  let spare = candidates.length - min;
  for (const index of left) {
    const idleSinceMs = candidates[index]?.idleSinceMs;
    if (spare <= 0) break;
    if (idleSinceMs === undefined || nowMs - idleSinceMs < idleMs) continue;
    chosen.push(index);
    spare -= 1;
  }
  return chosen;
}

/**
 * Those that have been heard of since the youngest is there. Another connection goes only when one of these stays: the
 * peer may have crashed and come back, and the older ones be dead; or its side of the youngest may not be done yet.
 */
function livelySince(candidates: readonly SurplusCandidate[]): SurplusCandidate[] {
  const youngestMs = Math.max(...candidates.map(({ establishedMs }) => establishedMs));
  return candidates.filter(({ lastReceivedMs }) => lastReceivedMs > youngestMs);
}
