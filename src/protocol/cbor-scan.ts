/**
 * Checks a CBOR item before it is decoded, because the decoder itself recurses, and builds regular expressions
 * and big integers from whatever input it gets. SPEC.md, "Payload".
 *
 * One pass without recursion over the initial bytes of each item (RFC 8949, section 3). Nothing is decoded
 * and nothing is allocated per item.
 */
import { isUtf8 } from 'node:buffer';
import { MeshError } from '../errors.js';
import { heapBytesOf } from './heap-bytes.js';
import { MAX_SMALL_BYTES } from './small-bytes.js';

/** Limits of the scan. */
export interface CborLimits {
  /** How deep lists and maps may be nested. */
  readonly maxDepth: number;
  /** Data items in all. */
  readonly maxItems: number;
}

/** The limits of every payload. SPEC.md, "Payload". */
export const DEFAULT_CBOR_LIMITS: CborLimits = { maxDepth: 64, maxItems: 131_072 };

/** What else a scan has found. */
export interface ScannedCbor {
  /** Whether there are byte strings to copy; see {@link MAX_SMALL_BYTES}. */
  readonly hasSmallBytes: boolean;
  /** What the decoded item will take on the heap, estimated. */
  readonly heapBytes: number;
}

/**
 * Checks that `payload` is exactly one CBOR item of definite lengths, without tags, its maps keyed by text,
 * within the limits.
 * @throws MeshError MalformedMessage saying what was found and at which byte
 */
export function scanCbor(
  payload: Uint8Array,
  limits: CborLimits = DEFAULT_CBOR_LIMITS,
): ScannedCbor {
  // Items still to come at each open level. The payload itself is one item. Plain arrays that grow with the
  // depth: a typed array of the full depth would cost more than the scan of a short payload.
  const remaining: number[] = [1];
  // Which levels are maps. Keys and values take turns, so an even count still to come means that a key is next.
  const isMap: boolean[] = [false];
  let depth = 0;
  let items = 0;
  let at = 0;
  let hasSmallBytes = false;
  let objects = 0;
  while (depth >= 0) {
    if (remaining[depth] === 0) {
      depth -= 1;
      continue;
    }
    const left = remaining[depth] as number;
    remaining[depth] = left - 1;
    items += 1;
    if (items > limits.maxItems) throw malformed(at, `more than ${limits.maxItems} items`);
    const initial = byteAt(payload, at);
    const major = initial >> 5;
    const info = initial & 0x1f;
    if (major !== 3 && isMap[depth] === true && left % 2 === 0)
      throw malformed(at, 'key is not text');
    if (info > 27) {
      throw malformed(at, info === 31 ? 'indefinite length' : 'reserved length');
    }
    // No payload is that long, and cbor-x's native part rejects strings whose length is written this way.
    if (info === 27 && major >= 2 && major <= 5) throw malformed(at, 'length in eight bytes');
    const headBytes = info < 24 ? 1 : 1 + (1 << (info - 24));
    const argument = readArgument(payload, at, info);
    const start = at;
    at += headBytes;
    switch (major) {
      case 0:
      case 1:
        break;
      case 2:
      case 3: {
        const end = at + argument;
        if (end > payload.length) throw malformed(start, 'string runs past the end');
        if (major === 2) {
          objects += 1;
          hasSmallBytes ||= argument <= MAX_SMALL_BYTES;
        } else if (!isText(payload, at, end)) throw malformed(start, 'text is not UTF-8');
        at = end;
        break;
      }
      case 4:
      case 5: {
        if (depth + 1 > limits.maxDepth) throw malformed(start, `nesting over ${limits.maxDepth}`);
        const children = major === 5 ? argument * 2 : argument;
        // Each child takes at least a byte, so a larger count is false.
        if (children > payload.length - at) throw malformed(start, 'fewer items than announced');
        depth += 1;
        remaining[depth] = children;
        isMap[depth] = major === 5;
        if (major === 5) objects += 1;
        break;
      }
      case 6:
        throw malformed(start, `tag ${argument} is not allowed`);
      default:
        checkSimple(start, info, argument);
    }
  }
  if (at !== payload.length) throw malformed(at, `${payload.length - at} bytes after the item`);
  return { hasSmallBytes, heapBytes: heapBytesOf(items, objects) };
}

/** Most texts are short. To check those here costs less than a native call. */
function isText(payload: Uint8Array, start: number, end: number): boolean {
  if (end - start > MAX_SHORT_TEXT_BYTES) return isUtf8(payload.subarray(start, end));
  let at = start;
  while (at < end) {
    const lead = payload[at] as number;
    at += 1;
    if (lead < 0x80) continue;
    // Well-formed UTF-8 (Unicode, table 3-7): the second byte has a range that depends on the first.
    const more = lead < 0xc2 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : lead < 0xf5 ? 3 : 0;
    if (more === 0 || at + more > end) return false;
    const second = payload[at] as number;
    const least = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
    const most = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
    if (second < least || second > most) return false;
    for (let i = at + 1; i < at + more; i += 1) {
      if (((payload[i] as number) & 0xc0) !== 0x80) return false;
    }
    at += more;
  }
  return true;
}

const MAX_SHORT_TEXT_BYTES = 256;

/** Of major type 7 only false, true, null, undefined and the three widths of floats are allowed. */
function checkSimple(at: number, info: number, argument: number): void {
  if (info >= 25 && info <= 27) return;
  if (info < 24 && argument >= 20 && argument <= 23) return;
  throw malformed(at, 'simple value is not allowed');
}

function readArgument(payload: Uint8Array, at: number, info: number): number {
  if (info < 24) return info;
  let value = 0;
  const end = at + 1 + (1 << (info - 24));
  for (let i = at + 1; i < end; i += 1) value = value * 256 + byteAt(payload, i);
  return value;
}

function byteAt(payload: Uint8Array, at: number): number {
  const byte = payload[at];
  if (byte === undefined) throw malformed(at, 'item is cut short');
  return byte;
}

function malformed(at: number, problem: string): MeshError {
  return new MeshError('MalformedMessage', `CBOR at byte ${at}: ${problem}`);
}
