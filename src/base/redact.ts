/** Keeps secrets out of what prints an object. */
import { inspect } from 'node:util';

const REDACTED = '[redacted]';

/**
 * Makes `util.inspect` (and so `console.log`) and `JSON.stringify` print `[redacted]` in place of some fields. The fields
 * keep their values. A copy made by spreading prints them again.
 */
export function redactFields<T extends object>(object: T, secrets: readonly (keyof T)[]): T {
  const shown = (): object => {
    const copy: Partial<Record<keyof T, unknown>> = { ...object };
    for (const name of secrets) if (copy[name] !== undefined) copy[name] = REDACTED;
    return copy;
  };
  return Object.defineProperties(object, {
    [inspect.custom]: { value: shown },
    toJSON: { value: shown },
  });
}
