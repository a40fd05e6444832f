/** Waiting with an AbortSignal. */
import { asMeshError, MeshError } from '../errors.js';

/** The error that an aborted wait rejects with; the signal's reason is its cause, or the error where it says Superseded. */
export function cancelledError(signal: AbortSignal): MeshError {
  const { reason } = signal;
  const known = asMeshError(reason);
  if (known?.code === 'Superseded') return known;
  return new MeshError('Cancelled', 'cancelled by the caller', { cause: reason });
}

/** Hears of a signal that fires, once. Must not throw. */
export type AbortListener = (signal: AbortSignal) => void;

/**
 * Those who wait for one signal, at one listener of its own: a signal may serve thousands of calls, and Node.js warns of a
 * leak where it has more than ten listeners.
 */
class AbortListeners {
  readonly #signal: AbortSignal;
  readonly #listeners = new Set<AbortListener>();

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  add(listener: AbortListener): void {
    if (this.#listeners.size === 0) {
      this.#signal.addEventListener('abort', this.#fired, { once: true });
    }
    this.#listeners.add(listener);
  }

  delete(listener: AbortListener): void {
    if (!this.#listeners.delete(listener) || this.#listeners.size > 0) return;
    this.#signal.removeEventListener('abort', this.#fired);
  }

  // A function: signals that a library brings may know no listeners that are objects.
  readonly #fired = (): void => {
    // One that is called may take others away.
    for (const listener of [...this.#listeners]) {
      if (this.#listeners.delete(listener)) listener(this.#signal);
    }
  };
}

/** Of signals that somebody waits for, or has. */
const bySignal = new WeakMap<AbortSignal, AbortListeners>();

/** Calls the listener when the signal fires; not for one that has fired already. */
export function onAbort(signal: AbortSignal, listener: AbortListener): void {
  let listeners = bySignal.get(signal);
  if (listeners === undefined) {
    listeners = new AbortListeners(signal);
    bySignal.set(signal, listeners);
  }
  listeners.add(listener);
}

/** The listener waits no more. */
export function offAbort(signal: AbortSignal, listener: AbortListener): void {
  bySignal.get(signal)?.delete(listener);
}

/** A signal that fires with the first of several. */
export interface JoinedSignal {
  readonly signal: AbortSignal;
  /** Lets go of the others, which may live much longer: to be called when nobody heeds this one any more. */
  release(): void;
}

/** Unlike `AbortSignal.any` it leaves nothing behind at signals that live on, and heeds those of other realms. */
export function joinSignals(...signals: readonly (AbortSignal | undefined)[]): JoinedSignal {
  const joined = new AbortController();
  const given = signals.filter((signal) => signal !== undefined);
  const release = (): void => {
    for (const signal of given) offAbort(signal, fire);
  };
  const fire = ({ reason }: AbortSignal): void => {
    release();
    joined.abort(reason);
  };
  const fired = given.find(({ aborted }) => aborted);
  if (fired !== undefined) joined.abort(fired.reason);
  else for (const signal of given) onAbort(signal, fire);
  return { signal: joined.signal, release };
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
    else onAbort(signal, abort);
    promise.then(resolve, reject).finally(() => offAbort(signal, abort));
  });
}
