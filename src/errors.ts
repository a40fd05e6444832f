/**
 * The one error type of quicmesh and the one table of its codes.
 *
 * Every failure that a caller can meet is a {@link MeshError} with a stable `code`. The table gives each
 * code its number on the wire (SPEC.md, "Error codes"), so that both sides of a connection name the same
 * failure the same way, over QUIC and over TCP.
 */
import { isError, isInstance, textOf } from './base/realms.js';

/** What the table says of one code. */
interface CodeEntry {
  /** The number that travels in a close, a reset or a refusal. 0x00-0x3f connection, 0x40-0x7f identity and handshake, 0x80-0xff calls. */
  readonly wire: number;
  /** Whether trying again later, unchanged, can succeed. */
  readonly retryable: boolean;
}

/** The table of codes. Numbers are part of wire version 1 and are never reused. */
export const ERROR_CODES = {
  // The connection as a whole.
  NoError: { wire: 0x00, retryable: true },
  InternalError: { wire: 0x01, retryable: true },
  ProtocolViolation: { wire: 0x02, retryable: false },
  ChecksumMismatch: { wire: 0x03, retryable: true },
  FrameTooLarge: { wire: 0x04, retryable: false },
  UnsupportedCompression: { wire: 0x06, retryable: false },
  FlowControlViolation: { wire: 0x07, retryable: false },
  StreamLimitExceeded: { wire: 0x08, retryable: true },
  IdleTimeout: { wire: 0x09, retryable: true },
  ConnectTimeout: { wire: 0x0a, retryable: true },
  ConnectFailed: { wire: 0x0b, retryable: true },
  ConnectionLost: { wire: 0x0c, retryable: true },
  ConnectionClosed: { wire: 0x0d, retryable: true },
  GoingAway: { wire: 0x0e, retryable: true },
  TransportUnavailable: { wire: 0x0f, retryable: false },
  TlsFailure: { wire: 0x10, retryable: false },
  ApplicationProtocolMismatch: { wire: 0x11, retryable: false },
  ConnectionLimitExceeded: { wire: 0x12, retryable: true },

  // Identity: certificates and names.
  CertificateRequired: { wire: 0x40, retryable: false },
  CertificateUntrusted: { wire: 0x41, retryable: false },
  CertificateExpired: { wire: 0x42, retryable: false },
  CertificateNotYetValid: { wire: 0x43, retryable: false },
  CertificateNameMismatch: { wire: 0x44, retryable: false },
  CertificateUsage: { wire: 0x45, retryable: false },
  CertificateInvalid: { wire: 0x46, retryable: false },
  CertificateRevoked: { wire: 0x47, retryable: false },

  // The handshake above TLS.
  VersionUnsupported: { wire: 0x50, retryable: false },
  ClusterMismatch: { wire: 0x51, retryable: false },
  NodeIdMismatch: { wire: 0x52, retryable: false },
  AuthTokenRejected: { wire: 0x53, retryable: false },
  NonceReplayed: { wire: 0x54, retryable: false },
  ClockSkew: { wire: 0x55, retryable: false },
  HandshakeTimeout: { wire: 0x56, retryable: true },
  HandshakeRequired: { wire: 0x57, retryable: false },
  HandshakeRepeated: { wire: 0x58, retryable: false },

  // One call or one stream.
  Cancelled: { wire: 0x80, retryable: false },
  DeadlineExceeded: { wire: 0x81, retryable: true },
  NoHandler: { wire: 0x82, retryable: false },
  HandlerFailed: { wire: 0x83, retryable: false },
  UnknownMessageType: { wire: 0x84, retryable: false },
  Overloaded: { wire: 0x85, retryable: true },
  MessageTooLarge: { wire: 0x86, retryable: false },
  StreamReset: { wire: 0x87, retryable: true },
  UnexpectedMessage: { wire: 0x88, retryable: false },
  CapabilityMissing: { wire: 0x89, retryable: false },
  MalformedMessage: { wire: 0x8a, retryable: false },
  Unauthorized: { wire: 0x8b, retryable: false },

  // Local use of the library; these never travel.
  InvalidOptions: { wire: 0xf0, retryable: false },
  InvalidArgument: { wire: 0xf1, retryable: false },
  NodeClosed: { wire: 0xf2, retryable: false },
  MigrationFailed: { wire: 0xf3, retryable: true },
  Superseded: { wire: 0xf4, retryable: false },
} as const satisfies Record<string, CodeEntry>;

