/** Socket addresses compared, and as keys. Both take them as they are written: see {@link canonicalAddress}. */
import { isIP } from 'node:net';
import type { SocketAddress } from './connection.js';

export function isSameAddress(a: SocketAddress, b: SocketAddress): boolean {
  return a.port === b.port && a.host === b.host;
}

/** A text that no other address has. */
export function addressKey({ host, port }: SocketAddress): string {
  return `${host} ${port}`;
}

/**
 * Whether a host is an IPv6 address. Node's own function compiles its expression for them at the first call, whatever it is asked of,
 * and that takes longer than all other checks of an address; this one asks first whether the host is an IPv4 address.
 */
export function isIPv6(host: string): boolean {
  return isIP(host) === 6;
}

export function isLoopback(host: string): boolean {
  return host === '::1' || host.startsWith('127.');
}
