/** A path: an address of the peer and one of ours, each in the form of the system and in that of the binding. */
import type { SocketAddress } from '../../connection.js';
import type { UdpSocket } from '../io/udp-socket.js';

/** One path of a connection. The binding takes it as the addresses of a datagram that arrived. */
export interface Path {
  /** The peer's address in the binding's form; see {@link nativeAddress}. */
  readonly from: SocketAddress;
  /** Our address in the binding's form: that of the socket with which the connection began to use this path. */
  readonly to: SocketAddress;
  /** The peer's address in the system's form. */
  readonly remote: SocketAddress;
  /** The socket from which datagrams leave. For an accepted connection it may change; see `paths.ts`. */
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

/**
 * The address without its zone (`fe80::1%eth0`), which the binding cannot read. The binding only compares addresses, and the peers
 * of one socket have different addresses even without zones.
 */
export function nativeAddress(address: SocketAddress): SocketAddress {
  const zoneAt = address.host.indexOf('%');
  return zoneAt < 0 ? address : { host: address.host.slice(0, zoneAt), port: address.port };
}
