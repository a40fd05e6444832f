/**
 * What options are made of. Each piece says of a wrong value what is allowed. None says what was given: that may be a
 * secret.
 */
import { MAX_TIMER_MS } from '../../base/clock.js';
import { type Check, is } from './check.js';

/** @param unit in the plural, as the message says it */
export function wholeNumber(min: number, max: number, unit?: string) {
  const of = unit === undefined ? '' : ` of ${unit}`;
  const message = `must be a whole number${of} from ${min} to ${max}`;
  return is<number>((value) => isWholeNumber(value, min, max), message);
}

export function isWholeNumber(value: unknown, min: number, max: number): boolean {
  return Number.isInteger(value) && min <= Number(value) && Number(value) <= max;
}

export const durationMs = wholeNumber(1, MAX_TIMER_MS, 'milliseconds');

/** A share of one. */
export const ratio = is<number>(
  (value) => typeof value === 'number' && value >= 0 && value <= 1,
  'must be a number from 0 to 1',
);

export const flag = is<boolean>((value) => typeof value === 'boolean', 'must be true or false');

export function text(min: number, max: number) {
  return checkedText(
    ({ length }) => length >= min && length <= max,
    `must be text of ${min} to ${max} characters`,
  );
}

export function checkedText(isAllowed: (text: string) => boolean, message: string) {
  return is<string>((value) => typeof value === 'string' && isAllowed(value), message);
}

export function oneOf<const T extends readonly string[]>(values: T): Check<T[number], T[number]> {
  return is((value) => values.includes(value as string), `must be ${listed(values)}`);
}

/** A function. What it takes and gives cannot be checked. */
export function callback<T>() {
  return is<T>((value) => typeof value === 'function', 'must be a function');
}

/** `'a', 'b' or 'c'` */
export function listed(values: readonly string[]): string {
  const all = values.map((value) => `'${value}'`);
  return all.length < 2 ? all.join() : `${all.slice(0, -1).join(', ')} or ${all.at(-1)}`;
}
