/**
 * Turns messages into payloads and back: CBOR with definite lengths, scanned before and checked after decoding.
 * SPEC.md, "Payload".
 */
import type { Encoder } from 'cbor-x';
import { latePackage } from '../base/late-package.js';
import { isBytes, textOf } from '../base/realms.js';
import { MeshError } from '../errors.js';
import { DEFAULT_CBOR_LIMITS, scanCbor } from './cbor-scan.js';
import { DEFAULT_MAX_PAYLOAD_BYTES } from './frame.js';
import { ItemReader } from './item-reader.js';
import { EncodedItem } from './kept-message.js';
import { MESSAGE_FIELDS, type Message, type MessageType } from './message.js';
import { ownValue } from './own-values.js';
import { NOT_PLAIN, PlainReader } from './plain-reader.js';
import { PlainWriter } from './plain-writer.js';
import { type FieldsOf, isPlainMap, readFields, widenFields } from './schema.js';
import { ownSmallBytes, SmallBytes } from './small-bytes.js';

/** Encodes and decodes payloads. Holds no message between calls; one serves any number of connections. */
export class MessageCodec {
  readonly #cbor: Cbor;
  readonly #maxBytes: number;
  #heapBytes = 0;

  /** @param maxBytes largest payload that `encode` makes. Default 16 MiB */
  constructor(maxBytes?: number);
  /** @internal Shares the memory of another codec. */
  constructor(maxBytes: number, cbor: Cbor);
  constructor(maxBytes: number = DEFAULT_MAX_PAYLOAD_BYTES, cbor: Cbor = createCbor()) {
    this.#maxBytes = maxBytes;
    this.#cbor = cbor;
  }

