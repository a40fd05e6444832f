/** Waiting with an AbortSignal. */
import { MeshError } from '../errors.js';

/** The error that an aborted wait rejects with; the signal's reason is its cause, or the error where it says Superseded. */
export function cancelledError(signal: AbortSignal): MeshError {
  const { reason } = signal;
  if (reason instanceof MeshError && reason.code === 'Superseded') return reason;
  return new MeshError('Cancelled', 'cancelled by the caller', { cause: signal.reason });
}

/**
 * A promise that rejects as soon as the signal fires. What it waited for goes on; its outcome is ignored.
 * @throws MeshError Cancelled
 */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => reject(cancelledError(signal));
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
