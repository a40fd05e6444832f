/**
 * Keeps messages as they were when their calls were made, in their encoded form, which the caller cannot change. Fields that
 * a call needs to read are decoded again. All others stay bytes and are copied into the next payload as they are. Pure.
 */
import { asBuffer } from '../base/buffers.js';
import { crc32After } from './checksum.js';
import { MESSAGE_FIELDS, type Message, type MessageType } from './message.js';

/** One CBOR data item in its encoded form. */
export class EncodedItem {
  readonly bytes: Buffer;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }
}

/** CRC-32 of a byte string in the caller's memory, as it was when it was handed over; see SendOptions. */
export class TailSum {
  /** `undefined` until it is known. */
  value: number | undefined;

  note(tail: Uint8Array | undefined): void {
    if (tail !== undefined) this.value = crc32After(0, tail);
  }

  /** Whether the bytes are unchanged. */
  isOf(tail: Uint8Array): boolean {
    return this.value !== undefined && crc32After(0, tail) === this.value;
  }
}

/** A message that a call may have to send again. */
export class KeptMessage {
  readonly message: Message;
  readonly #lent: Uint8Array | undefined;
  readonly #sum: TailSum | undefined;

  /** @param lent the part of the message that is in the caller's memory, and its checksum */
  constructor(message: Message, lent?: { readonly tail: Uint8Array; readonly sum: TailSum }) {
    this.message = message;
    this.#lent = lent?.tail;
    this.#sum = lent?.sum;
  }

  /** Whether the message is unchanged. */
  get isIntact(): boolean {
    return this.#lent === undefined || this.#sum?.isOf(this.#lent) === true;
  }
}

/**
 * Decodes a payload that this side has encoded. The message shares the payload's memory.
 * @param tail the rest of a payload in two pieces: a byte string without its head
 */
export function messageIn(
  type: MessageType,
  payload: Uint8Array,
  tail: Uint8Array | undefined,
): Message {
  const bytes = asBuffer(payload);
  const fields: Readonly<Record<string, { readonly kind: string }>> = MESSAGE_FIELDS[type];
  const pairs: [string, unknown][] = [];
  const map = readHead(bytes, 0);
  let at = map.end;
  for (let left = map.argument; left > 0; left -= 1) {
    const key = readHead(bytes, at);
    const start = key.end + key.argument;
    const name = bytes.toString('utf8', key.end, start);
    if (left === 1 && tail !== undefined) {
      pairs.push([name, tail]);
      break;
    }
    at = skipItem(bytes, start);
    const kind = name === 'type' ? 'text' : Object.hasOwn(fields, name) ? fields[name]?.kind : '';
    pairs.push([name, readScalar(bytes, start, at, kind)]);
  }
  // Unlike assignment, this makes own properties also for names such as `__proto__`.
  return Object.fromEntries(pairs) as unknown as Message;
}

interface Head {
  readonly major: number;
  readonly argument: number;
  /** Where the item's content begins. */
  readonly end: number;
}

/** Reads an item's head (RFC 8949, section 3). All lengths are definite. */
function readHead(bytes: Buffer, at: number): Head {
  const initial = bytes[at] as number;
  const major = initial >> 5;
  const info = initial & 0x1f;
  if (info < 24) return { major, argument: info, end: at + 1 };
  if (info === 24) return { major, argument: bytes.readUInt8(at + 1), end: at + 2 };
  if (info === 25) return { major, argument: bytes.readUInt16BE(at + 1), end: at + 3 };
  if (info === 26) return { major, argument: bytes.readUInt32BE(at + 1), end: at + 5 };
  return { major, argument: Number(bytes.readBigUInt64BE(at + 1)), end: at + 9 };
}

function skipItem(bytes: Buffer, start: number): number {
  let at = start;
  for (let left = 1; left > 0; left -= 1) {
    const { major, argument, end } = readHead(bytes, at);
    at = end;
    if (major === 2 || major === 3) at += argument;
    else if (major === 4) left += argument;
    else if (major === 5) left += 2 * argument;
  }
  return at;
}

/** Decodes the kinds of values that a call needs to read. Anything else stays encoded. */
function readScalar(bytes: Buffer, start: number, end: number, kind: string | undefined): unknown {
  const { major, argument, end: content } = readHead(bytes, start);
  if (kind === 'text' && major === 3) return bytes.toString('utf8', content, end);
  if (kind === 'uint' && major === 0) return argument;
  if (kind === 'bool' && major === 7) return argument === 21;
  return new EncodedItem(bytes.subarray(start, end));
}
