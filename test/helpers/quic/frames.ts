/** Frames of QUIC version 1, encoded as a peer may send them that keeps to no rule but the format (RFC 9000, section 19). */

/** A packet number range of an ACK frame, both ends included. */
export interface AckRange {
  readonly first: number;
  readonly last: number;
}

/** A variable-length integer (RFC 9000, section 16), in the shortest form. */
export function varint(value: number): Buffer {
  if (value < 1 << 6) return Buffer.from([value]);
  if (value < 1 << 14) {
    const bytes = Buffer.alloc(2);
    bytes.writeUInt16BE(value | 0x4000);
    return bytes;
  }
  if (value < 2 ** 30) {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value + 2 ** 31);
    return bytes;
  }
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value) | (3n << 62n));
  return bytes;
}

export function paddingFrames(bytes: number): Buffer {
  return Buffer.alloc(bytes);
}

export function pingFrame(): Buffer {
  return Buffer.from([0x01]);
}

/** @param ranges highest first, with gaps between them */
export function ackFrame(ranges: readonly AckRange[], delay = 0): Buffer {
  const [newest, ...older] = ranges as readonly [AckRange, ...AckRange[]];
  const parts = [0x02, newest.last, delay, older.length, newest.last - newest.first];
  let smallest = newest.first;
  for (const range of older) {
    parts.push(smallest - range.last - 2, range.last - range.first);
    smallest = range.first;
  }
  return Buffer.concat(parts.map(varint));
}

export function cryptoFrame(offset: number, data: Uint8Array): Buffer {
  return Buffer.concat([varint(0x06), varint(offset), varint(data.length), data]);
}

export function streamFrame(
  streamId: number,
  offset: number,
  data: Uint8Array,
  fin = false,
): Buffer {
  const type = 0x0e | (fin ? 1 : 0);
  return Buffer.concat([type, streamId, offset, data.length].map(varint).concat(Buffer.from(data)));
}

export function resetStreamFrame(streamId: number, errorCode: number, finalSize: number): Buffer {
  return Buffer.concat([0x04, streamId, errorCode, finalSize].map(varint));
}

export function stopSendingFrame(streamId: number, errorCode: number): Buffer {
  return Buffer.concat([0x05, streamId, errorCode].map(varint));
}

export function maxDataFrame(bytes: number): Buffer {
  return Buffer.concat([0x10, bytes].map(varint));
}

export function maxStreamDataFrame(streamId: number, bytes: number): Buffer {
  return Buffer.concat([0x11, streamId, bytes].map(varint));
}

export interface NewConnectionId {
  readonly sequence: number;
  readonly retirePriorTo: number;
  readonly connectionId: Buffer;
  /** 16 bytes. */
  readonly resetToken: Buffer;
}

export function newConnectionIdFrame(fields: NewConnectionId): Buffer {
  const { sequence, retirePriorTo, connectionId, resetToken } = fields;
  const length = Buffer.from([connectionId.length]);
  const head = [0x18, sequence, retirePriorTo].map(varint);
  return Buffer.concat([...head, length, connectionId, resetToken]);
}

export function retireConnectionIdFrame(sequence: number): Buffer {
  return Buffer.concat([0x19, sequence].map(varint));
}

/** @param data 8 bytes */
export function pathChallengeFrame(data: Buffer): Buffer {
  return Buffer.concat([varint(0x1a), data]);
}

/** @param data 8 bytes */
export function pathResponseFrame(data: Buffer): Buffer {
  return Buffer.concat([varint(0x1b), data]);
}

/** A close by the transport, which names no frame type as its cause. */
export function connectionCloseFrame(errorCode: number, reason = ''): Buffer {
  const text = Buffer.from(reason);
  return Buffer.concat([...[0x1c, errorCode, 0, text.length].map(varint), text]);
}
