/** What inputs are made from: the test vectors, certificates, and packets made by hand. */
import { readdirSync, readFileSync } from 'node:fs';
import { CHECKSUM_BYTES, HEADER_BYTES } from '../../src/protocol/frame.js';
import { parsePem } from '../../src/transport/trust/pem.js';

const VECTORS = new URL('../../test/vectors/', import.meta.url);
const FLAGS_AT = 4;
/** Long vectors say little more than short ones, and take longer. */
const MAX_SEED_BYTES = 4096;

/** A vector, as far as its bytes go. */
interface VectorFile {
  readonly vectors: readonly { readonly name: string; readonly hex?: string }[];
}

/** The frames of the vector files whose name matches. */
export function frames(name: RegExp = /./): Buffer[] {
  return readdirSync(VECTORS)
    .filter((file) => file.endsWith('.json') && name.test(file))
    .sort()
    .flatMap((file) => {
      const text = readFileSync(new URL(file, VECTORS), 'utf8');
      return (JSON.parse(text) as VectorFile).vectors.flatMap(({ hex }) =>
        hex === undefined ? [] : [Buffer.from(hex, 'hex')],
      );
    })
    .filter(({ length }) => length <= MAX_SEED_BYTES);
}

/** Payloads of those whole frames that have the given compression (0 none, 1 LZ4, 2 Zstd). */
export function payloads(name: RegExp, compression: number): Buffer[] {
  return frames(name)
    .filter((frame) => frame.length > HEADER_BYTES && compressionOf(frame) === compression)
    .map((frame) => frame.subarray(HEADER_BYTES, frame.length - checksumBytes(frame)));
}

function compressionOf(frame: Buffer): number {
  return (frame.readUInt16BE(FLAGS_AT) >> 4) & 7;
}

function checksumBytes(frame: Buffer): number {
  return (frame.readUInt16BE(FLAGS_AT) & 0x80) === 0 ? 0 : CHECKSUM_BYTES;
}

/** Certificates of openssl's making, in DER: with names and constraints of every kind, of version 1, for something else. */
export function certificates(): Buffer[] {
  const pem = readFileSync(new URL('certificates.pem', import.meta.url), 'utf8');
  return parsePem(pem).map(({ raw }) => raw);
}

/** A connection ID that the router is told is known. */
export const KNOWN_ID = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');

/** Datagrams of QUIC: each kind of packet, to a known and to an unknown connection ID. */
export function datagrams(): Buffer[] {
  const unknown = Buffer.alloc(16, 0xaa);
  const ids = [KNOWN_ID, unknown, Buffer.alloc(8, 1), Buffer.alloc(20, 2), Buffer.alloc(0)];
  const found: Buffer[] = [];
  for (const id of ids) {
    found.push(Buffer.concat([Buffer.of(0x40), id, Buffer.alloc(24, 7)]));
    for (const first of [0xc0, 0xd0, 0xe0, 0xf0, 0x80]) {
      for (const version of [1, 0, 0x6b33_43cf, 0x0a0a_0a0a]) {
        found.push(longHeader(first, version, id, Buffer.alloc(8, 3), 60));
      }
    }
    found.push(longHeader(0xc0, 1, id, Buffer.alloc(8, 3), 1200));
    found.push(longHeader(0xc0, 0x6b33_43cf, id, Buffer.alloc(30, 3), 1200));
    found.push(withToken(id, Buffer.concat([Buffer.of(0x71), Buffer.alloc(40, 8)])));
  }
  return [...found, Buffer.alloc(0), Buffer.of(0), Buffer.of(0xff), Buffer.alloc(1200)];
}

/** A first datagram with a token of the length and the mark of one, and a packet of 1,100 bytes. */
function withToken(id: Buffer, token: Buffer): Buffer {
  const head = longHeader(0xc0, 1, id, Buffer.alloc(8, 3), 0);
  const length = Buffer.of(0x44, 0x4c);
  return Buffer.concat([head, Buffer.of(token.length), token, length, Buffer.alloc(1100, 9)]);
}

function longHeader(
  first: number,
  version: number,
  destination: Buffer,
  source: Buffer,
  length: number,
): Buffer {
  const head = Buffer.alloc(5);
  head[0] = first;
  head.writeUInt32BE(version, 1);
  const ids = [Buffer.of(destination.length), destination, Buffer.of(source.length), source];
  const packet = Buffer.concat([head, ...ids]);
  return Buffer.concat([packet, Buffer.alloc(Math.max(0, length - packet.length), 9)]);
}