/** A stable name of a failure; see {@link ERROR_CODES}. */
export type MeshErrorCode = keyof typeof ERROR_CODES;

/** Codes from this number on are for the user of the library, and never travel. */
const FIRST_LOCAL = 0xf0;

const nameByWire: ReadonlyMap<number, MeshErrorCode> = new Map(
  Object.entries(ERROR_CODES)
    .filter(([, { wire }]) => wire < FIRST_LOCAL)
    .map(([name, { wire }]) => [wire, name as MeshErrorCode]),
);

/** The wire number of a code; that of InternalError for one that never travels. */
export function wireCodeOf(code: MeshErrorCode): number {
  const { wire } = ERROR_CODES[code];
  return wire < FIRST_LOCAL ? wire : ERROR_CODES.InternalError.wire;
}

/** The code behind a wire number; `undefined` for numbers this version does not know. */
export function codeOfWire(wire: number): MeshErrorCode | undefined {
  return nameByWire.get(wire);
}

/** Whether a text from the wire names a code of this version that travels. */
export function isWireErrorCode(name: string): name is MeshErrorCode {
  return Object.hasOwn(ERROR_CODES, name) && ERROR_CODES[name as MeshErrorCode].wire < FIRST_LOCAL;
}

/** Which side decided that the thing failed. */
export type ErrorSide = 'local' | 'remote';

/** What a {@link MeshError} is made of besides its text. */
export interface MeshErrorDetails {
  /** Default `'local'`. */
  readonly side?: ErrorSide;
  /** Default: what the table says of the code. */
  readonly retryable?: boolean;
  /** Whether the other side may have executed the call although it failed here. Default false. */
  readonly maybeExecuted?: boolean;
  readonly cause?: unknown;
}

/**
 * The error that every part of quicmesh throws and rejects with.
 *
 * `code` is stable and meant for programs, `message` for people. Neither ever carries a key, a token or
 * the other side's stack.
 */
export class MeshError extends Error {
  override readonly name = 'MeshError';
  readonly code: MeshErrorCode;
  readonly side: ErrorSide;
  readonly retryable: boolean;
  readonly maybeExecuted: boolean;

  constructor(code: MeshErrorCode, message: string, details: MeshErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.side = details.side ?? 'local';
    this.retryable = details.retryable ?? ERROR_CODES[code].retryable;
    this.maybeExecuted = details.maybeExecuted ?? false;
  }
}

/**
 * Whether a dial has met another node than the one it looked for: its address is another's by now. It says nothing of the
 * node that was looked for. This side's own name that does not match is another matter: that is the peer's refusal.
 */
export function isMismatch({ code, side }: MeshError): boolean {
  return code === 'NodeIdMismatch' || (code === 'CertificateNameMismatch' && side === 'local');
}

/** Whether the other side has turned this one away for a reason that does not pass by itself. */
export function isRefusal(error: MeshError): boolean {
  return error.side === 'remote' && !error.retryable && !isMismatch(error);
}

/** Any thrown value as a {@link MeshError}: itself, or wrapped as the given code with the value as `cause`. */
export function toMeshError(thrown: unknown, code: MeshErrorCode = 'InternalError'): MeshError {
  return asMeshError(thrown) ?? new MeshError(code, textOf(thrown), { cause: thrown });
}

/**
 * A thrown value as the {@link MeshError} that it is, also where it is one of another copy of this package or of another
 * realm: then as one of this copy's. `undefined` for anything else. Never throws.
 */
export function asMeshError(thrown: unknown): MeshError | undefined {
  if (isInstance(thrown, MeshError)) return thrown;
  try {
    return isError(thrown) ? copyOfMeshError(thrown) : undefined;
  } catch {
    return undefined;
  }
}

/** @throws whatever its getters throw */
function copyOfMeshError(thrown: Error): MeshError | undefined {
  if (thrown.name !== 'MeshError') return undefined;
  const { code, message, side, retryable, maybeExecuted } = thrown as MeshError;
  if (typeof code !== 'string' || !Object.hasOwn(ERROR_CODES, code)) return undefined;
  return new MeshError(code, String(message), {
    side: side === 'remote' ? 'remote' : 'local',
    retryable: retryable === true,
    maybeExecuted: maybeExecuted === true,
    cause: thrown,
  });
}
