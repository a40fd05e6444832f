/** This machine's own addresses, as its interfaces have them now. */
import { networkInterfaces } from 'node:os';
import type { SocketAddress } from './connection.js';
import { isIPv6 } from './socket-address.js';

/** One address of an interface. */
export interface LocalAddress {
  /** With its zone, where it is of one link only (RFC 4007, section 11), such as `fe80::1%eth0`. */
  readonly host: string;
  readonly interfaceName: string;
  /** Bits that it has in common with its network. */
  readonly prefixBits: number;
  /** Of loopback. */
  readonly isInternal: boolean;
}

/** Every address of every interface, in the order of the system. None where the system does not tell, as in some sandboxes. */
export function localAddresses(): LocalAddress[] {
  return Object.entries(interfaces()).flatMap(([interfaceName, addresses = []]) =>
    addresses.map((entry): LocalAddress => {
      const { address, cidr, internal: isInternal } = entry;
      const hasZone = entry.family === 'IPv6' && entry.scopeid !== 0;
      const zone = process.platform === 'win32' && hasZone ? String(entry.scopeid) : interfaceName;
      const prefixBits = Number(cidr?.split('/')[1] ?? 0);
      return {
        host: hasZone ? `${address}%${zone}` : address,
        interfaceName,
        prefixBits,
        isInternal,
      };
    }),
  );
}

/** As of `node:os`, which throws where the system does not tell. */
export function interfaces(): ReturnType<typeof networkInterfaces> {
  try {
    return networkInterfaces();
  } catch {
    return {};
  }
}

/** Whether a socket bound to this host receives what is sent to any address of the machine. */
export function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}

/** Those of {@link localAddresses} that a socket bound to this wildcard receives for: of `::`, IPv4 ones too. */
export function addressesBehind(wildcard: string): LocalAddress[] {
  return localAddresses().filter(({ host }) => wildcard === '::' || !isIPv6(host));
}

/**
 * Where peers can dial what is bound to this address: itself, or for a wildcard all that it receives for, best first:
 * those that other machines may reach, IPv4 before IPv6, before those of one link only and those of loopback.
 */
export function dialableAddresses({ host, port }: SocketAddress): SocketAddress[] {
  if (!isWildcard(host)) return [{ host, port }];
  const rank = ({ host: candidate, isInternal }: LocalAddress): number =>
    (isInternal ? 4 : 0) + (candidate.includes('%') ? 2 : 0) + (isIPv6(candidate) ? 1 : 0);
  const found = addressesBehind(host).sort((a, b) => rank(a) - rank(b));
  // A machine without an interface that is up has loopback nevertheless, or will have.
  const hosts =
    found.length > 0 ? found.map((local) => local.host) : [host === '::' ? '::1' : '127.0.0.1'];
  return [...new Set(hosts)].map((dialable) => ({ host: dialable, port }));
}
