/**
 * What options are made of. Each piece says of a wrong value what is allowed. None says what was given: that may be a
 * secret.
 */
import { z } from 'zod';
import { MAX_TIMER_MS } from '../../base/clock.js';

/** An object whose keys are all known. */
export function group<T extends z.core.$ZodLooseShape>(shape: T, description?: string) {
  const allowed = Object.keys(shape).join(', ');
  return z.strictObject(shape, {
    error(issue) {
      if (issue.code !== 'unrecognized_keys')
        return description ?? `must be an object (allowed keys: ${allowed})`;
      const unknown = issue.keys.map(quoted).join(', ');
      return `unknown key${issue.keys.length > 1 ? 's' : ''} ${unknown} (allowed: ${allowed})`;
    },
  });
}

/** @param unit in the plural, as the message says it */
export function wholeNumber(min: number, max: number, unit?: string) {
  const of = unit === undefined ? '' : ` of ${unit}`;
  const message = `must be a whole number${of} from ${min} to ${max}`;
  return z.number(message).refine((value) => isWholeNumber(value, min, max), message);
}

export function isWholeNumber(value: unknown, min: number, max: number): boolean {
  return Number.isInteger(value) && min <= Number(value) && Number(value) <= max;
}

export const durationMs = wholeNumber(1, MAX_TIMER_MS, 'milliseconds');

/** A share of one. */
export const ratio = z
  .number('must be a number from 0 to 1')
  .refine((value) => value >= 0 && value <= 1, 'must be a number from 0 to 1');

export const flag = z.boolean('must be true or false');

export function text(min: number, max: number) {
  return checkedText(
    ({ length }) => length >= min && length <= max,
    `must be text of ${min} to ${max} characters`,
  );
}

export function checkedText(isAllowed: (text: string) => boolean, message: string) {
  return z.string(message).refine(isAllowed, message);
}

export function oneOf<const T extends readonly string[]>(values: T) {
  return z.enum(values, `must be ${listed(values)}`);
}

/** A function. What it takes and gives cannot be checked. */
export function callback<T>() {
  return z.custom<T>((value) => typeof value === 'function', 'must be a function');
}

/** `'a', 'b' or 'c'` */
export function listed(values: readonly string[]): string {
  const all = values.map(quoted);
  return all.length < 2 ? all.join() : `${all.slice(0, -1).join(', ')} or ${all.at(-1)}`;
}

function quoted(value: string): string {
  return `'${value}'`;
}
