/** Tells a client which QUIC versions this side speaks (RFC 9000, sections 6.1 and 17.2.1; RFC 8999, section 6). */
import { MIN_INITIAL_BYTES, QUIC_VERSION_1 } from '../io/packet.js';

/** The version field of Version Negotiation itself. It is never answered: two sides must not answer each other for ever. */
const NO_VERSION = 0;

/**
 * Writes the answer to a datagram of an unknown version.
 * @param datagram has a long header with both connection IDs complete; each may have up to 255 bytes
 * @param random 5 bytes, for the unused bits and for a reserved version: that makes sure that clients ignore versions they
 *   do not know (RFC 9000, section 15)
 * @returns `undefined` where none is due: the datagram is Version Negotiation, or shorter than a client's first must be
 */
export function answerVersion(datagram: Buffer, random: Uint8Array): Buffer | undefined {
  const version = datagram.readUInt32BE(1);
  if (datagram.length < MIN_INITIAL_BYTES || version === NO_VERSION) return undefined;
  const destinationEnd = 6 + (datagram[5] as number);
  const sourceEnd = destinationEnd + 1 + (datagram[destinationEnd] as number);
  // The two IDs swap places, each with its length before it.
  const destination = datagram.subarray(5, destinationEnd);
  const source = datagram.subarray(destinationEnd, sourceEnd);
  const answer = Buffer.alloc(5 + source.length + destination.length + 8);
  answer[0] = 0xc0 | (random[0] as number);
  answer.set(source, 5);
  answer.set(destination, 5 + source.length);
  const versionsAt = answer.length - 8;
  answer.writeUInt32BE(QUIC_VERSION_1, versionsAt);
  answer.writeUInt32BE(unusedVersion(random, version), versionsAt + 4);
  return answer;
}

/** A reserved version, 0x?a?a?a?a, but not the client's: a client that finds its own version ignores the answer. */
function unusedVersion(random: Uint8Array, taken: number): number {
  const digits = Buffer.from(random.subarray(1, 5)).readUInt32BE();
  const version = ((digits & 0xf0f0_f0f0) | 0x0a0a_0a0a) >>> 0;
  return version === taken ? (version ^ 0x1000_0000) >>> 0 : version;
}
