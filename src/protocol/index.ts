/** `quicmesh/protocol`: frames, messages, codec and handshake, for those who build their own layer. */
export {
  codeOfWire,
  ERROR_CODES,
  type ErrorSide,
  isWireErrorCode,
  MeshError,
  type MeshErrorCode,
  type MeshErrorDetails,
  toMeshError,
  wireCodeOf,
} from '../errors.js';
export { type CborLimits, DEFAULT_CBOR_LIMITS, type ScannedCbor, scanCbor } from './cbor-scan.js';
export { crc32 } from './checksum.js';
export { isMessageType, MessageCodec, type SplitPayload } from './codec.js';
export {
  type Algorithm,
  type CompressionName,
  compressionsOf,
  loadCompression,
  type PackedPayload,
  packPayload,
  rawBytesOf,
  type SteppedBlock,
  unpackPayload,
} from './compression.js';
export type { ConnectionClass } from './connection-class.js';
export {
  decodeCredit,
  decodeGoAway,
  decodeReset,
  encodeAllOver,
  encodeCredit,
  encodeGoAway,
  encodeReason,
  encodeReset,
  MAX_REASON_BYTES,
  type ResetFields,
} from './control.js';
export {
  CHECKSUM_BYTES,
  Compression,
  DEFAULT_MAX_PAYLOAD_BYTES,
  encodeFrame,
  type Frame,
  FrameDecoder,
  type FrameDecoderOptions,
  type FrameFields,
  FrameFlag,
  type FrameLoan,
  frameBytes,
  HEADER_BYTES,
  WIRE_VERSION,
  writeFrame,
} from './frame.js';
export { type FrameAgreement, FrameCodec, type FrameCodecOptions } from './frame-codec.js';
export {
  type AcceptanceContext,
  acceptHandshake,
  completeHandshake,
  createHandshakeRequest,
  type HandshakeConfig,
  type HandshakeState,
  type HandshakeStateKind,
  type HandshakeVerdict,
  type Negotiated,
  negotiateCapabilities,
  nextHandshakeState,
  type ResponseContext,
  SUPPORTED_VERSIONS,
  sameToken,
} from './handshake.js';
export {
  type Capabilities,
  type Consensus,
  type DataTransfer,
  type ErrorMessage,
  type HandshakeRequest,
  type HandshakeResponse,
  type LogEntry,
  MAX_ITEMS,
  type Message,
  type MessageOf,
  type MessageType,
  type Ping,
  type Pong,
  type QueryRequest,
  type QueryResponse,
  type RaftBody,
  type ReplicationLog,
  type Request,
  type Response,
} from './message.js';
export { canonicalNodeId, sameNodeId } from './node-id.js';
export { defaultPriority, isPriority, PRIORITIES, type Priority, priorityOf } from './priority.js';
export {
  DEFAULT_REPLAY_GUARD,
  ReplayGuard,
  type ReplayGuardOptions,
  type ReplayVerdict,
} from './replay-guard.js';
