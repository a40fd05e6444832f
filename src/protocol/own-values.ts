/** Turns a message's values from another realm into this realm's, by whose classes the encoder knows them. Pure. */

import { isBytes, kindOf } from '../base/realms.js';
import { MeshError } from '../errors.js';

/**
 * The same value, if all that it contains is of this realm or an instance of a class. Otherwise a copy whose lists, byte
 * strings and array buffers are of this realm.
 * @throws MeshError InvalidArgument for what has no CBOR form here, whichever realm it is of: dates, maps, sets, regular
 *   expressions, errors, promises. RangeError for a value that contains itself
 */
export function ownValue(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const make = value.constructor;
  if (make === Buffer || make === Uint8Array) return value;
  if (make === Array) return ownList(value as readonly unknown[]);
  if (make !== Object) {
    if (isBytes(value)) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    if (Array.isArray(value)) return Array.from(value, ownValue);
    const kind = kindOf(value);
    if (kind === 'ArrayBuffer') return new Uint8Array(value as ArrayBuffer);
    if (kind === 'DataView') {
      const { buffer, byteOffset, byteLength } = value as DataView;
      return new Uint8Array(buffer, byteOffset, byteLength);
    }
    if (kind !== undefined) {
      throw new MeshError('InvalidArgument', `${kind} has no form in a message`);
    }
  }
  return ownMap(value as Readonly<Record<string, unknown>>);
}

function ownList(list: readonly unknown[]): readonly unknown[] {
  let own: unknown[] | undefined;
  for (let i = 0; i < list.length; i += 1) {
    const item = list[i];
    const ownItem = ownValue(item);
    if (ownItem === item) continue;
    own ??= [...list];
    own[i] = ownItem;
  }
  return own ?? list;
}

function ownMap(map: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  let own: Record<string, unknown> | undefined;
  const keys = Object.keys(map);
  for (let i = 0; i < keys.length; i += 1) {
    const key = keys[i] as string;
    const item = map[key];
    const ownItem = ownValue(item);
    if (ownItem === item) continue;
    own ??= { ...map };
    Object.defineProperty(own, key, {
      value: ownItem,
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return own ?? map;
}
