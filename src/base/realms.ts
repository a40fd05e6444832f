/**
 * Tells what a value from outside is, wherever it was made. Of values from another realm (a vm context, a test runner's
 * sandbox) or of another copy of a package, `instanceof` says false.
 */
import { types } from 'node:util';

/** Whether a value is a byte string: a Uint8Array or a subclass such as Buffer. */
export const isBytes: (value: unknown) => value is Uint8Array = types.isUint8Array;

/** Whether a value is an error of any realm, or inherits from this realm's `Error`. Never throws. */
export function isError(value: unknown): value is Error {
  return types.isNativeError(value) || isInstance(value, Error);
}

/** `instanceof`, but false where a proxy makes it throw. */
export function isInstance<T>(
  value: unknown,
  make: abstract new (...input: never[]) => T,
): value is T {
  try {
    return value instanceof make;
  } catch {
    return false;
  }
}

/**
 * Whether `await` would wait for the value.
 * @throws whatever a getter of `then` throws
 */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  if (value === null || (typeof value !== 'object' && typeof value !== 'function')) return false;
  return typeof (value as { readonly then?: unknown }).then === 'function';
}

/**
 * Whether a value that should be a plain answer is a promise, or throws when asked. Nobody will wait for such a promise, so
 * its rejection is handled here. Never throws.
 */
export function isPromised(value: unknown): boolean {
  try {
    if (!isThenable(value)) return false;
    Promise.resolve(value).catch(handleRejection);
    return true;
  } catch {
    return true;
  }
}

/** Has nobody end the process over the rejection of a promise that was thrown, or is dropped. Never throws. */
export function handleRejection(value: unknown): void {
  if (!types.isPromise(value)) return;
  try {
    Promise.prototype.then.call(value, undefined, handleRejection);
  } catch {
    // Its constructor is a getter that throws: there is no way to wait for it.
  }
}

/** Kinds of objects whose content is in internal slots, which a copy of their properties would lose. */
export type EngineKind =
  | 'ArrayBuffer'
  | 'DataView'
  | 'Date'
  | 'Map'
  | 'Set'
  | 'RegExp'
  | 'Error'
  | 'Promise';

/** Which of these kinds a value is; `undefined` for plain objects and instances of most classes. */
export function kindOf(value: object): EngineKind | undefined {
  if (types.isAnyArrayBuffer(value)) return 'ArrayBuffer';
  if (types.isDataView(value)) return 'DataView';
  if (types.isDate(value)) return 'Date';
  if (types.isMap(value)) return 'Map';
  if (types.isSet(value)) return 'Set';
  if (types.isRegExp(value)) return 'RegExp';
  if (types.isNativeError(value)) return 'Error';
  return types.isPromise(value) ? 'Promise' : undefined;
}

/** The code of an error of Node's or the system's, such as `ENOENT`; `undefined` for anything else. Never throws. */
export function systemCodeOf(thrown: unknown): string | undefined {
  try {
    const code = isError(thrown) ? (thrown as { readonly code?: unknown }).code : undefined;
    return typeof code === 'string' ? code : undefined;
  } catch {
    return undefined;
  }
}

/** What kind of thing was thrown, for people: the name of an error, or the type of anything else. Never throws. */
export function nameOf(thrown: unknown): string {
  try {
    return isError(thrown) ? String(thrown.name) : typeof thrown;
  } catch {
    return 'Error';
  }
}

/** A text for people about anything that was thrown. Never throws. */
export function textOf(thrown: unknown): string {
  try {
    return isError(thrown) ? String(thrown.message) : String(thrown);
  } catch {
    return 'something that has no text was thrown';
  }
}
