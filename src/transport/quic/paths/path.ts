/** A way between an address of the peer and one of ours: as the system has it, and as the binding does. */
import type { SocketAddress } from '../../connection.js';
import type { UdpSocket } from '../io/udp-socket.js';

/** Serves as the binding's word for a datagram that came over it. */
export interface Path {
  /** The peer's address, as the binding has it: {@link nativeAddress}. */
  readonly from: SocketAddress;
  /** Ours, likewise: of the socket that the connection began with on this path. */
  readonly to: SocketAddress;
  /** The peer's address, as the system has it. */
  readonly remote: SocketAddress;
  /** Where datagrams leave. Of an accepted connection it may be another one than it was: see `paths.ts`. */
  readonly socket: UdpSocket;
}

export function pathBetween(socket: UdpSocket, remote: SocketAddress): Path {
  return {
    from: nativeAddress(remote),
    to: nativeAddress(socket.address),
    remote,
    socket,
  };
}

/** The binding reads no zones (`fe80::1%eth0`). It compares addresses only, and those of one socket differ without. */
export function nativeAddress(address: SocketAddress): SocketAddress {
  const zoneAt = address.host.indexOf('%');
  return zoneAt < 0 ? address : { host: address.host.slice(0, zoneAt), port: address.port };
}
