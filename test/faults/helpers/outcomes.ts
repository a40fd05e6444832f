/** What the outcomes of calls must be, whatever happened meanwhile. */
import type { ExecutionContext } from 'ava';
import type { Outcome } from './protocol.js';

/** Every call has settled, no later than its time and so much more. */
export function assertAllSettled(
  t: ExecutionContext,
  outcomes: readonly Outcome[],
  limitMs = Number.POSITIVE_INFINITY,
): void {
  const answered = outcomes.filter(wasAnswered).length;
  const failed = outcomes.filter(({ code }) => code !== undefined).length;
  t.is(answered + failed, outcomes.length, 'calls that never settled');
  t.is(new Set(outcomes.map(({ id }) => id)).size, outcomes.length);
  const late = outcomes.filter((outcome) => tookMs(outcome) > limitMs);
  t.deepEqual(some(late.map(describe)), [], `took over ${limitMs} ms`);
}

export function assertAllAnswered(t: ExecutionContext, outcomes: readonly Outcome[]): void {
  t.deepEqual(some(outcomes.filter((outcome) => !wasAnswered(outcome)).map(describe)), []);
}

/**
 * What was executed is what the callers believe: what was answered at least once, what surely was not executed never,
 * and nothing twice that is not replay-safe.
 */
export function assertExecutions(
  t: ExecutionContext,
  outcomes: readonly Outcome[],
  executions: ReadonlyMap<string, number>,
): void {
  const wrong = outcomes.filter((outcome) => {
    const times = executions.get(outcome.id) ?? 0;
    if (times > 1 && !outcome.isReplaySafe) return true;
    if (wasAnswered(outcome)) return times === 0;
    return outcome.maybeExecuted === false && times > 0;
  });
  t.deepEqual(
    some(wrong.map((outcome) => `${executions.get(outcome.id) ?? 0} times: ${describe(outcome)}`)),
    [],
  );
}

/** From a moment to the first answer to a call that began after it; `undefined` when there was none. */
export function backAfterMs(outcomes: readonly Outcome[], sinceMs: number): number | undefined {
  const settled = outcomes
    .filter((outcome) => outcome.beganMs > sinceMs && wasAnswered(outcome))
    .map(({ settledMs = 0 }) => settledMs);
  return settled.length === 0 ? undefined : Math.min(...settled) - sinceMs;
}

/** For the log. */
export function summarize(outcomes: readonly Outcome[]): string {
  const times = outcomes.filter(wasAnswered).map(tookMs);
  times.sort((a, b) => a - b);
  const at = (share: number) =>
    `${(times[Math.floor(share * (times.length - 1))] ?? 0).toFixed(1)} ms`;
  const codes = new Map<string, number>();
  for (const { code } of outcomes) if (code) codes.set(code, (codes.get(code) ?? 0) + 1);
  const failures = [...codes].map(([code, count]) => `, ${count} ${code}`).join('');
  const percentiles = `p50 ${at(0.5)}, p99 ${at(0.99)}, at most ${at(1)}`;
  return `${outcomes.length} calls, ${times.length} answered${failures}; ${percentiles}`;
}

export function wasAnswered({ settledMs, code }: Outcome): boolean {
  return settledMs !== undefined && code === undefined;
}

/** Of many, those that tell enough. */
function some(texts: readonly string[]): readonly string[] {
  if (texts.length <= MAX_TOLD) return texts;
  return [...texts.slice(0, MAX_TOLD), `and ${texts.length - MAX_TOLD} more`];
}

const MAX_TOLD = 10;

function tookMs({ beganMs, settledMs = Number.POSITIVE_INFINITY }: Outcome): number {
  return settledMs - beganMs;
}

function describe(outcome: Outcome): string {
  const { id, isReplaySafe, code = 'answered', maybeExecuted } = outcome;
  const traits = [isReplaySafe && 'replay-safe', maybeExecuted && 'maybe executed'];
  return [id, code, `after ${tookMs(outcome).toFixed(0)} ms`, ...traits.filter(Boolean)].join(', ');
}
