/**
 * The priorities of calls: which go first on a shared connection. A priority belongs to the call as a whole, so the answer
 * has the same one. SPEC.md, "Priorities".
 */

/** Most urgent first. */
export const PRIORITIES = ['control', 'high', 'normal', 'bulk'] as const;

/** The priority of a call: which calls go first on a shared connection. */
export type Priority = (typeof PRIORITIES)[number];

/** The priority of a call that names none, by the type of its message. */
export function defaultPriority(type: string): Priority {
  return DEFAULTS[type] ?? 'normal';
}

/** The priority of a call, by its first message. */
export function priorityOf(message: {
  readonly type: string;
  readonly priority?: Priority;
}): Priority {
  return message.priority ?? defaultPriority(message.type);
}

/** Whether a value names a priority. */
export function isPriority(value: unknown): value is Priority {
  return PRIORITIES.includes(value as Priority);
}

/** All other types are `normal`. */
const DEFAULTS: Readonly<Partial<Record<string, Priority>>> = {
  handshakeRequest: 'control',
  ping: 'control',
  consensus: 'control',
  replicationLog: 'high',
  dataTransfer: 'bulk',
};
