/** Values of a message from another realm, as those of this one: by those the encoder tells what they are. Pure. */

import { isBytes, kindOf } from '../base/realms.js';
import { MeshError } from '../errors.js';

/**
 * The same value where all within it is this realm's or a class instance; else a copy in which lists, byte strings and
 * array buffers are this realm's.
 * @throws MeshError InvalidArgument for what has no CBOR form here, whatever realm it is of: dates, maps, sets, regular
 *   expressions, errors, promises. RangeError where it is nested without end
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
