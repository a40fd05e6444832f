/** How long a caller waits for an answer, and how the peer learns of it. Pure. */
import { MeshError } from '../errors.js';
import type { Message } from '../protocol/message.js';

/** Of calls that bring no `timeoutMs`. */
export const DEFAULT_TIMEOUT_MS = 10_000;

/** The message with the time left for it; a ping has no such field. */
export function withTimeout(message: Message, timeoutMs: number): Message {
  if (timeoutMs > Number.MAX_SAFE_INTEGER || message.type === 'ping') return message;
  const ms = Math.ceil(timeoutMs);
  if ('timeoutMs' in message) return { ...message, timeoutMs: ms } as Message;
  // In this order, since an engine may look for a new shape for every object that grows after it was spread.
  return { timeoutMs: ms, ...message } as Message;
}

/** A call without time left is not made. */
export function noTimeLeft(timeoutMs: number): MeshError {
  return new MeshError('DeadlineExceeded', `no time left: ${timeoutMs} ms`);
}
