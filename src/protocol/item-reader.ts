/**
 * Decodes a CBOR item in steps, so that one of very many items holds up nobody for long. It recurses nowhere, and what it has so far
 * stays between two steps.
 */

import { asBuffer } from '../base/buffers.js';
import { SmallBytes } from './small-bytes.js';

/** So many values are decoded between two questions whether to go on: it takes some tens of microseconds. */
const VALUES_PER_LOOK = 128;
/** What cbor-x makes of a key that would change more than its map. */
const RENAMED_PROTO = '__proto_';

/** A list or map that is not whole yet. */
interface Level {
  readonly list: unknown[] | undefined;
  readonly map: Record<string, unknown> | undefined;
  /** Values, with a key each in a map, that are still to come. */
  left: number;
}

/** The decoding of one item, which has passed the scan of `cbor-scan.ts`: nothing is checked again. */
export class ItemReader {
  readonly #bytes: Buffer;
  readonly #small = new SmallBytes();
  /** Those around {@link #level}. */
  readonly #outer: Level[] = [];
  readonly #top: unknown[] = [undefined];
  /** The list or map that is being filled. It stands in its place from its beginning on. */
  #level: Level = { list: this.#top, map: undefined, left: 1 };
  /** That of the list or map that was read last. */
  #begun: Level | undefined;
  #at = 0;

  /** @param payload larger byte strings of the result share its memory */
  constructor(payload: Uint8Array) {
    this.#bytes = asBuffer(payload);
    this.#small.begin(this.#bytes);
  }

  /** The item, once {@link read} has returned `true`. */
  get value(): unknown {
    return this.#top[0];
  }

  /**
   * Goes on with decoding.
   * @param mayGoOn is asked now and then
   * @returns whether the item is whole
   */
  read(mayGoOn: () => boolean): boolean {
    let look = VALUES_PER_LOOK;
    for (;;) {
      const level = this.#level;
      if (level.left === 0) {
        const outer = this.#outer.pop();
        if (outer === undefined) return true;
        this.#level = outer;
        continue;
      }
      if (look === 0) {
        if (!mayGoOn()) return false;
        look = VALUES_PER_LOOK;
      }
      look -= 1;
      level.left -= 1;
      const { list } = level;
      if (list !== undefined) list[list.length - level.left - 1] = this.#item();
      else this.#entry(level.map as Record<string, unknown>);
      if (this.#begun === undefined) continue;
      this.#outer.push(level);
      this.#level = this.#begun;
      this.#begun = undefined;
    }
  }

  #entry(map: Record<string, unknown>): void {
    const key = this.#item() as string;
    map[key === '__proto__' ? RENAMED_PROTO : key] = this.#item();
  }

  #item(): unknown {
    const bytes = this.#bytes;
    const initial = bytes[this.#at] as number;
    const info = initial & 0x1f;
    this.#at += 1;
    if (initial >= 0xe0) return this.#simple(info);
    const argument = info < 24 ? info : this.#argument(info);
    switch (initial >> 5) {
      case 0:
        return argument;
      case 1:
        return typeof argument === 'bigint' ? -1n - argument : -1 - argument;
      case 2:
        return this.#small.slice(this.#at, this.#pass(argument as number));
      case 3:
        return this.#text(this.#at, this.#pass(argument as number));
      case 4: {
        // A long list that grows is copied again and again, each time to memory that is new.
        const list = new Array<unknown>(argument as number);
        this.#begun = { list, map: undefined, left: argument as number };
        return list;
      }
      default: {
        const map: Record<string, unknown> = {};
        this.#begun = { list: undefined, map, left: argument as number };
        return map;
      }
    }
  }

  /** Goes on behind a string of that length. @returns where it ends */
  #pass(length: number): number {
    this.#at += length;
    return this.#at;
  }

  /** A native call for a short text takes longer than to look at its bytes. */
  #text(start: number, end: number): string {
    const bytes = this.#bytes;
    if (end - start > MAX_SHORT_TEXT_BYTES) return bytes.toString('utf8', start, end);
    let text = '';
    for (let at = start; at < end; at += 1) {
      const byte = bytes[at] as number;
      if (byte > 0x7f) return bytes.toString('utf8', start, end);
      text += ASCII[byte] as string;
    }
    return text;
  }

  /** Of one of the wider heads: as a bigint where it has 64 bits. */
  #argument(info: number): number | bigint {
    const bytes = this.#bytes;
    const at = this.#at;
    this.#at = at + (1 << (info - 24));
    if (info === 24) return bytes[at] as number;
    if (info === 25) return bytes.readUInt16BE(at);
    return info === 26 ? bytes.readUInt32BE(at) : bytes.readBigUInt64BE(at);
  }

  #simple(info: number): unknown {
    if (info < 24) return SIMPLE[info - 20];
    const at = this.#at;
    this.#at = at + (1 << (info - 24));
    if (info === 25) return halfFloat(this.#bytes.readUInt16BE(at));
    return info === 26 ? this.#bytes.readFloatBE(at) : this.#bytes.readDoubleBE(at);
  }
}

/** RFC 8949, section 3.3: the simple values 20 to 23. */
const SIMPLE = [false, true, null, undefined];

const MAX_SHORT_TEXT_BYTES = 8;
const ASCII = Array.from({ length: 0x80 }, (_, code) => String.fromCharCode(code));

/** RFC 8949, appendix D. */
function halfFloat(bits: number): number {
  const exponent = (bits >> 10) & 0x1f;
  const mantissa = bits & 0x3ff;
  const size =
    exponent === 0
      ? mantissa * 2 ** -24
      : exponent < 31
        ? (mantissa + 1024) * 2 ** (exponent - 25)
        : mantissa === 0
          ? Number.POSITIVE_INFINITY
          : Number.NaN;
  return (bits & 0x8000) === 0 ? size : -size;
}
