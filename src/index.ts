/** quicmesh: the communication layer between the nodes of a distributed database. */

export { toNodeDuplex, toNodeReadable } from './calls/adapters/node-streams.js';
export { toWebDuplex, toWebReadable } from './calls/adapters/web-streams.js';
export type { BatchCallOptions, BatchOptions, MessageBatcher } from './calls/batching/batcher.js';
export type { LogMessage } from './calls/batching/merge-messages.js';
export type { Redundancy } from './calls/redundancy.js';
export type { Authorize, CallingPeer } from './calls/session/authorize.js';
export { crc32 } from './calls/transfers/transfer-checksum.js';
export type {
  Bytes,
  CallContext,
  CallCounters,
  CallOptions,
  HandledMessages,
  Handler,
  HandlerKind,
  HandlerResults,
  OneWayMessage,
  ReplyTo,
  ReplyTypes,
  RequestMessage,
  RetryCounters,
  RetryOptions,
  StreamCallOptions,
  TrySendOptions,
} from './calls/types.js';
export { type ErrorSide, MeshError, type MeshErrorCode, type MeshErrorDetails } from './errors.js';
export type { ConnectOptions, MeshNode, NodeCounters } from './node/mesh-node.js';
export { createNode } from './node/node.js';
export type {
  NodeAuthOptions,
  NodeBulkOptions,
  NodeCompressionOptions,
  NodeHealthOptions,
  NodeLimitOptions,
  NodeOptions,
  NodePoolOptions,
  NodeQuicOptions,
  NodeReconnectOptions,
  NodeRenewalOptions,
  NodeRetryOptions,
  NodeTimeoutOptions,
  TlsOption,
} from './node/options/types.js';
export type { Peer, PeerConnection, TransferOpening } from './node/peer.js';
export type { MemberStateKind } from './pool/member.js';
export type { PoolStatistics } from './pool/options.js';
export type { Strategy } from './pool/select.js';
export type { CompressionName } from './protocol/compression.js';
export { sameToken } from './protocol/handshake.js';
export type {
  Consensus,
  DataTransfer,
  LogEntry,
  Message,
  MessageOf,
  MessageType,
  QueryRequest,
  QueryResponse,
  RaftBody,
  ReplicationLog,
  Request,
  Response,
} from './protocol/message.js';
export type { Priority } from './protocol/priority.js';
export type { LoggingOption, LogLevel } from './telemetry/logging.js';
export type { NodeEvent, StatusOptions } from './telemetry/status.js';
export type { SilenceOptions } from './transport/admission/knock-gate.js';
export type {
  DialTarget,
  MigrateOptions,
  PathEvent,
  Role,
  SocketAddress,
  TlsMaterial,
  TransportName,
} from './transport/connection.js';
export {
  type Discovery,
  type PeerAddress,
  type PeerTarget,
  staticDiscovery,
} from './transport/dialing/discovery.js';
export { type DnsDiscoveryOptions, dnsDiscovery } from './transport/dialing/dns-discovery.js';
export type {
  AdmissionLimitOptions,
  AdmissionOptions,
} from './transport/quic/admission/admission-policy.js';
export {
  MemorySessionStore,
  type MemorySessionStoreOptions,
  type SessionStore,
} from './transport/quic/resumption/sessions.js';
