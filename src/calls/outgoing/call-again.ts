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
import type { FailedCall, Recover } from './failed-call.js';
import type { AttemptOptions } from './latest-calls.js';
import type { RetryBudget } from './retry-budget.js';
import { type RetryPolicy, selectPolicy } from './retry-policy.js';

/** One attempt at a call. */
export interface Attempt<T> {
  readonly result: Promise<T>;
  /** What carries the attempt: while it is open, a failure is the peer's answer. */
  readonly carrier: { readonly isOpen: boolean };
}

/**
 * Makes one attempt at a call, in the time that its options leave. If the attempt fails, `recover` gives the result.
 * `message` is what an earlier attempt has kept: the caller may have changed its own by now.
 */
export type MakeAttempt<T> = (
  options: AttemptOptions,
  recover?: Recover<T>,
  message?: Message,
) => Attempt<T>;

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
  attempt: MakeAttempt<T>,
  options: AttemptOptions,
  isReplaySafe: boolean,
  host: RetryHost,
): Promise<T> {
  const { timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  const policy = selectPolicy(options.retry, host.policy);
  host.budget.deposit();
  if (policy === undefined) return attempt(options).result;
  const endMs = performance.now() + timeoutMs;
  // A call that succeeds pays for this closure and nothing more.
  const recover = async (error: MeshError, call: FailedCall): Promise<T> => {
    const kept = isPassing(error, policy) ? call.keepMessage() : undefined;
    // An attempt may fail synchronously, before `first` is assigned.
    await undefined;
    return repeat(first, error, { attempt, options, policy, isReplaySafe, host, endMs, kept });
  };
  const first = attempt(options, recover);
  return first.result;
}

interface Repetition<T> {
  readonly attempt: MakeAttempt<T>;
  readonly options: AttemptOptions;
  readonly policy: RetryPolicy;
  readonly isReplaySafe: boolean;
  readonly host: RetryHost;
  readonly endMs: number;
  /** The call's message, if it got as far as being encoded. */
  readonly kept: KeptMessage | undefined;
}

/** Whether another attempt may help, going by the failure of the last one. */
function isPassing({ code, side }: MeshError, { codes }: RetryPolicy): boolean {
  return isLoss(code) || (side === 'remote' && codes.includes(code));
}

/** @throws MeshError what the last attempt failed with */
async function repeat<T>(
  failed: Attempt<T>,
  error: MeshError,
  { attempt, options, policy, isReplaySafe, host, endMs, kept }: Repetition<T>,
): Promise<T> {
  let made = failed;
  let failure = error;
  let maybeExecuted = false;
  for (let attempts = 1; ; attempts += 1) {
    maybeExecuted ||= failure.maybeExecuted;
    const wasLost = isLoss(failure.code) && !made.carrier.isOpen;
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
      made = attempt({ ...options, timeoutMs }, undefined, kept.message);
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
