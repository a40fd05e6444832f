/** CBOR as SPEC.md, "Payload", restricts it: read and written item by item, recursively. */
import { TextDecoder } from 'node:util';
import { malformed } from './refusal.js';

/** An item: integers as bigint, floats as {@link Float}, maps as Map. */
export type Item =
  | bigint
  | Float
  | string
  | Buffer
  | boolean
  | null
  | undefined
  | Item[]
  | Map<string, Item>;

/** A CBOR float, kept apart from integers. */
export class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

const MAX_LEVELS = 64;
const MAX_ITEMS = 131_072;

/**
 * The one item that `bytes` hold.
 * @throws Refusal MalformedMessage
 */
export function readCbor(bytes: Buffer): Item {
  let at = 0;
  let items = 0;
  const left = () => bytes.length - at;
  const take = (count: number): Buffer => {
    if (count > left()) throw malformed('bytes are missing');
    at += count;
    return bytes.subarray(at - count, at);
  };
  const open = (level: number, children: number): void => {
    if (level >= MAX_LEVELS) throw malformed('too many levels');
    if (children > left()) throw malformed('more items than bytes');
  };
  const item = (level: number): Item => {
    items += 1;
    if (items > MAX_ITEMS) throw malformed('too many items');
    const initial = take(1).readUInt8();
    const major = initial >> 5;
    const info = initial & 31;
    if (info > 27) throw malformed('indefinite or reserved length');
    if (info === 27 && major >= 2 && major <= 5) throw malformed('a length in eight bytes');
    const tail = info < 24 ? Buffer.of(info) : take(2 ** (info - 24));
    const argument = BigInt(`0x${tail.toString('hex')}`);
    const count = Number(argument);
    if (major === 0) return argument;
    if (major === 1) return -1n - argument;
    if (major === 2) return take(count);
    if (major === 3) return textOf(take(count));
    if (major === 4) {
      open(level, count);
      return Array.from({ length: count }, () => item(level + 1));
    }
    if (major === 5) {
      open(level, count * 2);
      const map = new Map<string, Item>();
      for (let entry = 0; entry < count; entry += 1) {
        const key = item(level + 1);
        if (typeof key !== 'string') throw malformed('a key that is not text');
        map.set(key, item(level + 1));
      }
      return map;
    }
    if (major === 6) throw malformed('a tag');
    if (info === 20 || info === 21) return info === 21;
    if (info === 22) return null;
    if (info === 23) return undefined;
    if (info === 25) return new Float(halfOf(tail.readUInt16BE()));
    if (info === 26) return new Float(tail.readFloatBE());
    if (info === 27) return new Float(tail.readDoubleBE());
    throw malformed('another simple value');
  };
  const value = item(0);
  if (left() > 0) throw malformed('bytes left over');
  return value;
}

/** How many bytes a head's argument takes at least: 0 (within the first byte), 1, 2, 4 or, for numbers, 8. */
export type HeadWidth = () => number;

/** The bytes of an item. Nothing is checked. */
export function writeCbor(item: Item, headWidth: HeadWidth = () => 0): Buffer {
  // Numbers may take eight bytes, lengths four.
  const head = (major: number, argument: bigint | number): Buffer =>
    writeHead(major, BigInt(argument), Math.min(headWidth(), major < 2 ? 8 : 4));
  if (typeof item === 'bigint') return item < 0n ? head(1, -1n - item) : head(0, item);
  if (typeof item === 'string') {
    const text = Buffer.from(item, 'utf8');
    return Buffer.concat([head(3, text.length), text]);
  }
  if (item instanceof Float) return writeFloat(item.value);
  if (Buffer.isBuffer(item)) return Buffer.concat([head(2, item.length), item]);
  if (Array.isArray(item)) {
    return Buffer.concat([head(4, item.length), ...item.map((each) => writeCbor(each, headWidth))]);
  }
  if (item instanceof Map) {
    const entries = [...item].flatMap(([key, value]) => [
      writeCbor(key, headWidth),
      writeCbor(value, headWidth),
    ]);
    return Buffer.concat([head(5, item.size), ...entries]);
  }
  if (item === undefined) return Buffer.of(0xf7);
  if (item === null) return Buffer.of(0xf6);
  return Buffer.of(item ? 0xf5 : 0xf4);
}

function writeHead(major: number, argument: bigint, minBytes: number): Buffer {
  const first = major << 5;
  if (minBytes === 0 && argument < 24n) return Buffer.of(first | Number(argument));
  const info = [1, 2, 4, 8].findIndex((bytes) => {
    return bytes >= minBytes && argument < 2n ** BigInt(8 * bytes);
  });
  const digits = argument.toString(16).padStart(2 * 2 ** info, '0');
  return Buffer.concat([Buffer.of(first | (24 + info)), Buffer.from(digits, 'hex')]);
}

function writeFloat(value: number): Buffer {
  const bytes = Buffer.alloc(9, 0xfb);
  bytes.writeDoubleBE(value, 1);
  return bytes;
}

function textOf(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw malformed('text that is not UTF-8');
  }
}

/** A half-precision float (RFC 8949, appendix D). */
function halfOf(bits: number): number {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  const sign = bits & 0x8000 ? -1 : 1;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (fraction + 1024) * 2 ** (exponent - 25);
}
