/** quicmesh: the communication layer between the nodes of a distributed database. */
export type { Authorize, CallingPeer } from './calls/authorize.js';
export type { BatchCallOptions, BatchOptions, MessageBatcher } from './calls/batcher.js';
export type { LogMessage } from './calls/merge-messages.js';
export { toNodeDuplex, toNodeReadable } from './calls/node-streams.js';
export { crc32 } from './calls/transfer-checksum.js';
export type {
  CallContext,
  CallCounters,
  CallOptions,
  HandledMessages,
  Handler,
  HandlerKind,
  HandlerResults,
  OneWayMessage,
  ReplyTo,
  RequestMessage,
  RetryCounters,
  RetryOptions,
  StreamCallOptions,
  TrySendOptions,
} from './calls/types.js';
export { toWebDuplex, toWebReadable } from './calls/web-streams.js';
export { type ErrorSide, MeshError, type MeshErrorCode } from './errors.js';
export { type ConnectOptions, createNode, MeshNode, type NodeCounters } from './node.js';
export type {
  AuthTokenOptions,
  NodeDoorOptions,
  NodeHealthOptions,
  NodeOptions,
  NodePoolOptions,
  NodeReconnectOptions,
  NodeRetryOptions,
  TlsOption,
} from './options.js';
export { Peer, type PeerConnection, type TransferOpening } from './peer.js';
export type { MemberStateKind } from './pool/member.js';
export type { PoolStatistics } from './pool/options.js';
export type { Strategy } from './pool/select.js';
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
export type { NodeEvent, StatusOptions } from './status.js';
export type { LoggingOption, LogLevel } from './telemetry/logging.js';
export type {
  DialTarget,
  MigrateOptions,
  PathEvent,
  SocketAddress,
  TlsMaterial,
  TransportName,
} from './transport/connection.js';
export {
  type Discovery,
  type PeerAddress,
  type PeerTarget,
  staticDiscovery,
} from './transport/discovery.js';
export { type DnsDiscoveryOptions, dnsDiscovery } from './transport/dns-discovery.js';
export {
  MemorySessionStore,
  type MemorySessionStoreOptions,
  type SessionStore,
} from './transport/quic/sessions.js';
