/** Names the QUIC version 1 packets of a datagram (RFC 9000, sections 12.2 and 17), without any key. */

export type QuicPacketType =
  | 'initial'
  | '0rtt'
  | 'handshake'
  | 'retry'
  | 'versionNegotiation'
  | 'short'
  /** Zeros to the end, outside of any packet. */
  | 'padding'
  /** None of these: another version, or bytes cut off. */
  | 'unknown';

const LONG_TYPES = ['initial', '0rtt', 'handshake', 'retry'] as const;
const LONG_HEADER = 0x80;
const FIXED_BIT = 0x40;

/** A packet of a datagram, and where it ends there. */
export interface QuicPacket {
  readonly type: QuicPacketType;
  readonly end: number;
}

/** In the order in which they are coalesced. A packet that no length tells the end of is the last. */
export function quicPackets(datagram: Buffer): QuicPacket[] {
  const packets: QuicPacket[] = [];
  for (let at = 0; at < datagram.length; ) {
    const packet = packetAt(datagram, at);
    packets.push(packet);
    at = packet.end;
  }
  return packets;
}

export function quicPacketTypes(datagram: Buffer): QuicPacketType[] {
  return quicPackets(datagram).map(({ type }) => type);
}

function packetAt(datagram: Buffer, start: number): QuicPacket {
  const last = (type: QuicPacketType) => ({ type, end: datagram.length });
  const first = datagram[start] as number;
  if (datagram.subarray(start).every((byte) => byte === 0)) return last('padding');
  if ((first & LONG_HEADER) === 0) return last((first & FIXED_BIT) === 0 ? 'unknown' : 'short');
  try {
    const version = datagram.readUInt32BE(start + 1);
    if (version === 0) return last('versionNegotiation');
    if (version !== 1) return last('unknown');
    const type = LONG_TYPES[(first >> 4) & 3] as (typeof LONG_TYPES)[number];
    if (type === 'retry') return last(type);
    // Each connection ID behind its length, an Initial's token behind its own, then the length of the rest.
    let at = start + 5;
    at += 1 + datagram.readUInt8(at);
    at += 1 + datagram.readUInt8(at);
    if (type === 'initial') {
      const token = readVarint(datagram, at);
      at = token.end + token.value;
    }
    const rest = readVarint(datagram, at);
    const end = rest.end + rest.value;
    return end > datagram.length ? last('unknown') : { type, end };
  } catch {
    return last('unknown');
  }
}

/** RFC 9000, section 16. @throws RangeError past the end */
function readVarint(bytes: Buffer, at: number): { value: number; end: number } {
  const length = 1 << (bytes.readUInt8(at) >> 6);
  let value = bytes.readUInt8(at) & 0x3f;
  for (let i = 1; i < length; i += 1) value = value * 256 + bytes.readUInt8(at + i);
  return { value, end: at + length };
}
