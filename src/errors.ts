/**
 * The one error type of quicmesh.
 *
 * Every failure that a caller can meet is a {@link MeshError} with a stable `code`, so that both sides of a connection name
 * the same failure the same way, over QUIC and over TCP. What goes by a code alone is in its table, `base/error-codes.ts`;
 * what also goes by the side is here.
 */
import { types } from 'node:util';
import {
  isErrorCode,
  isOffenceCode,
  isRefusalCode,
  isRetryable,
  type MeshErrorCode,
} from './base/error-codes.js';
import { handleRejection, isError, isInstance, textOf } from './base/realms.js';

export {
  codeOfWire,
  ERROR_CODES,
  isAboutCertificate,
  isLoss,
  isNeverExecuted,
  isOrderly,
  isOwnFault,
  isUnreached,
  isViolation,
  isWireErrorCode,
  type MeshErrorCode,
  wireCodeOf,
} from './base/error-codes.js';

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
    this.retryable = details.retryable ?? isRetryable(code);
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
export function isLastingRefusal(error: MeshError): boolean {
  return error.side === 'remote' && !error.retryable && !isMismatch(error);
}

/** Whether the peer closed a connection without ever having accepted it: none of the calls on it ran. */
export function wasNeverAccepted({ code, side }: MeshError): boolean {
  return side === 'remote' && isRefusalCode(code);
}

/** Whether this side ended a connection over what its peer, which was let in, sent. */
export function isOffence({ code, side }: MeshError): boolean {
  return side === 'local' && isOffenceCode(code);
}

/**
 * Any thrown value as a {@link MeshError}: itself, or wrapped as the given code with the value as `cause`. Never throws,
 * whatever was thrown.
 */
export function toMeshError(thrown: unknown, code: MeshErrorCode = 'InternalError'): MeshError {
  const known = asMeshError(thrown);
  if (known !== undefined) return known;
  // Whoever throws a promise that is rejected has nobody wait for it.
  handleRejection(thrown);
  return new MeshError(code, textOf(thrown), { cause: thrown });
}

/**
 * A thrown value as the {@link MeshError} that it is, also where it is one of another copy of this package or of another
 * realm: then as one of this copy's. `undefined` for anything else. Never throws.
 */
export function asMeshError(thrown: unknown): MeshError | undefined {
  try {
    if (isSound(thrown)) return thrown;
    return isError(thrown) ? copyOfMeshError(thrown) : undefined;
  } catch {
    return undefined;
  }
}

const FIELDS = ['code', 'message', 'side', 'retryable', 'maybeExecuted'] as const;

/**
 * Whether a value is an error of this copy whose fields can be read at any time. A proxy, a getter that somebody put in
 * place of a field, and an object that only inherits from the class may throw or lie.
 */
function isSound(value: unknown): value is MeshError {
  if (!isInstance(value, MeshError) || types.isProxy(value)) return false;
  for (const name of FIELDS) {
    if (Object.getOwnPropertyDescriptor(value, name)?.value === undefined) return false;
  }
  return isErrorCode(value.code) && typeof value.message === 'string';
}

/** @throws whatever its getters throw */
function copyOfMeshError(thrown: Error): MeshError | undefined {
  if (thrown.name !== 'MeshError') return undefined;
  const { code, message, side, retryable, maybeExecuted } = thrown as Partial<MeshError>;
  if (!isErrorCode(code)) return undefined;
  return new MeshError(code, String(message), {
    side: side === 'remote' ? 'remote' : 'local',
    retryable: retryable === true,
    maybeExecuted: maybeExecuted === true,
    cause: thrown,
  });
}
