/** Calls that are sent twice, so that one lost packet does not delay them: which calls may be. SPEC.md, "Redundancy". */

import { MeshError } from '../errors.js';
import { MAX_COPY_BYTES } from '../protocol/copy-window.js';
import type { Priority } from '../protocol/priority.js';

/** How often a call is sent. */
export type Redundancy = 1 | 2;

/** Why a call cannot have the redundancy that its options name; `undefined` if it can. */
export function redundancyRefusal(
  chosen: Redundancy | undefined,
  priority: Priority,
): MeshError | undefined {
  if (chosen === undefined || chosen === 1) return undefined;
  if (chosen !== 2) return new MeshError('InvalidArgument', 'redundancy must be 1 or 2');
  if (priority === 'control') return undefined;
  const text = `only calls of priority control are sent twice, and this one is ${priority}`;
  return new MeshError('InvalidArgument', text);
}

/**
 * Of a call whose caller asked for two copies.
 * @throws MeshError InvalidArgument where its message is too large for that
 */
export function checkCopyBytes(bytes: number): void {
  if (bytes <= MAX_COPY_BYTES) return;
  const text = `a message of ${bytes} bytes is not sent twice: ${MAX_COPY_BYTES} are the most`;
  throw new MeshError('InvalidArgument', text);
}

/** Reason of the reset of a copy that has not left when the call is answered. */
export const ANSWERED_TEXT = 'the other copy was answered';
