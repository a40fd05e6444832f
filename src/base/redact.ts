/** Objects that hold secrets, and do not show them where they are printed. */
import { inspect } from 'node:util';

const HIDDEN = '[hidden]';

/**
 * Lets `util.inspect`, and so `console.log`, and `JSON.stringify` show some fields of an object as hidden. The fields
 * themselves stay as they are. Copies made by spreading do not have that.
 */
export function hideFields<T extends object>(object: T, secrets: readonly (keyof T)[]): T {
  const shown = (): object => {
    const copy: Partial<Record<keyof T, unknown>> = { ...object };
    for (const name of secrets) if (copy[name] !== undefined) copy[name] = HIDDEN;
    return copy;
  };
  return Object.defineProperties(object, {
    [inspect.custom]: { value: shown },
    toJSON: { value: shown },
  });
}
