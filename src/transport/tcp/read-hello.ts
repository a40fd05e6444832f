/** Reads the ClientHello off an accepted socket, and puts it back for TLS to find. */
import type { Socket } from 'node:net';
import { ClientHelloReader } from './client-hello.js';

/**
 * Calls `done` once: with the ClientHello as soon as it is whole, or with `undefined` when no ClientHello comes. Not at all where the
 * socket closes or ends before. The socket is paused then, and whoever reads it next gets all its bytes.
 * @param socket paused, and not read by anybody yet
 */
export function readHello(socket: Socket, done: (hello: Buffer | undefined) => void): void {
  const reader = new ClientHelloReader();
  const receive = (piece: Buffer): void => {
    const state = reader.push(piece);
    if (state === 'incomplete') return;
    socket.off('data', receive);
    socket.pause();
    if (state === 'bad') {
      done(undefined);
      return;
    }
    socket.unshift(reader.raw);
    done(reader.hello);
  };
  // Who ends before TLS has begun wants nothing.
  socket.once('end', () => socket.destroy());
  socket.on('data', receive);
  socket.resume();
}
