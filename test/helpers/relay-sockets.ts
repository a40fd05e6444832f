/** Relays between two sockets. */
import type { Socket } from 'node:net';

/** Passes on what either sends, until one of them closes. Both are among the sockets until then. */
export function relaySockets(near: Socket, far: Socket, sockets: Set<Socket>): void {
  for (const [socket, other] of [
    [near, far],
    [far, near],
  ] as const) {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => {
      sockets.delete(socket);
      other.destroy();
    });
    socket.pipe(other);
  }
}
