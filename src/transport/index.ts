/** `quicmesh/transport`: connections without nodes and calls, for those who build their own layer. */

export type { ByteAccount } from '../base/byte-budget.js';
export {
  type ErrorSide,
  MeshError,
  type MeshErrorCode,
  type MeshErrorDetails,
  toMeshError,
} from '../errors.js';
export type { HalfOpenLimits } from './admission/half-open.js';
export type { SilenceOptions } from './admission/knock-gate.js';
export {
  type AgreedLimits,
  ALPN_PROTOCOL,
  type Connection,
  type ConnectionCounters,
  type ConnectionState,
  DEFAULT_STREAM_LIMITS,
  type DialOptions,
  type DialTarget,
  type FrameStream,
  type FrameStreamHandler,
  type Listener,
  type ListenOptions,
  MAX_PRE_HANDSHAKE_BYTES,
  MAX_PRE_HANDSHAKE_STREAMS,
  type MigrateOptions,
  nextConnectionState,
  type PathEvent,
  type PeerIdentity,
  type Refusal,
  type Role,
  type SendOptions,
  type SocketAddress,
  type StreamLimits,
  type StreamOptions,
  type TlsMaterial,
  TRANSPORT_NAMES,
  type Transport,
  type TransportName,
} from './connection.js';
export {
  type Discovery,
  type PeerAddress,
  type PeerTarget,
  staticDiscovery,
} from './dialing/discovery.js';
export { type DnsDiscoveryOptions, dnsDiscovery } from './dialing/dns-discovery.js';
export {
  awaitHandshake,
  type DialHandshakeOptions,
  dialHandshake,
  type HandshakeOptions,
} from './dialing/handshaker.js';
export {
  type ManagedDialOptions,
  TransportManager,
  type TransportManagerOptions,
} from './dialing/manager.js';
export type { ReachMemoryOptions } from './dialing/reach-memory.js';
export { PeerRates } from './peer-rates.js';
export type {
  AdmissionLimitOptions,
  AdmissionLimits,
  AdmissionOptions,
} from './quic/admission/admission-policy.js';
export type { CongestionControl } from './quic/binding/congestion-control.js';
export type { EndpointCounters } from './quic/io/counters.js';
export {
  MemorySessionStore,
  type MemorySessionStoreOptions,
  type SessionStore,
} from './quic/resumption/sessions.js';
export { QuicTransport, type QuicTransportOptions } from './quic/transport.js';
export type { StreamRateGuard, StreamRates } from './stream-rate.js';
export {
  type TcpAdmissionOptions,
  TcpTransport,
  type TcpTransportOptions,
} from './tcp/transport.js';
export { checkNodeId, TrustStore } from './trust/identity.js';
export { KeyLog } from './trust/key-log.js';
