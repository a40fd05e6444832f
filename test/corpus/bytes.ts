/** Frames and payloads as a peer may send them that keeps to no rule: nothing is checked on the way. */
import { Float, type Item, writeCbor } from '../protocol/naive/cbor.js';
import { writeFrame } from '../protocol/naive/frame.js';

/** Version 1, with checksum. */
export const PLAIN = 0x0081;
export const END = 0x0181;
export const RESET = 0x0281;
export const CREDIT = 0x0481;
export const MORE = 0x0881;

/** A plain value as CBOR; fields that are undefined are left out. */
export function payloadOf(value: unknown): Buffer {
  return writeCbor(itemOf(value));
}

/** A frame with this value as its payload. */
export function frameOf(messageId: number, value: unknown, flags = END): Buffer {
  return writeFrame(flags, messageId, payloadOf(value));
}

export function uint(bytes: 4 | 8, value: number): Buffer {
  const out = Buffer.alloc(bytes);
  if (bytes === 4) out.writeUInt32BE(value);
  else out.writeBigUInt64BE(BigInt(value));
  return out;
}

/** A frame that was built for another stream, on this one; its checksum is as right or wrong as it was. */
export function movedTo(messageId: number, frame: Buffer): Buffer {
  const flags = frame.readUInt16BE(4);
  return writeFrame(flags, messageId, frame.subarray(14, -4));
}

function itemOf(value: unknown): Item {
  if (typeof value === 'number') return Number.isInteger(value) ? BigInt(value) : new Float(value);
  if (value instanceof Uint8Array) return Buffer.from(value);
  if (Array.isArray(value)) return value.map(itemOf);
  if (typeof value === 'object' && value !== null) {
    const fields = Object.entries(value).filter(([, field]) => field !== undefined);
    return new Map(fields.map(([name, field]) => [name, itemOf(field)]));
  }
  return value as Item;
}

export { writeFrame };
