/**
 * Makes a call again, on whichever connection there is then, when its connection was lost or the peer answered with a code
 * that is worth another attempt. Only while there is time, and only if the call did not run or is replay-safe.
 */

import { cancelledError, joinSignals, offAbort, onAbort } from '../../base/abortable.js';
import { isLoss, MeshError, toMeshError } from '../../errors.js';
import { delayCeilingMs } from '../../pool/backoff.js';
import type { KeptMessage } from '../../protocol/kept-message.js';
import type { Message } from '../../protocol/message.js';
import { withExecution } from '../call-errors.js';
import { DEFAULT_TIMEOUT_MS } from '../time-left.js';
import type { RetryCounters } from '../types.js';
import type { FailedCall, Recovery } from './failed-call.js';
import type { AttemptOptions } from './latest-calls.js';
import type { RetryBudget } from './retry-budget.js';
import { type RetryPolicy, selectPolicy } from './retry-policy.js';

/** One attempt at a call. */
export interface Attempt<T> {
  readonly result: Promise<T>;
  /** What carries the attempt: while it is open, a failure is the peer's answer. */
  readonly carrier: { readonly isOpen: boolean };
}

/** Makes calls of one kind to a peer. */
export interface Caller<T> {
  /**
   * Makes one attempt at a call, in the time that its options leave. If the attempt fails, `recovery` gives the result.
   * @throws MeshError where there is no way to the peer
   */
  attempt(message: Message, options: AttemptOptions, recovery?: Recovery<T>): Attempt<T>;
}

/** What the calls to one peer share. */
export interface RetryHost {
  /** For calls without a `retry` of their own. */
  readonly policy: RetryPolicy;
  readonly budget: RetryBudget;
  /** Increased in place. */
  readonly counters: RetryCounters;
  /** A random number from 0 up to 1. */
  readonly random: () => number;
  /** Whether another attempt would find a connection or a dial. */
  hasWay(): boolean;
  /** Fires when the peer is released, which ends all pauses. */
  released(): AbortSignal;
}

/**
 * Makes a call, and makes it again as the policy says.
 * @throws MeshError the last attempt's failure; InvalidArgument for a wrong policy
 */
export function callAgain<T>(
  caller: Caller<T>,
  message: Message,
  options: AttemptOptions,
  isReplaySafe: boolean,
  host: RetryHost,
): Promise<T> {
  const policy = selectPolicy(options.retry, host.policy);
  host.budget.deposit();
  if (policy === undefined) return caller.attempt(message, options).result;
  return new FirstAttempt(caller, options, policy, isReplaySafe, host).begin(message);
}

/** The first attempt at a call. A call that succeeds pays for this object and nothing more: thousands may be under way. */
class FirstAttempt<T> implements Recovery<T>, Plan<T> {
  readonly caller: Caller<T>;
  readonly options: AttemptOptions;
  readonly policy: RetryPolicy;
  readonly isReplaySafe: boolean;
  readonly host: RetryHost;
  readonly endMs: number;
  #carrier: Attempt<T>['carrier'] | undefined;

  constructor(
    caller: Caller<T>,
    options: AttemptOptions,
    policy: RetryPolicy,
    isReplaySafe: boolean,
    host: RetryHost,
  ) {
    const { timeoutMs = DEFAULT_TIMEOUT_MS } = options;
    this.caller = caller;
    this.options = options;
    this.policy = policy;
    this.isReplaySafe = isReplaySafe;
    this.host = host;
    // A whole number takes no memory of its own.
    this.endMs = Math.floor(performance.now() + timeoutMs);
  }

  begin(message: Message): Promise<T> {
    const { result, carrier } = this.caller.attempt(message, this.options, this);
    this.#carrier = carrier;
    return result;
  }

