/**
 * Messages as they were when their calls were made: what is kept of one is its encoded form, which nobody else can change.
 * Fields that a call decides by are values again; all others stay bytes, and are put into the next payload as they are. Pure.
 */
import { asBuffer } from '../base/buffers.js';
import { crc32After } from './checksum.js';
import { MESSAGE_FIELDS, type Message, type MessageType } from './message.js';

/** One data item of CBOR, encoded. */
export class EncodedItem {
  readonly bytes: Buffer;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }
}

/** CRC-32 of a byte string that somebody else's memory holds, as it was when it was handed over; see SendOptions. */
export class TailSum {
  /** Of all its bytes, once it is known. */
  value: number | undefined;

  note(tail: Uint8Array | undefined): void {
    if (tail !== undefined) this.value = crc32After(0, tail);
  }

  /** Whether those bytes are still what they were. */
  isOf(tail: Uint8Array): boolean {
    return this.value !== undefined && crc32After(0, tail) === this.value;
  }
}

/** A message that a call may need once more. */
export class KeptMessage {
  readonly message: Message;
  readonly #lent: Uint8Array | undefined;
  readonly #sum: TailSum | undefined;

  /** @param lent what of the message is somebody else's memory, and what it was */
  constructor(message: Message, lent?: { readonly tail: Uint8Array; readonly sum: TailSum }) {
    this.message = message;
    this.#lent = lent?.tail;
    this.#sum = lent?.sum;
  }

  /** Whether the message is still the one that it was. */
  get isIntact(): boolean {
    return this.#lent === undefined || this.#sum?.isOf(this.#lent) === true;
  }
}

/**
 * The message in a payload of this side's own making: it shares the payload's memory.
 * @param tail the payload's rest, a byte string without its head, where it comes in two pieces
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
  // Makes own properties, whatever their names.
  return Object.fromEntries(pairs) as unknown as Message;
}

interface Head {
  readonly major: number;
  readonly argument: number;
  /** Where the item's content begins. */
  readonly end: number;
}

/** RFC 8949, section 3, of definite lengths. */
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

/** Values of the kinds that a call decides by; anything else stays as it is. */
function readScalar(bytes: Buffer, start: number, end: number, kind: string | undefined): unknown {
  const { major, argument, end: content } = readHead(bytes, start);
  if (kind === 'text' && major === 3) return bytes.toString('utf8', content, end);
  if (kind === 'uint' && major === 0) return argument;
  if (kind === 'bool' && major === 7) return argument === 21;
  return new EncodedItem(bytes.subarray(start, end));
}
