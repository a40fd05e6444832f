/** `quicmesh/protocol`: frames, messages, codec and handshake, for those who build their own layer. */
export * from '../errors.js';
export { type CborLimits, DEFAULT_CBOR_LIMITS, scanCbor } from './cbor-scan.js';
export { crc32 } from './checksum.js';
export { isMessageType, MessageCodec } from './codec.js';
export * from './compression.js';
export * from './control.js';
export * from './frame.js';
export { FrameCodec, type FrameCodecOptions } from './frame-codec.js';
export * from './handshake.js';
export * from './message.js';
export * from './priority.js';
export * from './replay-guard.js';
