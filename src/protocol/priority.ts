/**
 * The classes of calls: what goes first where calls share a connection. A class is of the call as a whole: its answer
 * goes at the same one. SPEC.md, "Priorities".
 */

/** From the most urgent on. */
export const PRIORITIES = ['control', 'high', 'normal', 'bulk'] as const;

/** The class of a call: what goes first where calls share a connection. */
export type Priority = (typeof PRIORITIES)[number];

/** The class of a call that says nothing of its own, by the type of its message. */
export function defaultPriority(type: string): Priority {
  return DEFAULTS[type] ?? 'normal';
}

/** The class of a call, by its first message. */
export function priorityOf(message: {
  readonly type: string;
  readonly priority?: Priority;
}): Priority {
  return message.priority ?? defaultPriority(message.type);
}

/** Whether a value names a class. */
export function isPriority(value: unknown): value is Priority {
  return PRIORITIES.includes(value as Priority);
}

/** All other types are normal. */
const DEFAULTS: Readonly<Partial<Record<string, Priority>>> = {
  handshakeRequest: 'control',
  ping: 'control',
  consensus: 'control',
  replicationLog: 'high',
  dataTransfer: 'bulk',
};
