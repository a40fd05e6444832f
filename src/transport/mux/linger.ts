/**
 * Ends a byte stream so that what was written last arrives.
 *
 * A TCP socket that is destroyed with unread bytes in it sends a reset, and a reset makes the other side's
 * kernel forget what it had received: the frame that says why. So this side ends its direction, reads and
 * discards until the peer has ended too, and destroys the socket at the latest after {@link LINGER_MS}.
 */
import type { Duplex } from 'node:stream';

/** How long a peer may take to end its side. */
export const LINGER_MS = 1000;

/** Call once. The caller keeps its own `error` and `close` listeners. */
export function lingerClose(duplex: Duplex): void {
  duplex.end();
  duplex.resume();
  const timer = setTimeout(() => duplex.destroy(), LINGER_MS).unref();
  duplex.once('close', () => clearTimeout(timer));
}
