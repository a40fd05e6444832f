/** Socket addresses compared, and as keys. Both take them as they are written: see {@link canonicalAddress}. */
import type { SocketAddress } from './connection.js';

export function isSameAddress(a: SocketAddress, b: SocketAddress): boolean {
  return a.port === b.port && a.host === b.host;
}

/** A text that no other address has. */
export function addressKey({ host, port }: SocketAddress): string {
  return `${host} ${port}`;
}
