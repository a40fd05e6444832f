/** What a peer can do wrong on a connection, which closes over it. */
import type { MeshErrorCode } from '../errors.js';

/** The connection closes with that code. */
export const VIOLATIONS: ReadonlySet<MeshErrorCode> = new Set<MeshErrorCode>([
  'VersionUnsupported',
  'ProtocolViolation',
  'ChecksumMismatch',
  'FrameTooLarge',
  'UnsupportedCompression',
  'FlowControlViolation',
  'StreamLimitExceeded',
  'Overloaded',
]);
