/** Which connections of a pool are one too many. Pure. */

/** How many connections a pool keeps to a peer. */
export interface PoolSize {
  /** Connections to keep as long as the peer can be dialed: 1 to 10, or 0 in a pool that dials on demand. */
  readonly min: number;
  /** Connections that this side dials at most: 1 to 10, and no fewer than `min`. */
  readonly max: number;
  /** Above `min`, a connection that was idle for this long is closed. */
  readonly idleMs: number;
}

/** What the choice needs to know of a connection that takes calls. */
export interface SurplusCandidate {
  /** Whether this side dialed it. Connections that the peer dialed are closed by the peer. */
  readonly isDialed: boolean;
  readonly establishedMs: number;
  /** When bytes of the peer last arrived. */
  readonly lastReceivedMs: number;
  /** When the last call ended; `undefined` while there is one. */
  readonly idleSinceMs: number | undefined;
}

/**
 * Indexes of the connections to close, which this side has dialed.
 * @param candidates oldest first, without those that are suspect
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
  /** Closes this many of its own, if one that stays is known to be live. */
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
  // Close no more before those that stay have been seen to work.
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
 * The connections that were heard from since the youngest was made. One of these must stay when another is closed: the peer
 * may have restarted, which leaves the older ones dead, or may not have finished its side of the youngest.
 */
function livelySince(candidates: readonly SurplusCandidate[]): SurplusCandidate[] {
  const youngestMs = Math.max(...candidates.map(({ establishedMs }) => establishedMs));
  return candidates.filter(({ lastReceivedMs }) => lastReceivedMs > youngestMs);
}
