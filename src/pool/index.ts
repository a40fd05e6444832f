/** `quicmesh/pool`: the connections to one peer, without nodes and calls, for those who build their own layer. */
export { Alarms } from '../base/alarms.js';
export type { PoolClock } from '../base/clock.js';
export { MeshError, type MeshErrorCode, type MeshErrorDetails } from '../errors.js';
export type { BackoffLimits } from './backoff.js';
export { type ConnectionMember, connectionMember } from './connection-member.js';
export type { HealthLimits } from './health.js';
export type { MemberState, MemberStateKind, PoolMember } from './member.js';
export type {
  AcquireOptions,
  AddOptions,
  MemberChange,
  PoolLimits,
  PoolOptions,
  PoolStatistics,
} from './options.js';
export { ConnectionPool } from './pool.js';
export type { Dial, DialFailure } from './redialer.js';
export { STRATEGIES, type Strategy } from './select.js';
export type { PoolSize } from './surplus.js';
export type { Waiter, WaitLimits } from './wait-queue.js';
