/**
 * What options are made of. Each piece says of a wrong value what is allowed. None says what was given: that may be a
 * secret.
 */
import * as v from 'valibot';
import { MAX_TIMER_MS } from '../../base/clock.js';

/** What a value must be, and what it becomes. */
export type Check<Input, Output = Input> = v.GenericSchema<Input, Output>;

/** A value that passes a test, and stays what it is. */
export function is<T>(
  isRight: (value: unknown) => boolean,
  message: string | ((value: unknown) => string),
): Check<T> {
  return v.custom<T>(
    isRight,
    typeof message === 'string' ? message : ({ input }) => message(input),
  );
}

/** An array, which is copied and frozen. */
export function listOf<Input, Output>(
  item: Check<Input, Output>,
  message: string,
): Check<readonly Input[], readonly Output[]> {
  return v.pipe(
    // It is only read.
    v.array(item, message) as Check<readonly Input[], readonly Output[]>,
    v.transform((items) => Object.freeze(items)),
  );
}

type Input<E extends v.ObjectEntries> = v.InferInput<v.StrictObjectSchema<E, undefined>>;
type Output<E extends v.ObjectEntries> = v.InferOutput<v.StrictObjectSchema<E, undefined>>;

/** An object whose keys are all known. It is copied, without what is undefined. */
export function group<const E extends v.ObjectEntries>(
  entries: E,
  description?: string,
): Check<Input<E>, Output<E>> {
  const allowed = Object.keys(entries).join(', ');
  const absent = Object.fromEntries(Object.keys(entries).map((key) => [key, undefined]));
  const object = v.pipe(
    is<Input<E>>(isObject, description ?? `must be an object (allowed keys: ${allowed})`),
    // What is missing is as wrong as what is undefined, and what is inherited counts.
    v.transform((given): unknown => {
      const all: Record<string, unknown> = { ...absent };
      for (const key in given) all[key] = given[key];
      return all;
    }),
    v.strictObject(entries, ({ path }) => {
      // The library names one key that is not known. The object that it stands in has all of them.
      const unknown = Object.keys(path?.at(-1)?.input as object)
        .filter((key) => !Object.hasOwn(entries, key))
        .map((key) => `'${key}'`);
      const keys = `unknown key${unknown.length > 1 ? 's' : ''} ${unknown.join(', ')}`;
      return `${keys} (allowed: ${allowed})`;
    }),
    v.transform((read) => {
      const given = Object.entries(read).filter(([, value]) => value !== undefined);
      return Object.fromEntries(given) as Output<E>;
    }),
  );
  return object;
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

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

export function oneOf<const T extends readonly string[]>(values: T): Check<T[number]> {
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
