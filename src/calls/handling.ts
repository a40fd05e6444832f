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
  /** It began before the process made any call: what it does is not followed. */
  isUnfollowed: boolean;
}

/** Of a call that a handler makes: `deeper` where a handler made the call that is handled, too. */
export type Nesting = 'first' | 'deeper';

/**
 * One for all nodes of a process: to follow what handlers do costs something for every promise. A process that only answers
 * pays nothing: handlers are followed from the first call on that the process makes. Where some run by then, that call
 * counts as theirs, and so do others that nobody can tell apart until those handlers are done.
 */
const handlings = new AsyncLocalStorage<Handling>();
const following = { hasBegun: false, unfollowed: 0 };

export function newHandling(): Handling {
  return { isNested: false, isOver: false, isUnfollowed: false };
}

/** Calls what is a handler's. What it leaves behind, such as timers, is its own until the handling is over. */
export function runHandling<A extends unknown[], T>(
  handling: Handling,
  run: (...input: A) => T,
  ...input: A
): T {
  if (handling.isUnfollowed) return run(...input);
  if (following.hasBegun) return handlings.run(handling, run, ...input);
  handling.isUnfollowed = true;
  following.unfollowed += 1;
  return run(...input);
}

/** The handler is done. Does nothing the second time. */
export function endHandling(handling: Handling): void {
  if (handling.isOver) return;
  handling.isOver = true;
  if (handling.isUnfollowed) following.unfollowed -= 1;
}

/** Whose a call is that is made now; `undefined`: no handler's, or that of one that is done. */
export function nestingOfCalls(): Nesting | undefined {
  following.hasBegun = true;
  const handling = handlings.getStore();
  if (handling === undefined) return following.unfollowed > 0 ? 'first' : undefined;
  if (handling.isOver) return undefined;
  return handling.isNested ? 'deeper' : 'first';
}
