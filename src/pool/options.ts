/** The options of a pool, and what it reports. */

import type { Alarms } from '../base/alarms.js';
import type { PoolClock } from '../base/clock.js';
import type { MeshError } from '../errors.js';
import type { BackoffLimits } from './backoff.js';
import type { HealthLimits } from './health.js';
import type { MemberState, MemberStateKind, PoolMember } from './member.js';
import type { Dial, DialFailure } from './redialer.js';
import type { Strategy } from './select.js';
import type { PoolSize } from './surplus.js';
import type { WaitLimits } from './wait-queue.js';

/** How many connections a pool keeps, and which of them takes the next call. */
export interface PoolLimits extends PoolSize {
  readonly strategy: Strategy;
  /** When every connection has this many calls under way, another one is dialed, up to `max`. */
  readonly growAtCalls: number;
}

export const DEFAULT_POOL_LIMITS: PoolLimits = {
  min: 1,
  max: 1,
  idleMs: 60_000,
  strategy: 'leastLoaded',
  growAtCalls: 64,
};

export const DEFAULT_WAIT_LIMITS: WaitLimits = { maxWaiters: 65_536, maxWeight: 32 * 1024 * 1024 };

/** A change of a connection's state, beginning with its dial. */
export interface MemberChange<M> {
  /** `undefined` while the connection is dialed. */
  readonly member: M | undefined;
  /** `undefined` when the dial begins. */
  readonly from: MemberStateKind | undefined;
  readonly to: MemberState;
}

/** What a {@link ConnectionPool} is given. All of it is optional. */
export interface PoolOptions<M extends PoolMember> {
  /** Makes a connection to the peer. Without it the pool has only the connections that the peer dials. */
  readonly dial?: Dial<M> | undefined;
  readonly limits?: Partial<PoolLimits> | undefined;
  /** Dials only when somebody asks for a connection, and not again when one is lost. With `min` 0. Default false. */
  readonly onDemand?: boolean | undefined;
  readonly health?: Partial<HealthLimits> | undefined;
  readonly backoff?: Partial<BackoffLimits> | undefined;
  readonly waiters?: Partial<WaitLimits> | undefined;
  /**
   * Whether this side closes its own connections where both sides have dialed at the same time. The two sides must answer
   * differently. Default false.
   */
  readonly yields?: (() => boolean) | undefined;
  readonly onChange?: ((change: MemberChange<M>) => void) | undefined;
  /** A connection has become suspect, or is well again. */
  readonly onSuspicion?: ((member: M, isSuspect: boolean) => void) | undefined;
  readonly onDialFailed?: ((error: MeshError, failure: DialFailure) => void) | undefined;
  readonly clock?: PoolClock | undefined;
  /** Rings when a look is due, on the same clock; pools that share it share one timer. Default: the pool's own. */
  readonly alarms?: Alarms | undefined;
  /** From 0 up to 1. Default Math.random. */
  readonly random?: (() => number) | undefined;
}

/** How a connection joins a pool. */
export interface AddOptions {
  /** The connection does not count against `max`. */
  readonly isPinned?: boolean | undefined;
}

/** How long to wait for a connection. */
export interface AcquireOptions {
  /** Default: no limit. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What a pool has now, and counts of what it has done. */
export interface PoolStatistics {
  /** Connections that take calls. */
  readonly open: number;
  /** The suspect ones among these. */
  readonly suspect: number;
  /** Connections that take no new calls, and end with those under way. */
  readonly closing: number;
  readonly dialing: number;
  readonly waiting: number;
  /** Calls under way, of both sides. */
  readonly calls: number;
  readonly dialed: number;
  readonly dialsFailed: number;
  readonly accepted: number;
  /** Connections that ended without either side's decision. */
  readonly lost: number;
  /** Connections closed because they were surplus, idle or replaced. */
  readonly retired: number;
}
