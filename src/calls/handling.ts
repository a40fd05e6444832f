/**
 * Knows whether code runs within a handler.
 *
 * A call that a handler makes could deadlock: it would wait for room that calls hold whose answers wait for this very
 * handler. Such nested calls therefore have a budget of their own. Where that is used up, a call at the first level of
 * nesting waits and a deeper one fails at once. So a call that waits only ever waits for calls that do not wait themselves.
 */
import { AsyncLocalStorage } from 'node:async_hooks';

/** One run of a handler. */
export interface Handling {
  /** Whether a handler made the call that is handled. */
  isNested: boolean;
  isOver: boolean;
  /** It began before the process made any call, so its async context is not followed. */
  isUnfollowed: boolean;
}

/** How deep a handler's call is: `deeper` where the call that it handles was made by a handler too. */
export type Nesting = 'first' | 'deeper';

/**
 * One storage for all nodes of a process, because following an async context costs something for every promise. A process
 * that only answers pays nothing: handlers are followed from the first call that the process makes. Handlers that run at
 * that moment are not followed, so until they are done every call that no followed handler makes counts as theirs.
 */
const handlings = new AsyncLocalStorage<Handling>();
const following = { hasBegun: false, unfollowed: 0 };

export function newHandling(): Handling {
  return { isNested: false, isOver: false, isUnfollowed: false };
}

/** Runs code of a handler. Calls from there, also from timers that it leaves behind, are its own until the handling ends. */
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

/** The handler is done. A second call does nothing. */
export function endHandling(handling: Handling): void {
  if (handling.isOver) return;
  handling.isOver = true;
  if (handling.isUnfollowed) following.unfollowed -= 1;
}

/** The nesting of a call that is made now; `undefined` where no handler makes it, or one that is done already. */
export function nestingOfCalls(): Nesting | undefined {
  following.hasBegun = true;
  const handling = handlings.getStore();
  if (handling === undefined) return following.unfollowed > 0 ? 'first' : undefined;
  if (handling.isOver) return undefined;
  return handling.isNested ? 'deeper' : 'first';
}
