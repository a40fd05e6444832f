/**
 * Decrypts a client's Initial packets, beside the binding, and counts their CRYPTO frames.
 *
 * The keys of an Initial follow from its connection ID, so anybody can make one (RFC 9001, section 5.2). The binding keeps
 * every CRYPTO frame that comes out of order: 60 KB of one-byte frames became 1.8 MB, before the client had proved
 * anything. Only a decrypted packet shows how many frames it has.
 */
import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto';
import { ByteReader } from '../../admission/byte-reader.js';
import { QUIC_VERSION_1 } from '../io/packet.js';

const INITIAL_SALT = Buffer.from('38762cf7f55934b34d179ae6a4c80cadccbb7f0a', 'hex');
const TAG_BYTES = 16;
const SAMPLE_BYTES = 16;
const LONG_PACKET = { initial: 0, zeroRtt: 1, handshake: 2 } as const;
const FRAME = { padding: 0x00, ping: 0x01, ack: 0x02, ackEcn: 0x03, crypto: 0x06, close: 0x1c };

/** What the Initial packets of one datagram contain. */
export interface InitialContent {
  readonly packets: number;
  readonly cryptoFrames: number;
  /** Whether the datagram has anything of the handshake: Initials, or packets that only the binding can read. */
  readonly isOfHandshake: boolean;
}

/** Reads the Initials of one connection, whose keys it derives from the first connection ID. */
export class InitialReader {
  readonly #key: Buffer;
  readonly #iv: Buffer;
  readonly #headerKey: Buffer;
  #largestNumber = -1;
  #hello: Buffer | undefined;

  /** @param connectionId the destination connection ID of the first Initial that reaches the connection */
  constructor(connectionId: Uint8Array) {
    const initial = createHmac('sha256', INITIAL_SALT).update(connectionId).digest();
    const secret = expandLabel(initial, 'client in', 32);
    this.#key = expandLabel(secret, 'quic key', 16);
    this.#iv = expandLabel(secret, 'quic iv', 12);
    this.#headerKey = expandLabel(secret, 'quic hp', 16);
  }

  /** The beginning of the ClientHello, as much of it as one CRYPTO frame had; `undefined` before one was read. */
  get hello(): Buffer | undefined {
    return this.#hello;
  }

  /**
   * Reads all Initial packets of a datagram, and leaves the datagram as it is.
   * @returns `undefined` when one of them cannot be decrypted, or has a frame that no Initial may have
   */
  read(datagram: Buffer): InitialContent | undefined {
    let packets = 0;
    let cryptoFrames = 0;
    let isOfHandshake = false;
    for (let start = 0; start < datagram.length; ) {
      const bounds = boundsOf(datagram, start);
      // The binding stops reading here, too.
      if (bounds === undefined) break;
      if (bounds.type !== LONG_PACKET.zeroRtt) isOfHandshake = true;
      if (bounds.type === LONG_PACKET.initial) {
        const payload = this.#open(datagram, start, bounds);
        const content = payload === undefined ? undefined : readFrames(payload);
        if (content === undefined) return undefined;
        packets += 1;
        cryptoFrames += content.cryptoFrames;
        this.#hello ??= content.hello;
      }
      start = bounds.end;
    }
    return { packets, cryptoFrames, isOfHandshake };
  }

  /** RFC 9001, sections 5.3 and 5.4. */
  #open(datagram: Buffer, start: number, { numberAt, end }: PacketBounds): Buffer | undefined {
    const sampleAt = numberAt + 4;
    if (sampleAt + SAMPLE_BYTES > end) return undefined;
    const mask = createCipheriv('aes-128-ecb', this.#headerKey, null).update(
      datagram.subarray(sampleAt, sampleAt + SAMPLE_BYTES),
    );
    const first = (datagram[start] as number) ^ ((mask[0] as number) & 0x0f);
    const numberBytes = (first & 0x03) + 1;
    const header = Buffer.from(datagram.subarray(start, numberAt + numberBytes));
    header[0] = first;
    for (let i = 0; i < numberBytes; i += 1) {
      const at = numberAt - start + i;
      header[at] = (header[at] as number) ^ (mask[1 + i] as number);
    }
    const truncated = header.readUIntBE(numberAt - start, numberBytes);
    const number = nearestNumber(truncated, numberBytes, this.#largestNumber + 1);
    const sealedEnd = end - TAG_BYTES;
    const payload = openSealed(this.#key, nonceOf(this.#iv, number), header, [
      datagram.subarray(numberAt + numberBytes, sealedEnd),
      datagram.subarray(sealedEnd, end),
    ]);
    if (payload !== undefined) this.#largestNumber = Math.max(this.#largestNumber, number);
    return payload;
  }
}

