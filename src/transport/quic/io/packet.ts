/**
 * Reads of a QUIC packet what an endpoint needs to route its datagram: mostly the version-independent part (RFC 8999). It is
 * parsed by hand, because every datagram passes here.
 */

/** Length of the connection IDs that an acceptor issues. Those of a dialer are longer, because the first one is its knock. */
export const CONNECTION_ID_BYTES = 16;
/** How much of a connection ID finds its connection: a short header does not tell how long the ID is. */
const ROUTE_BYTES = CONNECTION_ID_BYTES;
export const QUIC_VERSION_1 = 0x0000_0001;
/** The longest connection ID of version 1 (RFC 9000, section 17.2). */
export const MAX_ID_BYTES = 20;
/** A client's first datagram is at least this long (RFC 9000, section 14.1). */
export const MIN_INITIAL_BYTES = 1200;
/** The UDP payload in an Ethernet frame of 1,500 bytes, with IPv6. */
export const ETHERNET_DATAGRAM_BYTES = 1452;

/** Where a datagram goes. Connection IDs are in the form of {@link routeOf}. */
export type Route =
  | { readonly kind: 'known'; readonly connectionId: string }
  | {
      /** The first packet of a client that may be accepted. */
      readonly kind: 'initial';
      readonly connectionId: string;
    }
  | { readonly kind: 'drop'; readonly reason: DropReason };

export type DropReason = 'malformed' | 'unknownVersion' | 'shortInitial' | 'unknownConnection';

/** The beginning of a connection ID as a key of the routing table: latin1 text, one character a byte. */
export function routeOf(connectionId: Uint8Array): string {
  return Buffer.from(connectionId.subarray(0, ROUTE_BYTES)).toString('latin1');
}

/** Finds where a datagram goes. @param isKnown whether a connection ID is in the routing table */
export function routeDatagram(datagram: Buffer, isKnown: (connectionId: string) => boolean): Route {
  const first = datagram[0];
  if (first === undefined) return drop('malformed');
  return (first & 0x80) === 0 ? routeShort(datagram, isKnown) : routeLong(datagram, first, isKnown);
}

function routeShort(datagram: Buffer, isKnown: (connectionId: string) => boolean): Route {
  const end = 1 + ROUTE_BYTES;
  if (datagram.length < end) return drop('malformed');
  const connectionId = datagram.toString('latin1', 1, end);
  return isKnown(connectionId) ? { kind: 'known', connectionId } : drop('unknownConnection');
}

/** A long header has the first byte, a u32 version, then both connection IDs, each behind its length. */
function routeLong(
  datagram: Buffer,
  first: number,
  isKnown: (connectionId: string) => boolean,
): Route {
  if (datagram.length < 7) return drop('malformed');
  const destinationBytes = datagram[5] as number;
  const destinationEnd = 6 + destinationBytes;
  if (destinationEnd >= datagram.length) return drop('malformed');
  const sourceBytes = datagram[destinationEnd] as number;
  if (destinationEnd + 1 + sourceBytes > datagram.length) return drop('malformed');
  const isVersion1 = datagram.readUInt32BE(1) === QUIC_VERSION_1;
  if (destinationBytes > MAX_ID_BYTES || sourceBytes > MAX_ID_BYTES) {
    // Other versions may have longer IDs (RFC 9000, section 17.2).
    return drop(isVersion1 ? 'malformed' : 'unknownVersion');
  }
  const connectionId = datagram.toString('latin1', 6, 6 + Math.min(destinationBytes, ROUTE_BYTES));
  // Version 0 is Version Negotiation, which only a connection that was dialed from here can use.
  if (isKnown(connectionId)) return { kind: 'known', connectionId };
  if (!isVersion1) return drop('unknownVersion');
  const isInitial = (first & 0x70) === 0x40;
  if (!isInitial) return drop('unknownConnection');
  if (datagram.length < MIN_INITIAL_BYTES) return drop('shortInitial');
  // A client's first destination ID has at least 8 bytes (RFC 9000, section 7.2).
  return destinationBytes < 8 ? drop('malformed') : { kind: 'initial', connectionId };
}

