/** What a pool is given, and what it tells. */

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
  /** With so many calls under way on each connection, another one is dialed, as far as `max` allows. */
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

/** A step in the life of a connection, from the beginning of its dial. */
export interface MemberChange<M> {
  /** `undefined` while it is dialed. */
  readonly member: M | undefined;
  /** `undefined` when the dial begins. */
  readonly from: MemberStateKind | undefined;
  readonly to: MemberState;
}

/** What a {@link ConnectionPool} is given. All of it is optional. */
export interface PoolOptions<M extends PoolMember> {
  /** How to reach the peer. Without it the pool has what the peer dials. */
  readonly dial?: Dial<M> | undefined;
  readonly limits?: Partial<PoolLimits> | undefined;
  readonly health?: Partial<HealthLimits> | undefined;
  readonly backoff?: Partial<BackoffLimits> | undefined;
  readonly waiters?: Partial<WaitLimits> | undefined;
  /**
   * Whether this side gives up its own connections where both sides have dialed at once: the two sides must answer
   * differently. Default: it does not.
   */
  readonly yields?: (() => boolean) | undefined;
  readonly onChange?: ((change: MemberChange<M>) => void) | undefined;
  /** A connection is silent although it was asked for a sign of life, or is well again. */
  readonly onSuspicion?: ((member: M, isSuspect: boolean) => void) | undefined;
  readonly onDialFailed?: ((error: MeshError, failure: DialFailure) => void) | undefined;
  readonly clock?: PoolClock | undefined;
  /** From 0 up to 1. Default Math.random. */
  readonly random?: (() => number) | undefined;
}

/** How a connection joins a pool. */
export interface AddOptions {
  /** The connection stands beside those that the pool may have: `max` does not count it. */
  readonly isPinned?: boolean | undefined;
}

/** How long to wait for a connection. */
export interface AcquireOptions {
  /** Default: no limit. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What a pool has now, and counts of what it did. */
export interface PoolStatistics {
  /** Connections that take calls. */
  readonly open: number;
  /** Of these, the suspect ones. */
  readonly suspect: number;
  /** Connections that end with the calls under way on them. */
  readonly closing: number;
  readonly dialing: number;
  readonly waiting: number;
  /** Calls under way, of both sides. */
  readonly calls: number;
  readonly dialed: number;
  readonly dialsFailed: number;
  readonly accepted: number;
  /** Ended without anybody's decision. */
  readonly lost: number;
  /** Closed because they were one too many, idle, or replaced. */
  readonly retired: number;
}
