/**
 * Finds the largest datagram that an interface of this machine sends unfragmented. The system would split a larger one into
 * fragments, which many networks drop, and Node offers no way to forbid that.
 */
import { readFileSync } from 'node:fs';
import type { NetworkInterfaceInfo } from 'node:os';
import { interfaces } from '../../local-addresses.js';

/** The headers of IPv6 and UDP. */
const HEADER_BYTES = 48;
/** How long an answer is used: interfaces come and go, but asking for them is not cheap. */
const FRESH_MS = 1000;

/** Sizes by the address of an interface, and the least of those that lead anywhere. */
interface Sizes {
  readonly byAddress: ReadonlyMap<string, number>;
  readonly least: number | undefined;
}

let known: { readonly sizes: Sizes; readonly untilMs: number } | undefined;

/**
 * The largest UDP payload, in bytes, for datagrams from this address; for an unspecified one (`0.0.0.0`, `::`), the least of
 * all interfaces but loopback. `undefined` where the system does not tell, as on anything but Linux.
 */
export function interfacePayloadBytes(localHost: string): number | undefined {
  const nowMs = performance.now();
  if (known === undefined || nowMs >= known.untilMs) {
    known = { sizes: readSizes(), untilMs: nowMs + FRESH_MS };
  }
  const { byAddress, least } = known.sizes;
  const [address = localHost] = localHost.split('%');
  return byAddress.get(address) ?? least;
}

function readSizes(): Sizes {
  const byAddress = new Map<string, number>();
  let least: number | undefined;
  for (const [name, addresses = []] of Object.entries(interfaces())) {
    const bytes = readPayloadBytes(name);
    if (bytes === undefined) continue;
    for (const { address } of addresses) byAddress.set(address, bytes);
    if (!addresses.every(isInternal)) least = Math.min(least ?? bytes, bytes);
  }
  return { byAddress, least };
}

function readPayloadBytes(name: string): number | undefined {
  // The first file shows the process's own network namespace, but is missing without IPv6.
  for (const path of [`/proc/sys/net/ipv6/conf/${name}/mtu`, `/sys/class/net/${name}/mtu`]) {
    try {
      const mtu = Number(readFileSync(path, 'utf8'));
      if (Number.isInteger(mtu) && mtu > HEADER_BYTES) return mtu - HEADER_BYTES;
    } catch {
      // Not Linux, or the interface is gone.
    }
  }
  return undefined;
}

function isInternal({ internal }: NetworkInterfaceInfo): boolean {
  return internal;
}