interface PacketBounds {
  readonly type: number;
  readonly numberAt: number;
  readonly end: number;
}

/** Where the packet number of a long-header packet is, and where the packet ends; `undefined` for anything else. */
function boundsOf(datagram: Buffer, start: number): PacketBounds | undefined {
  const reader = new ByteReader(datagram, start + 1);
  const first = datagram[start] as number;
  if ((first & 0x80) === 0 || reader.u32() !== QUIC_VERSION_1) return undefined;
  const type = (first & 0x30) >> 4;
  if (type > LONG_PACKET.handshake) return undefined;
  reader.skip(reader.u8());
  reader.skip(reader.u8());
  if (type === LONG_PACKET.initial) reader.skip(reader.varint());
  const length = reader.varint();
  const end = reader.at + length;
  return reader.isOver || end > datagram.length ? undefined : { type, numberAt: reader.at, end };
}

interface InitialFrames {
  readonly cryptoFrames: number;
  readonly hello: Buffer | undefined;
}

/** @returns `undefined` for a truncated payload, or one with a frame of another kind (RFC 9000, section 17.2.2) */
function readFrames(payload: Buffer): InitialFrames | undefined {
  const reader = new ByteReader(payload, 0);
  let cryptoFrames = 0;
  let hello: Buffer | undefined;
  while (reader.at < payload.length && !reader.isOver) {
    const type = reader.u8();
    if (type === FRAME.padding || type === FRAME.ping) continue;
    if (type === FRAME.crypto) {
      const offset = reader.varint();
      const length = reader.varint();
      if (offset === 0) hello ??= payload.subarray(reader.at, reader.at + length);
      reader.skip(length);
      cryptoFrames += 1;
    } else if (type === FRAME.ack || type === FRAME.ackEcn) {
      skipAck(reader, type === FRAME.ackEcn);
    } else if (type === FRAME.close) {
      reader.varint();
      reader.varint();
      reader.skip(reader.varint());
    } else {
      return undefined;
    }
  }
  return reader.isOver ? undefined : { cryptoFrames, hello };
}

/** RFC 9000, section 19.3. */
function skipAck(reader: ByteReader, hasEcn: boolean): void {
  reader.varint();
  reader.varint();
  const ranges = reader.varint();
  reader.varint();
  for (let i = 0; i < ranges && !reader.isOver; i += 1) {
    reader.varint();
    reader.varint();
  }
  for (let i = 0; hasEcn && i < 3; i += 1) reader.varint();
}

function openSealed(
  key: Buffer,
  nonce: Buffer,
  header: Buffer,
  [sealed, tag]: readonly [Buffer, Buffer],
): Buffer | undefined {
  const cipher = createDecipheriv('aes-128-gcm', key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(header);
  cipher.setAuthTag(tag);
  const payload = cipher.update(sealed);
  try {
    cipher.final();
    return payload;
  } catch {
    return undefined;
  }
}

function nonceOf(iv: Buffer, packetNumber: number): Buffer {
  const nonce = Buffer.from(iv);
  nonce.writeUInt32BE((nonce.readUInt32BE(8) ^ packetNumber) >>> 0, 8);
  return nonce;
}

/** RFC 9000, appendix A.3, for numbers below 2^32: no client sends so many Initials. */
function nearestNumber(truncated: number, bytes: number, expected: number): number {
  const window = 2 ** (8 * bytes);
  const candidate = expected - (expected % window) + truncated;
  if (candidate <= expected - window / 2) return candidate + window;
  if (candidate > expected + window / 2 && candidate >= window) return candidate - window;
  return candidate;
}

/** HKDF-Expand-Label with an empty context (RFC 8446, section 7.1), for no more than one block of SHA-256. */
function expandLabel(secret: Uint8Array, label: string, length: number): Buffer {
  const name = Buffer.from(`tls13 ${label}`);
  const info = Buffer.concat([Buffer.of(0, length, name.length), name, Buffer.of(0, 1)]);
  return createHmac('sha256', secret).update(info).digest().subarray(0, length);
}
