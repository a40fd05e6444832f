/** `quicmesh/transport`: connections without nodes and calls, for those who build their own layer. */
export * from '../errors.js';
export type { BackoffLimits } from '../pool/backoff.js';
export { connectionMember } from '../pool/connection-member.js';
export type { HealthLimits } from '../pool/health.js';
export type { MemberState, MemberStateKind, PoolMember } from '../pool/member.js';
export type {
  AcquireOptions,
  MemberChange,
  PoolLimits,
  PoolOptions,
  PoolStatistics,
} from '../pool/options.js';
export { ConnectionPool } from '../pool/pool.js';
export type { Dial, DialFailure } from '../pool/redialer.js';
export type { Strategy } from '../pool/select.js';
export * from './connection.js';
export {
  type Discovery,
  type PeerAddress,
  type PeerTarget,
  staticDiscovery,
} from './dialing/discovery.js';
export { type DnsDiscoveryOptions, dnsDiscovery } from './dialing/dns-discovery.js';
export { awaitHandshake, dialHandshake, type HandshakeOptions } from './dialing/handshaker.js';
export { TransportManager, type TransportManagerOptions } from './dialing/manager.js';
export type { AdmissionOptions } from './quic/admission/admission-policy.js';
export {
  MemorySessionStore,
  type MemorySessionStoreOptions,
  type SessionStore,
} from './quic/resumption/sessions.js';
export { QuicTransport, type QuicTransportOptions } from './quic/transport.js';
export { TcpTransport, type TcpTransportOptions } from './tcp/transport.js';
export { checkNodeId, TrustStore } from './trust/identity.js';
export { KeyLog } from './trust/key-log.js';
