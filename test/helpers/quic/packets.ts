/** Packets of QUIC version 1, protected and opened by hand (RFC 9000, section 17; RFC 9001, sections 5.3 and 5.4). */
import { type CipherGCMTypes, createCipheriv, createDecipheriv } from 'node:crypto';
import { varint } from './frames.js';
import { initialSecrets, type PacketKeys, packetKeys } from './packet-keys.js';

const TAG_BYTES = 16;
const SAMPLE_BYTES = 16;
const VERSION_1 = Buffer.from([0, 0, 0, 1]);

export interface InitialPacket {
  /** The destination connection ID that the keys come from: the client's first choice. */
  readonly originalId: Buffer;
  /** The destination, where it is another one by now. */
  readonly destinationId?: Buffer;
  readonly sourceId: Buffer;
  readonly packetNumber: number;
  readonly payload: Buffer;
  readonly token?: Buffer;
  /** Pads with PADDING frames to a packet of so many bytes. Default 1200. */
  readonly padTo?: number;
  /** Of {@link initialKeys}, for those who make many with one connection ID. */
  readonly keys?: PacketKeys;
}

/** What protects a client's Initial packets. */
export function initialKeys(originalId: Uint8Array): PacketKeys {
  return packetKeys(initialSecrets(originalId).client);
}

/** A client's Initial packet, as anyone can make it who knows the address of a server. */
export function initialPacket(packet: InitialPacket): Buffer {
  const { originalId, destinationId = originalId, sourceId, token, padTo = 1200 } = packet;
  const tokenBytes = token ?? Buffer.alloc(0);
  const head = Buffer.concat([
    Buffer.from([0xc0 | (PACKET_NUMBER_BYTES - 1)]),
    VERSION_1,
    Buffer.from([destinationId.length]),
    destinationId,
    Buffer.from([sourceId.length]),
    sourceId,
    varint(tokenBytes.length),
    tokenBytes,
  ]);
  const overheadBytes = head.length + 2 + PACKET_NUMBER_BYTES + TAG_BYTES;
  const payload = padded(packet.payload, padTo - overheadBytes);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(0x4000 | (PACKET_NUMBER_BYTES + payload.length + TAG_BYTES));
  const keys = packet.keys ?? initialKeys(originalId);
  const number = packetNumberField(packet.packetNumber);
  return protect(Buffer.concat([head, length, number]), packet.packetNumber, payload, keys);
}

/** A packet of an established connection, with the secrets of its own client. */
export function shortPacket(
  destinationId: Buffer,
  packetNumber: number,
  payload: Buffer,
  keys: PacketKeys,
): Buffer {
  const first = Buffer.from([0x40 | (PACKET_NUMBER_BYTES - 1)]);
  const header = Buffer.concat([first, destinationId, packetNumberField(packetNumber)]);
  // Four bytes at least, so that there is enough to sample.
  return protect(header, packetNumber, padded(payload, 4), keys);
}

/** Every packet number takes four bytes, whatever could be left out. */
const PACKET_NUMBER_BYTES = 4;

function packetNumberField(packetNumber: number): Buffer {
  const bytes = Buffer.alloc(PACKET_NUMBER_BYTES);
  bytes.writeUInt32BE(packetNumber);
  return bytes;
}

/**
 * Encrypts a payload behind its header, then masks the header.
 * @param header ends with the packet number, whose length is in the first byte
 */
export function protect(
  header: Buffer,
  packetNumber: number,
  payload: Buffer,
  keys: PacketKeys,
): Buffer {
  const cipher = createCipheriv(keys.suite as CipherGCMTypes, keys.key, nonce(keys, packetNumber), {
    authTagLength: TAG_BYTES,
  });
  cipher.setAAD(header, { plaintextLength: payload.length });
  const packet = Buffer.concat([
    header,
    cipher.update(payload),
    cipher.final(),
    cipher.getAuthTag(),
  ]);
  const numberBytes = ((packet[0] as number) & 0x03) + 1;
  maskHeader(packet, header.length - numberBytes, numberBytes, keys);
  return packet;
}

