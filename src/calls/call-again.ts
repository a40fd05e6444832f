/**
 * Makes a call again when its connection was lost, on the connection that takes its place: as long as there is time, and
 * only if it has not left this node or does no harm where it is run twice.
 */
import { type MeshError, type MeshErrorCode, toMeshError } from '../errors.js';
import { cancelledError } from '../transport/abortable.js';
import { DEFAULT_TIMEOUT_MS, type Recover, withExecution } from './outgoing-call.js';
import type { CallOptions } from './types.js';

/** What ends a connection, or a dial, without anybody's decision. */
const LOSSES: ReadonlySet<MeshErrorCode> = new Set<MeshErrorCode>([
  'ConnectionLost',
  'IdleTimeout',
  'ConnectTimeout',
  'ConnectFailed',
  'HandshakeTimeout',
  // The peer shuts down, and is expected back.
  'GoingAway',
]);

const MIN_PAUSE_MS = 20;
const MAX_PAUSE_MS = 1000;
/** For calls that have all the time in the world. */
const MAX_ATTEMPTS = 30;

/** Whether a connection was lost, not closed. */
export function isLoss(code: MeshErrorCode): boolean {
  return LOSSES.has(code);
}

/** One attempt at a call. */
export interface Attempt<T> {
  readonly result: Promise<T>;
  /** What it goes by: while that is open, a failure is the peer's answer. */
  readonly carrier: { readonly isOpen: boolean };
}

/** Makes a call in the time that its options leave it; `recover` gives the result where it fails. */
export type MakeAttempt<T> = (options: CallOptions, recover?: Recover<T>) => Attempt<T>;

/**
 * @param hasWay whether another attempt would have a connection, or a dial, to go by
 * @throws MeshError what the last attempt failed with
 */
export function callAgain<T>(
  attempt: MakeAttempt<T>,
  options: CallOptions,
  isReplaySafe: boolean,
  hasWay: () => boolean,
): Promise<T> {
  const { timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  const endMs = performance.now() + timeoutMs;
  // All that most calls have of this.
  const recover = async (error: MeshError): Promise<T> => {
    // One that fails at once does so before there is an attempt.
    await undefined;
    return repeat(first, error, { attempt, options, isReplaySafe, hasWay, endMs });
  };
  const first = attempt(options, recover);
  return first.result;
}

interface Repetition<T> {
  readonly attempt: MakeAttempt<T>;
  readonly options: CallOptions;
  readonly isReplaySafe: boolean;
  readonly hasWay: () => boolean;
  readonly endMs: number;
}

/** @throws MeshError what the last attempt failed with */
async function repeat<T>(
  failed: Attempt<T>,
  error: MeshError,
  { attempt, options, isReplaySafe, hasWay, endMs }: Repetition<T>,
): Promise<T> {
  let made = failed;
  let failure = error;
  let maybeExecuted = false;
  for (let attempts = 1, pauseMs = MIN_PAUSE_MS; ; attempts += 1, pauseMs *= 2) {
    maybeExecuted ||= failure.maybeExecuted;
    const mayRepeat = isLoss(failure.code) && (isReplaySafe || !maybeExecuted);
    const nextMs = performance.now() + Math.min(pauseMs, MAX_PAUSE_MS);
    const isOver = made.carrier.isOpen || attempts === MAX_ATTEMPTS || nextMs >= endMs;
    if (mayRepeat && !isOver) await pause(nextMs - performance.now(), options.signal);
    // Streams hear of a loss before the connection is done with it: asked only now, the answer is right.
    if (!mayRepeat || isOver || !hasWay()) throw withExecution(failure, maybeExecuted);
    made = attempt({ ...options, timeoutMs: endMs - performance.now() });
    try {
      return await made.result;
    } catch (thrown) {
      failure = toMeshError(thrown);
    }
  }
}

/** @throws MeshError Cancelled */
function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      if (signal?.aborted) reject(cancelledError(signal));
      else resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener('abort', done, { once: true });
    if (signal?.aborted) done();
  });
}