  async recover(error: MeshError, call: FailedCall): Promise<T> {
    const kept = isPassing(error, this.policy) ? call.keepMessage() : undefined;
    // An attempt may fail synchronously, before its carrier is known.
    await undefined;
    return repeat(this.#carrier as Attempt<T>['carrier'], error, this, kept);
  }
}

/** What all attempts at a call have in common. */
interface Plan<T> {
  readonly caller: Caller<T>;
  readonly options: AttemptOptions;
  readonly policy: RetryPolicy;
  readonly isReplaySafe: boolean;
  readonly host: RetryHost;
  readonly endMs: number;
}

/** Whether another attempt may help, going by the failure of the last one. */
function isPassing({ code, side }: MeshError, { codes }: RetryPolicy): boolean {
  return isLoss(code) || (side === 'remote' && codes.includes(code));
}

/**
 * @param first what carried the attempt that has failed
 * @param kept the call's message, if it got as far as being encoded
 * @throws MeshError what the last attempt failed with
 */
async function repeat<T>(
  first: Attempt<T>['carrier'],
  error: MeshError,
  { caller, options, policy, isReplaySafe, host, endMs }: Plan<T>,
  kept: KeptMessage | undefined,
): Promise<T> {
  let carrier = first;
  let failure = error;
  let maybeExecuted = false;
  for (let attempts = 1; ; attempts += 1) {
    maybeExecuted ||= failure.maybeExecuted;
    const wasLost = isLoss(failure.code) && !carrier.isOpen;
    const isWorth = wasLost || (failure.side === 'remote' && policy.codes.includes(failure.code));
    const pauseMs = host.random() * delayCeilingMs(policy, attempts - 1);
    const isOver = attempts >= policy.attempts || performance.now() + pauseMs >= endMs;
    if (!isWorth || isOver || (maybeExecuted && !isReplaySafe)) {
      throw withExecution(failure, maybeExecuted);
    }
    // A message that never left has added nothing to the peer's load: another attempt costs no token.
    const isFree = wasLost && !failure.maybeExecuted;
    if (!isFree && !host.budget.hasToken) throw denied(failure, maybeExecuted, host);
    await pause(pauseMs, { signal: options.signal, released: host.released(), maybeExecuted });
    // Streams learn of a loss before the pool does, so only after the pause is the answer right.
    if (!host.hasWay()) throw withExecution(failure, maybeExecuted);
    // Large byte strings stay in the caller's memory. If they were changed, the message cannot be sent again.
    if (kept?.isIntact !== true) throw withExecution(failure, maybeExecuted);
    if (!isFree && !host.budget.take()) throw denied(failure, maybeExecuted, host);
    host.counters.attempts += 1;
    try {
      const timeoutMs = endMs - performance.now();
      const made = caller.attempt(kept.message, { ...options, timeoutMs });
      carrier = made.carrier;
      return await made.result;
    } catch (thrown) {
      failure = toMeshError(thrown);
    }
  }
}

function denied(failure: MeshError, maybeExecuted: boolean, { counters }: RetryHost): MeshError {
  counters.denied += 1;
  const { code, message, side, retryable } = failure;
  const text = `${message} (not tried again: the retry budget is spent)`;
  return new MeshError(code, text, { side, retryable, maybeExecuted, cause: failure });
}

/** What ends a pause early. */
export interface PauseOptions {
  /** The caller gives up. */
  readonly signal: AbortSignal | undefined;
  /** The peer is released: the pause ends without an error. */
  readonly released: AbortSignal;
  /** Whether the call may have run. */
  readonly maybeExecuted: boolean;
}

/** Waits, unless something ends the wait early. @throws MeshError Cancelled */
export function pause(
  ms: number,
  { signal, released, maybeExecuted }: PauseOptions,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const { signal: ended, release } = joinSignals(signal, released);
    const done = () => {
      clearTimeout(timer);
      release();
      offAbort(ended, done);
      if (signal?.aborted) reject(withExecution(cancelledError(signal), maybeExecuted));
      else resolve();
    };
    const timer = setTimeout(done, ms);
    if (ended.aborted) done();
    else onAbort(ended, done);
  });
}
