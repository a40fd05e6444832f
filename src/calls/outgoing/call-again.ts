/**
 * Makes a call again when its connection was lost, or the peer's answer is one of those that pass, on whichever connection
 * there is then: as long as there is time, and only if it has not run or does no harm where it is run twice.
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
  /** What it goes by: while that is open, a failure is the peer's answer. */
  readonly carrier: { readonly isOpen: boolean };
}

/**
 * Makes a call in the time that its options leave it; `recover` gives the result where it fails. `message` is what an attempt
 * before has kept of the caller's, which may be another one by now.
 */
export type MakeAttempt<T> = (
  options: AttemptOptions,
  recover?: Recover<T>,
  message?: Message,
) => Attempt<T>;

/** What the calls to one peer share. */
export interface RetryHost {
  /** For calls that bring none of their own. */
  readonly policy: RetryPolicy;
  readonly budget: RetryBudget;
  /** Counted up in place. */
  readonly counters: RetryCounters;
  /** From 0 up to 1. */
  readonly random: () => number;
  /** Whether another attempt would have a connection, or a dial, to go by. */
  hasWay(): boolean;
  /** Fires when the peer is not wanted any more: no pause goes on. */
  released(): AbortSignal;
}

/** @throws MeshError what the last attempt failed with; InvalidArgument for a policy that is none */
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
  // All that most calls have of this.
  const recover = async (error: MeshError, call: FailedCall): Promise<T> => {
    const kept = isPassing(error, policy) ? call.keepMessage() : undefined;
    // One that fails at once does so before there is an attempt.
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
  /** The message, where any of it is known. */
  readonly kept: KeptMessage | undefined;
}

/** Whether there may be use in another attempt, going by what the one before failed with. */
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
    // What never reached the peer adds nothing to its load: that is no further attempt but the first, still to come.
    const isFree = wasLost && !failure.maybeExecuted;
    if (!isFree && !host.budget.hasToken) throw denied(failure, maybeExecuted, host);
    await pause(pauseMs, { signal: options.signal, released: host.released(), maybeExecuted });
    // Streams hear of a loss before the connection is done with it: asked only now, the answer is right.
    if (!host.hasWay()) throw withExecution(failure, maybeExecuted);
    // Large byte strings are the caller's memory: where they were changed, what was asked for is gone.
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

/** What ends a pause before its time. */
export interface PauseOptions {
  /** The caller's: it gives up. */
  readonly signal: AbortSignal | undefined;
  /** Nothing comes of waiting on. */
  readonly released: AbortSignal;
  /** Whether the call may have run. */
  readonly maybeExecuted: boolean;
}

/** @throws MeshError Cancelled */
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
