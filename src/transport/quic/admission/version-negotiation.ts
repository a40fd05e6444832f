/** Tells a client which versions are spoken here (RFC 9000, sections 6.1 and 17.2.1; RFC 8999, section 6). */
import { MIN_INITIAL_BYTES, QUIC_VERSION_1 } from '../io/packet.js';

/** Version Negotiation itself: never answered, so that two sides cannot go on answering each other. */
const NO_VERSION = 0;

/**
 * The answer to a datagram of a version that is not known here.
 * @param datagram a long header whose connection IDs are all there; of any length, up to 255 bytes each
 * @param random 5 bytes: for bits without a meaning, and for a version that exists nowhere, so that clients keep
 *   passing over those they do not know (RFC 9000, section 15)
 * @returns `undefined` where there is to be none: for a datagram that would be shorter than the first of a client
 */
export function answerVersion(datagram: Buffer, random: Uint8Array): Buffer | undefined {
  const version = datagram.readUInt32BE(1);
  if (datagram.length < MIN_INITIAL_BYTES || version === NO_VERSION) return undefined;
  const destinationEnd = 6 + (datagram[5] as number);
  const sourceEnd = destinationEnd + 1 + (datagram[destinationEnd] as number);
  // The two IDs change places, each with its length before it.
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

/** Of the form 0x?a?a?a?a, and not the client's own, which it must not find here. */
function unusedVersion(random: Uint8Array, taken: number): number {
  const digits = Buffer.from(random.subarray(1, 5)).readUInt32BE();
  const version = ((digits & 0xf0f0_f0f0) | 0x0a0a_0a0a) >>> 0;
  return version === taken ? (version ^ 0x1000_0000) >>> 0 : version;
}
