/** The largest datagram that a path carries in one direction, and what its sender's system knows of that. Pure. */
import type { Faults } from './faults.js';

export type SizeVerdict =
  | 'passes'
  | 'tooLarge'
  /** Too large, but its sender's system knows and sends it in pieces that pass. */
  | 'fragmented';

export class SizeLimit {
  /** The limit that a report tells of, and when it has reached the sender. */
  #reportedBytes = Number.POSITIVE_INFINITY;
  #knownFromMs = Number.POSITIVE_INFINITY;

  /** @param nowMs on any clock that only goes forward */
  judge(bytes: number, faults: Faults, nowMs: number): SizeVerdict {
    const { maxDatagramBytes, tooLarge, delayMs } = faults;
    if (bytes <= maxDatagramBytes) return 'passes';
    if (tooLarge === 'lost') return 'tooLarge';
    if (this.#reportedBytes !== maxDatagramBytes) {
      this.#reportedBytes = maxDatagramBytes;
      // There and back, however far along the path the narrow link is.
      this.#knownFromMs = nowMs + 2 * delayMs;
      return 'tooLarge';
    }
    return nowMs < this.#knownFromMs ? 'tooLarge' : 'fragmented';
  }
}
