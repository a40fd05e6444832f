/** One clock for every process of a test. */
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Milliseconds on the machine's monotonic clock. Unlike `performance.now()`, which counts from the start of each
 * process, it can be compared between processes.
 */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Waits for a moment of {@link monotonicMs}; the last part of it awake, because timers are late. */
export async function sleepUntil(atMs: number): Promise<void> {
  const ahead = atMs - monotonicMs() - AWAKE_MS;
  if (ahead > 0) await sleep(ahead);
  while (monotonicMs() < atMs);
}

/** Asks until there is an answer, for so long at most. @returns `undefined` when there is none in time */
export async function eventually<T>(
  ask: () => Promise<T | undefined> | T | undefined,
  limitMs: number,
): Promise<T | undefined> {
  const endMs = monotonicMs() + limitMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined || monotonicMs() > endMs) return answer;
    await sleep(ASK_EVERY_MS);
  }
}

const AWAKE_MS = 3;
const ASK_EVERY_MS = 20;
