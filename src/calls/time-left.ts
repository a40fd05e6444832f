/** How long a caller waits for an answer, and how the peer learns of it. Pure. */
import { MeshError } from '../errors.js';
import type { Message } from '../protocol/message.js';

/** For calls without a `timeoutMs` of their own. */
export const DEFAULT_TIMEOUT_MS = 10_000;

/** The message with the time that is left for it. A ping has no such field and stays as it is. */
export function withTimeout(message: Message, timeoutMs: number): Message {
  if (timeoutMs > Number.MAX_SAFE_INTEGER || message.type === 'ping') return message;
  const ms = Math.ceil(timeoutMs);
  if ('timeoutMs' in message) return { ...message, timeoutMs: ms } as Message;
  // The new field comes first: V8 may search for a new shape each time an object grows after a spread.
  return { timeoutMs: ms, ...message } as Message;
}

/** Why a call is not made whose time is over. */
export function noTimeLeft(timeoutMs: number): MeshError {
  return new MeshError('DeadlineExceeded', `no time left: ${timeoutMs} ms`);
}
