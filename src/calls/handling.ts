/**
 * Whether code runs within a handler. A call that a handler makes must not wait for those whose answers wait for it: it has
 * room of its own.
 */
import { AsyncLocalStorage } from 'node:async_hooks';

/** One run of a handler. */
export interface Handling {
  isOver: boolean;
}

/** One for all nodes of a process: each that there is costs something for every promise. */
const handlings = new AsyncLocalStorage<Handling>();

/** Runs what is a handler's. What it leaves behind, such as timers, is its own until the handling is over. */
export function runHandling<T>(handling: Handling, run: () => T): T {
  return handlings.run(handling, run);
}

/** Whether a call that is made now is made by a handler, which is not done. */
export function isHandling(): boolean {
  return handlings.getStore()?.isOver === false;
}
