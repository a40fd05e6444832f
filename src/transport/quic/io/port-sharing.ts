/** How sockets of this process share a UDP port, which the system allows only to those that all ask for it. */
import type { SocketOptions } from 'node:dgram';

/**
 * What a socket asks for to share its port. By SO_REUSEPORT Linux lets none but sockets of the same user in. Versions of Node
 * without it have SO_REUSEADDR, by which sockets of any local user may bind the port, too. Elsewhere SO_REUSEADDR is all there is.
 */
export const SHARED_PORT: Partial<SocketOptions> = hasReusePort()
  ? ({ reusePort: true } as Partial<SocketOptions>)
  : { reuseAddr: true };

/**
 * Whether the system hands a datagram to the socket that is connected to its sender, before others at the same port. Linux
 * does; of other systems nobody has made sure.
 */
export const PREFERS_CONNECTED = process.platform === 'linux';

/** Since Node 22.12 and 23.1. */
function hasReusePort(): boolean {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const isNew = major > 23 || (major === 23 && minor >= 1) || (major === 22 && minor >= 12);
  return process.platform === 'linux' && isNew;
}
