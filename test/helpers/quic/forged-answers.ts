/** What anybody can answer a dialer who sees its first packet: no key is needed but those that follow from that packet. */
import { createCipheriv, randomBytes } from 'node:crypto';
import { initialSecrets, packetKeys } from './packet-keys.js';
import { initialPacket } from './packets.js';

/** Of version 1 (RFC 9001, section 5.8). */
const RETRY_KEY = Buffer.from('be0c690b9f66575a1d766b54e368c84e', 'hex');
const RETRY_NONCE = Buffer.from('461599d35d632bf2239825bb', 'hex');
const VERSION_1 = Buffer.from([0, 0, 0, 1]);

/** The connection IDs of a dialer's first packet. */
export interface SeenDialer {
  /** Its first choice for the other side. */
  readonly originalId: Buffer;
  readonly sourceId: Buffer;
}

/** @param datagram begins with a long header */
export function idsOf(datagram: Buffer): SeenDialer {
  const destinationEnd = 6 + (datagram[5] as number);
  const sourceEnd = destinationEnd + 1 + (datagram[destinationEnd] as number);
  return {
    originalId: Buffer.from(datagram.subarray(6, destinationEnd)),
    sourceId: Buffer.from(datagram.subarray(destinationEnd + 1, sourceEnd)),
  };
}

export function isInitial(datagram: Buffer): boolean {
  return ((datagram[0] as number) & 0xf0) === 0xc0;
}

/** An Initial packet of the server, with these frames. */
export function forgedInitial(
  { originalId, sourceId }: SeenDialer,
  payload: Buffer,
  from: Buffer = randomBytes(16),
): Buffer {
  const keys = packetKeys(initialSecrets(originalId).server);
  const packetNumber = 1000;
  return initialPacket({
    originalId,
    destinationId: sourceId,
    sourceId: from,
    packetNumber,
    payload,
    keys,
    padTo: 100,
  });
}

/** @param serverId the connection ID that the dialer sends to at the time */
export function forgedRetry({ sourceId }: SeenDialer, serverId: Buffer): Buffer {
  const from = randomBytes(16);
  const token = randomBytes(32);
  const head = Buffer.concat([
    Buffer.from([0xf0]),
    VERSION_1,
    Buffer.from([sourceId.length]),
    sourceId,
    Buffer.from([from.length]),
    from,
    token,
  ]);
  const cipher = createCipheriv('aes-128-gcm', RETRY_KEY, RETRY_NONCE);
  cipher.setAAD(Buffer.concat([Buffer.from([serverId.length]), serverId, head]));
  cipher.final();
  return Buffer.concat([head, cipher.getAuthTag()]);
}

/** Version Negotiation that offers a version which nobody speaks. */
export function forgedVersions({ originalId, sourceId }: SeenDialer): Buffer {
  const ids = [sourceId, originalId].flatMap((id) => [Buffer.from([id.length]), id]);
  return Buffer.concat([Buffer.from([0x80, 0, 0, 0, 0]), ...ids, Buffer.from('1a2a3a4a', 'hex')]);
}
