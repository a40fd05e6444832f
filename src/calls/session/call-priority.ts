/** The priority that a caller chose for a call, and how the other side learns of it. SPEC.md, "Priorities". */
import { MeshError } from '../../errors.js';
import type { DataTransfer } from '../../protocol/message.js';
import { defaultPriority, isPriority, type Priority } from '../../protocol/priority.js';
import type { RequestMessage } from '../types.js';

type CallMessage = RequestMessage | DataTransfer;

/** The message with the chosen priority. The default of its type does not travel, and a ping has no such field. */
export function withPriority<M extends CallMessage>(message: M, chosen: Priority | undefined): M {
  if (chosen === undefined || message.type === 'ping') return message;
  const { priority } = message as { readonly priority?: Priority };
  if (chosen === priority) return message;
  if (chosen !== defaultPriority(message.type)) return { ...message, priority: chosen };
  return priority === undefined ? message : { ...message, priority: undefined };
}

/** Why a call cannot have the priority that its options or its message name; `undefined` if it can. */
export function priorityRefusal(
  message: CallMessage,
  chosen: Priority | undefined,
): MeshError | undefined {
  const priority = chosen ?? ('priority' in message ? message.priority : undefined);
  if (priority === undefined || isPriority(priority)) return undefined;
  return new MeshError('InvalidArgument', `there is no priority ${JSON.stringify(priority)}`);
}