  /** The same codec with the limit that a handshake agreed. */
  withLimit(maxBytes: number): MessageCodec {
    return new MessageCodec(maxBytes, this.#cbor);
  }

  /**
   * Encodes a message as the payload of a frame. The bytes are the caller's.
   *
   * What the peer's scan would refuse is refused here: a Date, a Map, a Set, a bigint over 64 bits, nesting over
   * 64. `undefined` within a list or a free-form map stays `undefined`; class instances travel as their own fields.
   * @throws MeshError MessageTooLarge over the limit; InvalidArgument when a value has no CBOR form here
   */
  encode(message: Message): Uint8Array {
    const payload = this.#encodeValue(message);
    this.#checkSize(message, payload.length);
    return payload;
  }

  /**
   * Encodes a message, in two pieces where a large byte string makes up most of it. `tail` is that byte string: the
   * message's own memory and no copy. `payload` followed by `tail` is the payload of a frame.
   * @throws MeshError as `encode`
   */
  encodeSplit(message: Message): SplitPayload {
    const field = BYTES_FIELDS[message.type];
    const tail =
      field === undefined ? undefined : (message as unknown as Record<string, unknown>)[field];
    if (field === undefined || !isBytes(tail) || tail.length < MIN_TAIL_BYTES) {
      return { payload: this.encode(message), tail: undefined };
    }
    const map = message as unknown as Record<string, unknown>;
    const plain = this.#cbor.writer.write(map, MESSAGE_FIELDS[message.type], field);
    if (plain !== undefined) {
      this.#checkSize(message, plain.length + tail.length);
      return { payload: plain, tail };
    }
    const { [field]: _tail, ...rest } = message as unknown as Record<string, unknown>;
    const head = this.#encodeValue({ ...rest, [field]: NO_BYTES } as unknown as Message);
    this.#checkSize(message, head.length - 1 + BYTES_HEAD_BYTES + tail.length);
    return { payload: withBytesHead(head, tail.length), tail };
  }

  /**
   * Decodes the message in a payload.
   *
   * Unknown fields of a known message are ignored. Byte strings of more than 1 KiB in the result share the payload's memory.
   * @throws MeshError MalformedMessage naming the byte or the field; UnknownMessageType
   */
  decode(payload: Uint8Array): Message {
    return this.decodePlain(payload) ?? messageOf(this.#decodeValue(payload));
  }

  /**
   * @internal Decodes the message in a payload if that takes little time: where it has few items, of the usual kinds.
   * @returns `undefined` for any other payload, right or wrong
   * @throws MeshError as `decode`
   */
  decodePlain(payload: Uint8Array): Message | undefined {
    const { reader } = this.#cbor;
    const value = reader.read(payload);
    if (value === NOT_PLAIN) return undefined;
    this.#heapBytes = reader.heapBytes;
    return messageOf(value);
  }

  /** @internal Begins to decode the message in a payload, in steps where it has many items. @throws MeshError MalformedMessage */
  begin(payload: Uint8Array): MessageReading {
    const plain = this.decodePlain(payload);
    if (plain !== undefined) return { heapBytes: this.#heapBytes, read: () => plain };
    const { heapBytes } = scanCbor(payload, DEFAULT_CBOR_LIMITS);
    const reader = new ItemReader(payload);
    const read = (mayGoOn: () => boolean): Message | undefined =>
      reader.read(mayGoOn) ? messageOf(reader.value) : undefined;
    return { heapBytes, read };
  }

  /** @internal What the message that was decoded last takes on the heap besides its payload, estimated. */
  get heapBytes(): number {
    return this.#heapBytes;
  }

  #checkSize({ type }: Message, payloadBytes: number): void {
    if (payloadBytes <= this.#maxBytes) return;
    throw new MeshError(
      'MessageTooLarge',
      `${type} of ${payloadBytes} bytes is over the limit of ${this.#maxBytes}`,
    );
  }

  #encodeValue(message: Message): Uint8Array {
    try {
      const fields = fieldsOf(message.type);
      const map = message as unknown as Record<string, unknown>;
      const plain = this.#cbor.writer.write(map, fields);
      if (plain !== undefined) return plain;
      const payload = this.#encodeFull(message, fields);
      scanCbor(payload, DEFAULT_CBOR_LIMITS);
      return payload;
    } catch (error) {
      const reason = textOf(error);
      throw new MeshError('InvalidArgument', `${message.type} cannot be encoded: ${reason}`, {
        cause: error,
      });
    }
  }

  #encodeFull(message: Message, fields: FieldsOf<object>): Uint8Array {
    const entries = Object.entries(message);
    const kept = entries.filter(([, value]) => value instanceof EncodedItem);
    const full = this.#cbor.full();
    const rest =
      kept.length === 0 ? message : entriesOf(entries.filter((one) => !kept.includes(one)));
    const map = full.encode(widenFields(ownValue(rest) as Record<string, unknown>, fields));
    if (kept.length === 0) return map;
    const items = kept.map(([name, value]) => [full.encode(name), (value as EncodedItem).bytes]);
    return withItems(map, items);
  }

  #decodeValue(payload: Uint8Array): unknown {
    const { hasSmallBytes, heapBytes } = scanCbor(payload, DEFAULT_CBOR_LIMITS);
    this.#heapBytes = heapBytes;
    let value: unknown;
    try {
      value = this.#cbor.full().decode(payload);
    } catch (error) {
      throw new MeshError('MalformedMessage', 'payload is not CBOR that can be decoded', {
        cause: error,
      });
    }
    if (!hasSmallBytes || !Buffer.isBuffer(payload)) return value;
    const { small } = this.#cbor;
    small.begin(payload);
    ownSmallBytes(value, small, payload);
    small.end();
    return value;
  }
}

/** @internal A message that is decoded in steps. */
export interface MessageReading {
  /** What the message will take on the heap besides its payload, estimated. */
  readonly heapBytes: number;
  /**
   * @param mayGoOn is asked now and then
   * @returns the message, once it is whole
   * @throws MeshError MalformedMessage naming the field; UnknownMessageType
   */
  read(mayGoOn: () => boolean): Message | undefined;
}

/** @throws MeshError MalformedMessage, UnknownMessageType */
function messageOf(value: unknown): Message {
  if (!isPlainMap(value)) throw new MeshError('MalformedMessage', 'payload is not a map');
  const { type } = value;
  if (typeof type !== 'string') throw new MeshError('MalformedMessage', 'field type must be text');
  if (!isMessageType(type)) {
    throw new MeshError(
      'UnknownMessageType',
      `message type ${JSON.stringify(type.slice(0, 64))} is not known`,
    );
  }
  return readFields(value, fieldsOf(type), '') as unknown as Message;
}

