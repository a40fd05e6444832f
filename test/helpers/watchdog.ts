/**
 * Ends a test file that does not end by itself, and says what holds it. AVA alone may wait for ever: its own timeout looks
 * once, and passes over what hangs while any test of the run, even one that is done, had asked for more time.
 */
import { getActiveResourcesInfo } from 'node:process';

/** Several times what the longest file takes on a busy machine. */
const PATIENCE_MS = 240_000;

setTimeout(() => {
  const open = getActiveResourcesInfo().join(', ') || 'nothing';
  // AVA reports what is thrown here, and ends the process.
  throw new Error(`the file has not ended after ${PATIENCE_MS / 1000} s; still open: ${open}`);
}, PATIENCE_MS).unref();