export interface OpenedPacket {
  readonly packetNumber: number;
  readonly payload: Buffer;
}

/**
 * Opens a packet; `undefined` when the keys are not those it was protected with.
 * @param numberOffset where its packet number begins
 * @param expected the packet number that would come next, to fill in what was left out
 */
export function openPacket(
  packet: Buffer,
  numberOffset: number,
  expected: number,
  keys: PacketKeys,
): OpenedPacket | undefined {
  const copy = Buffer.from(packet);
  const mask = headerMask(sampleOf(copy, numberOffset), keys);
  copy[0] = (copy[0] as number) ^ ((mask[0] as number) & firstByteMask(copy));
  const numberBytes = ((copy[0] as number) & 0x03) + 1;
  for (let i = 0; i < numberBytes; i += 1) {
    copy[numberOffset + i] = (copy[numberOffset + i] as number) ^ (mask[1 + i] as number);
  }
  const payloadOffset = numberOffset + numberBytes;
  const truncated = copy.readUIntBE(numberOffset, numberBytes);
  const packetNumber = nearest(truncated, numberBytes, expected);
  const cipher = createDecipheriv(
    keys.suite as CipherGCMTypes,
    keys.key,
    nonce(keys, packetNumber),
    { authTagLength: TAG_BYTES },
  );
  const payload = copy.subarray(payloadOffset, -TAG_BYTES);
  cipher.setAAD(copy.subarray(0, payloadOffset), { plaintextLength: payload.length });
  cipher.setAuthTag(copy.subarray(-TAG_BYTES));
  try {
    return { packetNumber, payload: Buffer.concat([cipher.update(payload), cipher.final()]) };
  } catch {
    return undefined;
  }
}

function padded(payload: Buffer, bytes: number): Buffer {
  if (payload.length >= bytes) return payload;
  return Buffer.concat([payload], bytes);
}

function nonce(keys: PacketKeys, packetNumber: number): Buffer {
  const bytes = Buffer.from(keys.iv);
  const low = bytes.length - 6;
  bytes.writeUIntBE(Number(BigInt(bytes.readUIntBE(low, 6)) ^ BigInt(packetNumber)), low, 6);
  return bytes;
}

/** Of a long header four bits are masked, of a short one five (RFC 9001, section 5.4.1). */
function firstByteMask(packet: Buffer): number {
  return ((packet[0] as number) & 0x80) === 0 ? 0x1f : 0x0f;
}

function sampleOf(packet: Buffer, numberOffset: number): Buffer {
  return packet.subarray(numberOffset + 4, numberOffset + 4 + SAMPLE_BYTES);
}

function maskHeader(
  packet: Buffer,
  numberOffset: number,
  numberBytes: number,
  keys: PacketKeys,
): void {
  const mask = headerMask(sampleOf(packet, numberOffset), keys);
  packet[0] = (packet[0] as number) ^ ((mask[0] as number) & firstByteMask(packet));
  for (let i = 0; i < numberBytes; i += 1) {
    packet[numberOffset + i] = (packet[numberOffset + i] as number) ^ (mask[1 + i] as number);
  }
}

function headerMask(sample: Buffer, { suite, hp }: PacketKeys): Buffer {
  // OpenSSL's ChaCha20 takes counter and nonce as one: just what a sample is (RFC 9001, section 5.4.4).
  if (suite === 'chacha20-poly1305') {
    return createCipheriv('chacha20', hp, sample).update(Buffer.alloc(5));
  }
  const cipher = createCipheriv(suite.replace('gcm', 'ecb'), hp, null);
  return cipher.setAutoPadding(false).update(sample);
}

/** The packet number nearest to the expected one that ends in these bytes (RFC 9000, appendix A.3). */
function nearest(truncated: number, bytes: number, expected: number): number {
  const window = 2 ** (8 * bytes);
  const candidate = expected - (expected % window) + truncated;
  if (candidate <= expected - window / 2) return candidate + window;
  if (candidate > expected + window / 2 && candidate >= window) return candidate - window;
  return candidate;
}