/** A payload in one or two pieces; see {@link MessageCodec.encodeSplit}. */
export interface SplitPayload {
  readonly payload: Uint8Array;
  readonly tail: Uint8Array | undefined;
}

/** Joins a payload's two pieces. */
export function joinPayload(payload: Uint8Array, tail: Uint8Array | undefined): Uint8Array {
  return tail === undefined ? payload : Buffer.concat([payload, tail]);
}

/** The field of a message that may be a large byte string. */
const BYTES_FIELDS: Readonly<Partial<Record<MessageType, string>>> = {
  request: 'body',
  response: 'body',
  queryResponse: 'result',
  dataTransfer: 'data',
};

/** Below this size a copy costs less than a second piece. */
const MIN_TAIL_BYTES = 4096;
const NO_BYTES = new Uint8Array(0);
/** A byte string's head with its length as u32 (RFC 8949, section 3.1). */
const BYTES_HEAD_BYTES = 5;
const BYTES_HEAD_U32 = 0x5a;

/** Replaces the last item of a map, an empty byte string of one byte, with the head of a longer byte string. */
function withBytesHead(map: Uint8Array, bytes: number): Uint8Array {
  const kept = map.length - 1;
  const out = Buffer.allocUnsafe(kept + BYTES_HEAD_BYTES);
  out.set(map.subarray(0, kept));
  out[kept] = BYTES_HEAD_U32;
  out.writeUInt32BE(bytes, kept + 1);
  return out;
}

/** Unlike assignment, this makes own properties also for names such as `__proto__`. */
function entriesOf(entries: readonly (readonly [string, unknown])[]): object {
  return Object.fromEntries(entries);
}

/** Puts further items, each a key and a value, before a map's own. The own ones stay last, for a tail may follow them. */
function withItems(map: Buffer, items: readonly (readonly Uint8Array[])[]): Buffer {
  const isShort = (map[0] as number) < MAP_HEAD + MAX_SHORT_COUNT;
  const own = isShort ? (map[0] as number) - MAP_HEAD : (map[1] as number);
  const count = own + items.length;
  if (count > 0xff || (!isShort && map[0] !== MAP_HEAD_U8)) {
    throw new MeshError('InvalidArgument', 'a message has too many fields');
  }
  const head = count < MAX_SHORT_COUNT ? [MAP_HEAD + count] : [MAP_HEAD_U8, count];
  return Buffer.concat([Buffer.from(head), ...items.flat(), map.subarray(isShort ? 1 : 2)]);
}

/** RFC 8949, section 3. */
const MAP_HEAD = 0xa0;
const MAP_HEAD_U8 = 0xb8;
const MAX_SHORT_COUNT = 24;

/** The fast reader and writer for most payloads, and the full ones for all others. */
interface Cbor {
  readonly reader: PlainReader;
  readonly writer: PlainWriter;
  readonly full: () => Encoder;
  readonly small: SmallBytes;
}

function createCbor(): Cbor {
  const small = new SmallBytes();
  return { reader: new PlainReader(), writer: new PlainWriter(), full: lateEncoder(), small };
}

/** cbor-x takes longer to load than most processes need until their first call, and plain messages never need it. */
function lateEncoder(): () => Encoder {
  const cborX = latePackage<typeof import('cbor-x')>('cbor-x');
  let encoder: Encoder | undefined;
  return () => {
    encoder ??= new (cborX().Encoder)({
      useRecords: false,
      mapsAsObjects: true,
      tagUint8Array: false,
      variableMapSize: true,
    });
    return encoder;
  };
}

function fieldsOf(type: MessageType): FieldsOf<object> {
  return MESSAGE_FIELDS[type];
}

/** Whether a text names a message of wire version 1. */
export function isMessageType(type: string): type is MessageType {
  return Object.hasOwn(MESSAGE_FIELDS, type);
}
