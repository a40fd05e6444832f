/**
 * Whether code runs within a handler. A call that a handler makes must not wait for those whose answers wait for it: it has
 * room of its own. Where that is taken, a call of a handler whose own call no handler made waits, and a deeper one fails at
 * once: so whatever a waiting call waits for ends, since nothing that it needs waits for room itself.
 */
import { AsyncLocalStorage } from 'node:async_hooks';

/** One run of a handler. */
export interface Handling {
  /** The call that is handled is a handler's. */
  isNested: boolean;
  isOver: boolean;
}

/** Of a call that a handler makes: `deeper` where a handler made the call that is handled, too. */
export type Nesting = 'first' | 'deeper';

/** One for all nodes of a process: each that there is costs something for every promise. */
const handlings = new AsyncLocalStorage<Handling>();

/** Calls what is a handler's. What it leaves behind, such as timers, is its own until the handling is over. */
export function runHandling<A extends unknown[], T>(
  handling: Handling,
  run: (...input: A) => T,
  ...input: A
): T {
  return handlings.run(handling, run, ...input);
}

/** Whose a call is that is made now; `undefined`: no handler's, or that of one that is done. */
export function nestingOfCalls(): Nesting | undefined {
  const handling = handlings.getStore();
  if (handling === undefined || handling.isOver) return undefined;
  return handling.isNested ? 'deeper' : 'first';
}
