/** Waiting with an AbortSignal. */

import { asMeshError, MeshError } from '../errors.js';
import { LazySet } from './lazy-collections.js';
import { handleRejection } from './realms.js';

/** The error of an aborted wait: Cancelled with the signal's reason as `cause`, or the reason itself if it is Superseded. */
export function cancelledError(signal: AbortSignal): MeshError {
  const { reason } = signal;
  const known = asMeshError(reason);
  handleRejection(reason);
  if (known?.code === 'Superseded') return known;
  return new MeshError('Cancelled', 'cancelled by the caller', { cause: reason });
}

/** Called once, when a signal fires. Must not throw. */
export type AbortListener = (signal: AbortSignal) => void;

/**
 * All who wait for one signal, behind a single event listener. A signal may serve thousands of calls, and Node.js warns of
 * a leak where a signal has more than ten listeners.
 */
class AbortListeners {
  readonly #signal: AbortSignal;
  readonly #listeners = new LazySet<AbortListener>();

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

  // A function and no object: a library's own signals may not support listener objects.
  readonly #fired = (): void => {
    // Iterate over a copy: a listener may remove others.
    for (const listener of [...this.#listeners]) {
      if (this.#listeners.delete(listener)) listener(this.#signal);
    }
  };
}

/** By signal. An entry lives as long as its signal does. */
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

/** Removes the listener. */
export function offAbort(signal: AbortSignal, listener: AbortListener): void {
  bySignal.get(signal)?.delete(listener);
}

/** A signal that fires with the first of several. */
export interface JoinedSignal {
  readonly signal: AbortSignal;
  /** Removes the listeners from the other signals, which may live much longer. To be called when this one is not needed. */
  release(): void;
}

/** Joins signals. Unlike `AbortSignal.any` it leaves no listeners behind, and takes signals of other realms. */
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
 * Like `promise`, but rejects as soon as the signal fires. What `promise` stands for goes on, and its outcome is ignored.
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
