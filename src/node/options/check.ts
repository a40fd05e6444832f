/**
 * Checks of options: what a value must be, and what it becomes.
 *
 * These few are all that the options need. A library of schemas takes longer to load than the rest of a node does, and every
 * process that starts would wait for it.
 */

/** What is wrong, and where: names of keys and indexes of arrays, outermost first. */
export interface Problem {
  readonly path: readonly string[];
  readonly message: string;
}

/** In place of a value that is wrong. What is wrong with it was added to the problems. */
export const WRONG: unique symbol = Symbol('wrong');

type Read<T> = (value: unknown, path: readonly string[], problems: Problem[]) => T | typeof WRONG;

/** One check. `Input` is what users may give, `Output` what that becomes. */
export class Check<Input, Output> {
  /** A type alone: it has no value. */
  declare readonly input: Input;
  readonly #read: Read<Output>;

  constructor(read: Read<Output>) {
    this.#read = read;
  }

  /**
   * Checks a value.
   * @param path where it stands
   * @param problems gets what is wrong
   */
  read(value: unknown, path: readonly string[], problems: Problem[]): Output | typeof WRONG {
    return this.#read(value, path, problems);
  }

  /** Checks a right value further. */
  refine(isRight: (value: Output) => unknown, message: string): Check<Input, Output> {
    return new Check((given, path, problems) => {
      const value = this.#read(given, path, problems);
      if (value === WRONG) return WRONG;
      return isRight(value) ? value : wrong(path, message, problems);
    });
  }

  /** Makes something else of a right value. */
  transform<T>(change: (value: Output) => T): Check<Input, T> {
    return new Check((given, path, problems) => {
      const value = this.#read(given, path, problems);
      return value === WRONG ? WRONG : change(value);
    });
  }

  /** Lets `undefined` pass. */
  optional(): Check<Input | undefined, Output | undefined> {
    return new Check<Input | undefined, Output | undefined>((given, path, problems) =>
      given === undefined ? undefined : this.#read(given, path, problems),
    );
  }

  /** Reads this in place of `undefined`. */
  default(value: Input): Check<Input | undefined, Output> {
    return new Check((given, path, problems) =>
      this.#read(given === undefined ? value : given, path, problems),
    );
  }
}

/** What users may give. */
export type InputOf<C extends Check<unknown, unknown>> = C['input'];
/** What it becomes. */
export type OutputOf<C> = C extends Check<unknown, infer Output> ? Output : never;

/** A value that passes a test, and stays what it is. */
export function is<T>(
  isRight: (value: unknown) => boolean,
  message: string | ((value: unknown) => string),
): Check<T, T> {
  return new Check((value, path, problems) => {
    if (isRight(value)) return value as T;
    return wrong(path, typeof message === 'string' ? message : message(value), problems);
  });
}

/** An array, which is copied and frozen. */
export function listOf<Input, Output>(
  item: Check<Input, Output>,
  message: string,
): Check<readonly Input[], readonly Output[]> {
  return new Check((value, path, problems) => {
    if (!Array.isArray(value)) return wrong(path, message, problems);
    const before = problems.length;
    const items = value.map((one, at) => item.read(one, [...path, `${at}`], problems) as Output);
    return problems.length > before ? WRONG : Object.freeze(items);
  });
}

type Shape = Readonly<Record<string, Check<unknown, unknown>>>;
type KeysWithout<T> = { [K in keyof T]: undefined extends T[K] ? K : never }[keyof T];
/** Keys whose value may be `undefined` may be absent. */
type Loose<T> = { [K in KeysWithout<T>]?: T[K] } & {
  [K in Exclude<keyof T, KeysWithout<T>>]: T[K];
};
type Flat<T> = { [K in keyof T]: T[K] };
type GroupInput<S extends Shape> = Flat<Loose<{ [K in keyof S]: InputOf<S[K]> }>>;
type GroupOutput<S extends Shape> = Flat<Loose<{ [K in keyof S]: OutputOf<S[K]> }>>;

/** An object whose keys are all known. It is copied. */
export function group<const S extends Shape>(
  shape: S,
  description?: string,
): Check<GroupInput<S>, GroupOutput<S>> {
  const allowed = Object.keys(shape).join(', ');
  return new Check((value, path, problems) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      return wrong(path, description ?? `must be an object (allowed keys: ${allowed})`, problems);
    }
    const before = problems.length;
    const given = value as Readonly<Record<string, unknown>>;
    const read: Record<string, unknown> = {};
    for (const [key, check] of Object.entries(shape)) {
      const result = check.read(given[key], [...path, key], problems);
      if (result !== undefined) read[key] = result;
    }
    const unknown: string[] = [];
    for (const key in given) if (!Object.hasOwn(shape, key)) unknown.push(`'${key}'`);
    if (unknown.length > 0) {
      const keys = `unknown key${unknown.length > 1 ? 's' : ''} ${unknown.join(', ')}`;
      return wrong(path, `${keys} (allowed: ${allowed})`, problems);
    }
    return problems.length > before ? WRONG : (read as GroupOutput<S>);
  });
}

function wrong(path: readonly string[], message: string, problems: Problem[]): typeof WRONG {
  problems.push({ path, message });
  return WRONG;
}
