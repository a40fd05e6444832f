/** The errors that calls fail with. Pure. */
import { isNeverExecuted, isWireErrorCode, MeshError } from '../errors.js';
import type { ErrorMessage } from '../protocol/message.js';

/** The error that an `error` message reports. */
export function errorOfMessage(message: ErrorMessage): MeshError {
  const code = isWireErrorCode(message.code) ? message.code : 'HandlerFailed';
  return new MeshError(code, message.text, {
    side: 'remote',
    maybeExecuted: !isNeverExecuted(code),
    ...(message.retryable === undefined ? {} : { retryable: message.retryable }),
  });
}

/** The error for what the peer sent where it had no place. */
export function unexpectedMessage(text: string, maybeExecuted = false): MeshError {
  return new MeshError('UnexpectedMessage', text, { side: 'remote', maybeExecuted });
}

/** The same error with that `maybeExecuted`: whether the other side may have run the call. */
export function withExecution(error: MeshError, maybeExecuted: boolean): MeshError {
  if (error.maybeExecuted === maybeExecuted) return error;
  const { code, message, side, retryable, cause = error } = error;
  return new MeshError(code, message, { side, retryable, maybeExecuted, cause });
}
