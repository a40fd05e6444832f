/**
 * How fast a peer may open streams, and reset them again: each costs this side work that no limit of streams open at once
 * bounds (CVE-2023-44487, "rapid reset").
 */

import { RateLimit } from '../base/rate-limit.js';
import { MeshError } from '../errors.js';

/** How fast a peer may open and reset streams, over all of its connections. */
export interface StreamRates {
  /** Streams that a peer may open in a second, and as many at once. */
  readonly streamOpensPerSecond: number;
  /** Streams of either side that it may reset. */
  readonly streamResetsPerSecond: number;
}

export const DEFAULT_STREAM_RATES: StreamRates = {
  // Several times what one core serves.
  streamOpensPerSecond: 200_000,
  // A caller that cancels all it has under way, and does so again and again, stays below.
  streamResetsPerSecond: 10_000,
};

/** Limits how fast a peer opens and resets streams. */
export class StreamRateGuard {
  readonly #opens: RateLimit;
  readonly #resets: RateLimit;

  constructor({ streamOpensPerSecond, streamResetsPerSecond }: StreamRates) {
    this.#opens = new RateLimit(streamOpensPerSecond, streamOpensPerSecond);
    this.#resets = new RateLimit(streamResetsPerSecond, streamResetsPerSecond);
  }

  /** @throws MeshError Overloaded, over which the connection is to be closed */
  opened(nowMs: number): void {
    if (this.#opens.take(nowMs)) return;
    throw new MeshError('Overloaded', 'peer opens streams faster than this side allows');
  }

  /** @throws MeshError the same */
  reset(nowMs: number): void {
    if (this.#resets.take(nowMs)) return;
    throw new MeshError('Overloaded', 'peer resets streams faster than this side allows');
  }
}
