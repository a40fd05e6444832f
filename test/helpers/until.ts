/** Longer than a busy machine takes, shorter than the patience of a test. */
const LIMIT_MS = 30_000;

/** Waits, turn by turn of the event loop, for something that no callback tells of. @throws Error when it does not come */
export async function until(condition: () => boolean, limitMs = LIMIT_MS): Promise<void> {
  const deadlineMs = performance.now() + limitMs;
  while (!condition()) {
    if (performance.now() > deadlineMs)
      throw new Error(`not so within ${limitMs} ms: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