const HANDSHAKE = 0xe0;
const RETRY = 0xf0;
/** The form of the header, the fixed bit and the type. */
const TYPE_MASK = 0xf0;

export function hasLongHeader(datagram: Buffer): boolean {
  return ((datagram[0] as number) & 0x80) !== 0;
}

/** Whether a datagram begins with a Retry packet. What protects it is no secret (RFC 9001, section 5.8). */
export function isRetry(datagram: Buffer): boolean {
  return ((datagram[0] as number) & TYPE_MASK) === RETRY;
}

/**
 * Whether only someone who took part in the handshake can have written a datagram: all of its packets are Handshake packets, or have
 * a short header. Anybody who saw the first packet can write the others (RFC 9001, sections 5.2 and 5.8; RFC 9000, section 17.2.1).
 */
export function isOfHandshake(datagram: Buffer): boolean {
  for (let at = 0; at < datagram.length; ) {
    const first = datagram[at] as number;
    if ((first & 0x80) === 0) return true;
    if ((first & TYPE_MASK) !== HANDSHAKE) return false;
    const end = endOfHandshakePacket(datagram, at);
    if (end === undefined) return false;
    at = end;
  }
  return true;
}

/** RFC 9000, section 17.2.4. @returns `undefined` for one that is cut off, or of another version */
function endOfHandshakePacket(datagram: Buffer, start: number): number | undefined {
  if (start + 6 > datagram.length) return undefined;
  if (datagram.readUInt32BE(start + 1) !== QUIC_VERSION_1) return undefined;
  const destinationEnd = start + 6 + (datagram[start + 5] as number);
  if (destinationEnd >= datagram.length) return undefined;
  const sourceEnd = destinationEnd + 1 + (datagram[destinationEnd] as number);
  if (sourceEnd >= datagram.length) return undefined;
  const lengthBytes = 1 << ((datagram[sourceEnd] as number) >> 6);
  if (lengthBytes === 8 || sourceEnd + lengthBytes > datagram.length) return undefined;
  const length = datagram.readUIntBE(sourceEnd, lengthBytes) % 2 ** (8 * lengthBytes - 2);
  const end = sourceEnd + lengthBytes + length;
  return end > datagram.length ? undefined : end;
}

/**
 * The source connection ID of a datagram with a long header, of any version, in which {@link routeDatagram} found both IDs to be
 * complete. A view of the datagram.
 */
export function sourceIdOf(datagram: Buffer): Buffer {
  const at = 6 + (datagram[5] as number);
  return datagram.subarray(at + 1, at + 1 + (datagram[at] as number));
}

/** The header of a client's first packet. The buffers are views of the datagram. */
export interface InitialHeader {
  readonly destinationId: Buffer;
  readonly sourceId: Buffer;
  /** Empty where there is none. */
  readonly token: Buffer;
}

/** Reads a datagram that {@link routeDatagram} found to be an Initial. @returns `undefined` when it is truncated */
export function readInitialHeader(datagram: Buffer): InitialHeader | undefined {
  const destinationEnd = 6 + (datagram[5] as number);
  const sourceEnd = destinationEnd + 1 + (datagram[destinationEnd] as number);
  // routeDatagram has checked the IDs and the datagram's length. The token's length takes 1, 2, 4 or 8 bytes.
  const lengthBytes = 1 << ((datagram[sourceEnd] as number) >> 6);
  // A length of 8 bytes means a token that no datagram can hold.
  if (lengthBytes === 8 || sourceEnd + lengthBytes > datagram.length) return undefined;
  const mask = 2 ** (8 * lengthBytes - 2);
  const tokenBytes = datagram.readUIntBE(sourceEnd, lengthBytes) % mask;
  const tokenAt = sourceEnd + lengthBytes;
  if (tokenAt + tokenBytes > datagram.length) return undefined;
  return {
    destinationId: datagram.subarray(6, destinationEnd),
    sourceId: sourceIdOf(datagram),
    token: datagram.subarray(tokenAt, tokenAt + tokenBytes),
  };
}

function drop(reason: DropReason): Route {
  return { kind: 'drop', reason };
}
