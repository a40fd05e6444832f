/**
 * What a field of a message may hold: the small set of checks that the message table is made of.
 *
 * A field's `read` takes what CBOR decoding gave, returns it in the shape the rest of the code relies on, or
 * throws MalformedMessage naming the field. Its `widen` is the way back: CBOR encoding would write integers
 * over 32 bits as floats, so those leave as BigInt, which encodes as an integer.
 */

import { isBytes } from '../base/realms.js';
import { MeshError } from '../errors.js';

/** One kind of field. */
export interface Field {
  /** How SPEC.md calls the kind. */
  readonly kind: string;
  readonly optional: boolean;
  read(value: unknown, path: string): unknown;
  widen(value: unknown): unknown;
}

/** A field for every property of `T`, so that the table and the type cannot drift apart. */
export type FieldsOf<T> = { readonly [K in keyof T]-?: Field };

const same = (value: unknown): unknown => value;

function kind(name: string, limit: string, accepts: (value: unknown) => boolean): Field {
  return {
    kind: name,
    optional: false,
    widen: same,
    read(value, path) {
      if (!accepts(value)) throw malformed(path, `must be ${limit}`);
      return value;
    },
  };
}

/** UTF-8 text of at most `maxBytes` bytes. */
export function text(maxBytes: number): Field {
  return kind('text', `text of at most ${maxBytes} bytes`, (value) => {
    if (typeof value !== 'string' || value.length > maxBytes) return false;
    // A UTF-16 unit is at most three bytes of UTF-8: count only where it can matter.
    return value.length * 3 <= maxBytes || Buffer.byteLength(value) <= maxBytes;
  });
}

/** A byte string of `minBytes` to `maxBytes` bytes. */
export function bytes(minBytes: number, maxBytes: number): Field {
  return kind(
    'bytes',
    `a byte string of ${minBytes} to ${maxBytes} bytes`,
    (value) => isBytes(value) && value.length >= minBytes && value.length <= maxBytes,
  );
}

export const bool: Field = kind('bool', 'a boolean', (value) => typeof value === 'boolean');

/** Anything CBOR carries within the limits of the scan. */
export const anything: Field = kind('any', 'present', (value) => value !== undefined);

/** An integer from 0 to 2^53-1. */
export const uint: Field = {
  kind: 'uint',
  optional: false,
  read(value, path) {
    const number =
      typeof value === 'bigint' && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
    if (typeof number !== 'number' || !Number.isSafeInteger(number) || number < 0) {
      throw malformed(path, 'must be an integer from 0 to 2^53-1');
    }
    // A float may say -0.
    return number === 0 ? 0 : number;
  },
  widen: (value) => (typeof value === 'number' && value > 0xffff_ffff ? BigInt(value) : value),
};

/** One of a closed set of texts. */
export function oneOf(...choices: readonly string[]): Field {
  return kind('text', `one of ${choices.join(', ')}`, (value) => choices.includes(value as string));
}

/** A list of at most `maxItems` items of one kind. */
export function listOf(item: Field, maxItems: number): Field {
  return {
    kind: `list of ${item.kind}`,
    optional: false,
    read(value, path) {
      if (!Array.isArray(value) || value.length > maxItems) {
        throw malformed(path, `must be a list of at most ${maxItems} items`);
      }
      for (let i = 0; i < value.length; i += 1) value[i] = item.read(value[i], `${path}[${i}]`);
      return value;
    },
    widen(value) {
      if (!Array.isArray(value)) return value;
      if (value.length > maxItems) throw new RangeError(`a list of more than ${maxItems} items`);
      return value.map((entry) => item.widen(entry));
    },
  };
}

/** A map with known fields. Unknown ones are ignored, so that version 1 can grow. */
export function record<T>(fields: FieldsOf<T>): Field {
  return {
    kind: 'map',
    optional: false,
    read(value, path) {
      if (!isPlainMap(value)) throw malformed(path, 'must be a map');
      return readFields(value, fields, `${path}.`);
    },
    widen: (value) => (isPlainMap(value) ? widenFields(value, fields) : value),
  };
}

/** The same field, allowed to be absent. */
export function optional(field: Field): Field {
  return { ...field, optional: true };
}

/**
 * Reads every known field of a decoded map, in place.
 * @throws MeshError MalformedMessage, naming the first field that is missing or wrong
 */
export function readFields<T>(
  value: Record<string, unknown>,
  fields: FieldsOf<T>,
  prefix: string,
): Record<string, unknown> {
  for (const name in fields) {
    const field = fields[name];
    const found = Object.hasOwn(value, name) ? value[name] : undefined;
    if (found === undefined) {
      if (!field.optional) throw malformed(`${prefix}${name}`, 'is missing');
      continue;
    }
    const read = field.read(found, `${prefix}${name}`);
    if (!Object.is(read, found)) value[name] = read;
  }
  return value;
}

/** A map as it is to be encoded: the same object when nothing in it needs widening; absent fields left out. */
export function widenFields<T>(
  value: Record<string, unknown>,
  fields: FieldsOf<T>,
): Record<string, unknown> {
  let out = value;
  for (const name in fields) {
    const found = value[name];
    const wide = found === undefined ? undefined : fields[name].widen(found);
    if (wide === found && !(found === undefined && name in value)) continue;
    if (out === value) out = { ...value };
    if (wide === undefined) delete out[name];
    else out[name] = wide;
  }
  return out;
}

/** Whether a decoded value is a map (and not a list, byte string or null). */
export function isPlainMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !isBytes(value);
}

function malformed(path: string, problem: string): MeshError {
  return new MeshError('MalformedMessage', `field ${path} ${problem}`);
}
