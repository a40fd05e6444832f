/**
 * Writes the CBOR that nearly all messages are made of, byte for byte as the full encoder does, and within the rules
 * of SPEC.md, "Payload", by what it is able to write. Whatever it is not made for it leaves to the full encoder.
 */
import { NO_BYTES } from '../base/buffers.js';
import { EncodedItem } from './kept-message.js';
import { type FieldsOf, uint } from './schema.js';

/**
 * The size of the blocks that payloads are cut from. Each byte is used once. A payload that is kept, such as that of a call
 * which may be made again, keeps its whole block alive. Smaller blocks would hold too few payloads to be worth their cost.
 */
const BLOCK_BYTES = 16 * 1024;
/** The largest plain payload, without a byte string that stays where it is. */
const MAX_PAYLOAD_BYTES = 4608;
const MAX_DEPTH = 16;
/** The largest head that is written here. */
const HEAD_BYTES = 5;
/** The head of an unsigned integer of 64 bits (RFC 8949, section 3), and its size. */
const U64 = 0x1b;
const WIDE_HEAD_BYTES = 9;

/**
 * Writes the CBOR that nearly all messages are made of, byte for byte as the full encoder does. What it is not made for
 * it leaves to the full encoder. SPEC.md, "Payload".
 */
export class PlainWriter {
  #block: Buffer = NO_BYTES;
  #at = 0;
  #end = 0;

  /**
   * Encodes a map. Returns `undefined` where the map is not plain. The bytes are the caller's.
   * @param fields of the message that the map is: the full encoder gets numbers over 32 bits of these as integers
   * @param tail the key of a byte string that comes last, and of which only the head is written
   */
  write(
    map: Readonly<Record<string, unknown>>,
    fields?: FieldsOf<object>,
    tail?: string,
  ): Buffer | undefined {
    if (map.constructor !== Object) return undefined;
    if (this.#at + MAX_PAYLOAD_BYTES > this.#block.length) {
      this.#block = Buffer.allocUnsafeSlow(BLOCK_BYTES);
      this.#at = 0;
    }
    const start = this.#at;
    this.#end = start + MAX_PAYLOAD_BYTES;
    if (this.#map(map, 1, fields, tail)) return this.#block.subarray(start, this.#at);
    this.#at = start;
    return undefined;
  }

  /** Like all methods below, returns whether the value was plain and had room. */
  #item(value: unknown, depth: number): boolean {
    if (typeof value === 'string') return this.#text(value);
    if (typeof value === 'number') return value >>> 0 === value && this.#head(0, value);
    if (typeof value === 'boolean') return this.#head(7, value ? 21 : 20);
    if (typeof value !== 'object') return false;
    if (value === null) return this.#head(7, 22);
    if (depth > MAX_DEPTH) return false;
    const kind = value.constructor;
    if (kind === Buffer || kind === Uint8Array) return this.#byteString(value as Uint8Array);
    if (kind === Array) return this.#list(value as readonly unknown[], depth);
    // The full encoder decides about instances of the application's classes.
    if (kind !== Object) return kind === EncodedItem && this.#encoded(value as EncodedItem);
    return this.#map(value as Readonly<Record<string, unknown>>, depth);
  }

  #map(
    map: Readonly<Record<string, unknown>>,
    depth: number,
    fields?: FieldsOf<object>,
    tail?: string,
  ): boolean {
    const keys = Object.keys(map);
    if (!this.#head(5, keys.length)) return false;
    for (let i = 0; i < keys.length; i += 1) {
      const key = keys[i] as string;
      if (key === tail) continue;
      if (!this.#text(key)) return false;
      const value = map[key];
      if (this.#item(value, depth + 1)) continue;
      if (fields === undefined || !this.#wide(value, key, fields)) return false;
    }
    if (tail === undefined) return true;
    return this.#text(tail) && this.#headU32(2, (map[tail] as Uint8Array).length);
  }

  /** Writes a number over 32 bits, such as a time. */
  #wide(value: unknown, key: string, fields: FieldsOf<object>): boolean {
    if (typeof value !== 'number' || value <= 0xffff_ffff || !Number.isSafeInteger(value))
      return false;
    const field = Object.hasOwn(fields, key) ? (fields as Record<string, unknown>)[key] : undefined;
    if (field !== uint || this.#at + WIDE_HEAD_BYTES > this.#end) return false;
    this.#block[this.#at] = U64;
    this.#block.writeUInt32BE(Math.floor(value / 2 ** 32), this.#at + 1);
    this.#block.writeUInt32BE(value % 2 ** 32, this.#at + 5);
    this.#at += WIDE_HEAD_BYTES;
    return true;
  }

  #list(list: readonly unknown[], depth: number): boolean {
    if (!this.#head(4, list.length)) return false;
    for (let i = 0; i < list.length; i += 1) {
      if (!this.#item(list[i], depth + 1)) return false;
    }
    return true;
  }

  /** Writes text. Only ASCII is plain. */
  #text(text: string): boolean {
    const { length } = text;
    if (!this.#head(3, length) || this.#at + length > this.#end) return false;
    const block = this.#block;
    const at = this.#at;
    let bits = 0;
    for (let i = 0; i < length; i += 1) {
      const unit = text.charCodeAt(i);
      bits |= unit;
      block[at + i] = unit;
    }
    this.#at = at + length;
    return bits <= 0x7f;
  }

  #byteString(bytes: Uint8Array): boolean {
    if (!this.#head(2, bytes.length) || this.#at + bytes.length > this.#end) return false;
    this.#block.set(bytes, this.#at);
    this.#at += bytes.length;
    return true;
  }

  #encoded({ bytes }: EncodedItem): boolean {
    if (this.#at + bytes.length > this.#end) return false;
    this.#block.set(bytes, this.#at);
    this.#at += bytes.length;
    return true;
  }

  /** Writes an item's head in its shortest form. */
  #head(major: number, argument: number): boolean {
    if (argument > 0xffff) return this.#headU32(major, argument);
    const block = this.#block;
    const at = this.#at;
    if (at + HEAD_BYTES > this.#end) return false;
    const initial = major << 5;
    if (argument < 24) {
      block[at] = initial | argument;
      this.#at = at + 1;
    } else if (argument <= 0xff) {
      block[at] = initial | 24;
      block[at + 1] = argument;
      this.#at = at + 2;
    } else {
      block[at] = initial | 25;
      block[at + 1] = argument >> 8;
      block[at + 2] = argument;
      this.#at = at + 3;
    }
    return true;
  }

  #headU32(major: number, argument: number): boolean {
    if (this.#at + HEAD_BYTES > this.#end) return false;
    this.#block[this.#at] = (major << 5) | 26;
    this.#block.writeUInt32BE(argument, this.#at + 1);
    this.#at += HEAD_BYTES;
    return true;
  }
}
