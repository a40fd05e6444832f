/**
 * Reads the ClientHello with which TLS begins, before OpenSSL sees a byte of it: how long it is, and what protocols it offers.
 * RFC 8446, sections 4.1.2 and 5.1; RFC 7301, section 3.1.
 *
 * Pure: any bytes give a result; none make it throw.
 */
import { ByteReader } from '../admission/byte-reader.js';
import { helloExtension } from '../admission/hello-extension.js';

/** Of Node, Python and Go they have some 300 bytes, and 1,500 with a key of ML-KEM. */
export const MAX_HELLO_BYTES = 16 * 1024;

const HANDSHAKE_RECORD = 22;
const RECORD_HEADER_BYTES = 5;
const CLIENT_HELLO = 1;
const MESSAGE_HEADER_BYTES = 4;
const ALPN_EXTENSION = 16;

/** `'bad'`: no ClientHello begins so, or only one that is too long. */
export type HelloState = 'incomplete' | 'complete' | 'bad';

/** Takes the first bytes of a socket, in pieces of any size, until the ClientHello is whole. It keeps {@link MAX_HELLO_BYTES} at most. */
export class ClientHelloReader {
  #raw: Buffer = Buffer.alloc(0);
  #rawBytes = 0;
  /** Where the record begins that is not whole yet. */
  #recordAt = 0;
  /** Payload of the records before it. */
  #payloadBytes = 0;
  /** With its header, once that has come. */
  #messageBytes: number | undefined;

  /** What it costs grows with the piece alone, and not with what came before. */
  push(piece: Buffer): HelloState {
    if (this.#rawBytes + piece.length > MAX_HELLO_BYTES) return 'bad';
    this.#append(piece);
    for (;;) {
      const header = this.#raw.subarray(this.#recordAt, this.#rawBytes);
      if (!mayBeHeader(header)) return 'bad';
      if (header.length < RECORD_HEADER_BYTES) return 'incomplete';
      const recordBytes = header.readUInt16BE(3);
      const here = Math.min(recordBytes, header.length - RECORD_HEADER_BYTES);
      const state = this.#judge(this.#payloadBytes + here);
      if (state !== 'incomplete' || here < recordBytes) return state;
      this.#payloadBytes += recordBytes;
      this.#recordAt += RECORD_HEADER_BYTES + recordBytes;
    }
  }

  /** All that has come, as it came. */
  get raw(): Buffer {
    return this.#raw.subarray(0, this.#rawBytes);
  }

  /** The message without its header, once it is complete. */
  get hello(): Buffer {
    return this.#payload(this.#messageBytes ?? 0).subarray(MESSAGE_HEADER_BYTES);
  }

  /** Pieces are copied: thousands of small ones would take many times their bytes. One that is whole is not. */
  #append(piece: Buffer): void {
    if (this.#rawBytes === 0) {
      this.#raw = piece;
    } else {
      if (this.#rawBytes + piece.length > this.#raw.length) {
        const grown = Buffer.alloc(Math.min(MAX_HELLO_BYTES, 2 * (this.#rawBytes + piece.length)));
        this.#raw.copy(grown, 0, 0, this.#rawBytes);
        this.#raw = grown;
      }
      piece.copy(this.#raw, this.#rawBytes);
    }
    this.#rawBytes += piece.length;
  }

  #judge(payloadBytes: number): HelloState {
    if (payloadBytes > 0 && this.#raw[RECORD_HEADER_BYTES] !== CLIENT_HELLO) return 'bad';
    if (payloadBytes < MESSAGE_HEADER_BYTES) return 'incomplete';
    this.#messageBytes ??=
      MESSAGE_HEADER_BYTES + this.#payload(MESSAGE_HEADER_BYTES).readUIntBE(1, 3);
    if (this.#messageBytes > MAX_HELLO_BYTES) return 'bad';
    return payloadBytes < this.#messageBytes ? 'incomplete' : 'complete';
  }

  /** The first bytes of what the records carry. */
  #payload(bytes: number): Buffer {
    const payload = Buffer.alloc(bytes);
    for (let at = 0, have = 0; have < bytes; ) {
      const start = at + RECORD_HEADER_BYTES;
      const end = start + this.#raw.readUInt16BE(at + 3);
      have += this.#raw.copy(payload, have, start, Math.min(end, this.#rawBytes));
      at = end;
    }
    return payload;
  }
}

/** Judges as much of a record's header as is there, so that nobody waits for the rest of what is no TLS. */
function mayBeHeader(header: Buffer): boolean {
  if (header.length > 0 && header[0] !== HANDSHAKE_RECORD) return false;
  if (header.length > 1 && header[1] !== 3) return false;
  if (header.length < RECORD_HEADER_BYTES) return true;
  const recordBytes = header.readUInt16BE(3);
  return recordBytes > 0 && recordBytes <= MAX_HELLO_BYTES;
}

/**
 * @param hello a ClientHello without the header of its message
 * @returns the protocols that it offers, as slices of it; none where it offers none or cannot be read
 */
export function offeredProtocols(hello: Buffer): Buffer[] {
  const extension = helloExtension(hello, ALPN_EXTENSION);
  return extension === undefined ? [] : namesIn(extension);
}

function namesIn(extension: Buffer): Buffer[] {
  const names: Buffer[] = [];
  const reader = new ByteReader(extension, 0);
  reader.skip(2);
  while (!reader.isOver && reader.at < extension.length) {
    const length = reader.u8();
    const start = reader.at;
    if (reader.skip(length)) names.push(extension.subarray(start, start + length));
  }
  return reader.isOver ? [] : names;
}
