/**
 * Reads the CBOR that nearly all messages are made of, in one pass that also finds whether it is within the rules of
 * SPEC.md, "Payload". Whatever it is not made for it leaves to the scan and the full decoder, with what is wrong.
 */
import { NO_BYTES } from '../base/buffers.js';
import { heapBytesOf } from './heap-bytes.js';
import { SmallBytes } from './small-bytes.js';

/** Deeper payloads are not plain, nor are those of more items. This is far below the limits of the scan. */
const MAX_DEPTH = 16;
/** So many take half a millisecond: whoever sends them pays for them with as many bytes. */
const MAX_ITEMS = 4096;
/** Texts up to this length are looked up first: keys, types and methods repeat all the time. */
const MAX_KNOWN_TEXT_BYTES = 24;
const KNOWN_TEXTS = 256;
/** The head of an unsigned integer of 64 bits (RFC 8949, section 3). */
const U64 = 0x1b;

/** Returned for a payload that is not plain or not valid. */
export const NOT_PLAIN = Symbol('not plain');

/** Holds nothing of a payload between calls but short texts, at most 256 of them. */
export class PlainReader {
  /** Short texts by a hash of their bytes. A newer text replaces an older one with the same hash. */
  readonly #texts: string[] = new Array<string>(KNOWN_TEXTS).fill('');
  readonly #small = new SmallBytes();
  #bytes: Buffer = NO_BYTES;
  #at = 0;
  #itemsLeft = 0;
  #objects = 0;

  /** What the last value that was read takes on the heap, estimated. */
  get heapBytes(): number {
    return heapBytesOf(MAX_ITEMS - this.#itemsLeft, this.#objects);
  }

  /** Decodes the one item in `payload`, or returns {@link NOT_PLAIN}. Byte strings share its memory, except small ones. */
  read(payload: Uint8Array): unknown {
    if (!Buffer.isBuffer(payload)) return NOT_PLAIN;
    this.#bytes = payload;
    this.#small.begin(payload);
    this.#at = 0;
    this.#itemsLeft = MAX_ITEMS;
    this.#objects = 0;
    const value = this.#item(0);
    const isWhole = this.#at === payload.length;
    this.#bytes = NO_BYTES;
    this.#small.end();
    return isWhole ? value : NOT_PLAIN;
  }

  #item(depth: number): unknown {
    this.#itemsLeft -= 1;
    if (this.#itemsLeft < 0 || this.#at >= this.#bytes.length) return NOT_PLAIN;
    const initial = this.#bytes[this.#at] as number;
    if (initial >= 0xe0) return this.#simple(initial);
    if (initial === U64) return this.#wide();
    const argument = this.#argument(initial & 0x1f);
    if (argument < 0) return NOT_PLAIN;
    switch (initial >> 5) {
      case 0:
        return argument;
      case 1:
        return -1 - argument;
      case 2:
        return this.#byteString(argument);
      case 3:
        return this.#text(argument);
      case 4:
        return this.#list(argument, depth + 1);
      case 5:
        return this.#map(argument, depth + 1);
      default:
        return NOT_PLAIN;
    }
  }

  /** Reads an item's head. @returns its argument of up to 32 bits; -1 for any other */
  #argument(info: number): number {
    const bytes = this.#bytes;
    const at = this.#at + 1;
    this.#at = at;
    if (info < 24) return info;
    const width = info === 24 ? 1 : info === 25 ? 2 : 4;
    if (info > 26 || at + width > bytes.length) return -1;
    this.#at = at + width;
    if (info === 24) return bytes[at] as number;
    return info === 25 ? bytes.readUInt16BE(at) : bytes.readUInt32BE(at);
  }

  /** Reads an integer of 64 bits, such as a time: a bigint, which a field of a message makes a number of. */
  #wide(): bigint | typeof NOT_PLAIN {
    const at = this.#at + 1;
    if (at + 8 > this.#bytes.length) return NOT_PLAIN;
    this.#at = at + 8;
    return this.#bytes.readBigUInt64BE(at);
  }

  #simple(initial: number): unknown {
    const at = this.#at + 1;
    this.#at = at;
    if (initial === 0xf4 || initial === 0xf5) return initial === 0xf5;
    if (initial === 0xf6) return null;
    if (initial === 0xf7) return undefined;
    if (initial !== 0xfb || at + 8 > this.#bytes.length) return NOT_PLAIN;
    this.#at = at + 8;
    return this.#bytes.readDoubleBE(at);
  }

  #byteString(length: number): unknown {
    const start = this.#at;
    if (start + length > this.#bytes.length) return NOT_PLAIN;
    this.#objects += 1;
    this.#at = start + length;
    return this.#small.slice(start, start + length);
  }

  /** Reads text. Only ASCII is plain. */
  #text(length: number): string | typeof NOT_PLAIN {
    const bytes = this.#bytes;
    const start = this.#at;
    const end = start + length;
    if (end > bytes.length) return NOT_PLAIN;
    let bits = 0;
    let hash = length;
    for (let i = start; i < end; i += 1) {
      const byte = bytes[i] as number;
      bits |= byte;
      hash = (Math.imul(hash, 31) + byte) | 0;
    }
    if (bits > 0x7f) return NOT_PLAIN;
    this.#at = end;
    if (length > MAX_KNOWN_TEXT_BYTES) return bytes.toString('latin1', start, end);
    const place = hash & (KNOWN_TEXTS - 1);
    const known = this.#texts[place] as string;
    if (isSame(known, bytes, start, length)) return known;
    const text = bytes.toString('latin1', start, end);
    this.#texts[place] = text;
    return text;
  }

  #list(length: number, depth: number): unknown {
    if (depth > MAX_DEPTH || length > this.#itemsLeft) return NOT_PLAIN;
    const list: unknown[] = [];
    for (let i = 0; i < length; i += 1) {
      const value = this.#item(depth);
      if (value === NOT_PLAIN) return NOT_PLAIN;
      list.push(value);
    }
    return list;
  }

  #map(length: number, depth: number): unknown {
    if (depth > MAX_DEPTH || length > this.#itemsLeft) return NOT_PLAIN;
    this.#objects += 1;
    const map: Record<string, unknown> = {};
    for (let i = 0; i < length; i += 1) {
      const key = this.#item(depth);
      // `__proto__` would change more than its map. The full decoder renames it.
      if (typeof key !== 'string' || key === '__proto__') return NOT_PLAIN;
      const value = this.#item(depth);
      if (value === NOT_PLAIN) return NOT_PLAIN;
      map[key] = value;
    }
    return map;
  }
}

function isSame(text: string, bytes: Buffer, start: number, length: number): boolean {
  if (text.length !== length) return false;
  for (let i = 0; i < length; i += 1) {
    if (text.charCodeAt(i) !== bytes[start + i]) return false;
  }
  return true;
}
