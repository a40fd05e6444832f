/**
 * Which addresses can be dialed or listened on, and the one form in which they are compared: that in which the system
 * tells where a datagram came from.
 */
import { isIP, SocketAddress as NodeAddress } from 'node:net';
import { MeshError } from '../errors.js';
import { requireNodeId } from '../protocol/node-id.js';
import type { DialTarget, SocketAddress } from './connection.js';
import { interfaces, isWildcard } from './local-addresses.js';
import { isIPv6 } from './socket-address.js';

const MAX_PORT = 65_535;

/** What users pass as an address, before it is checked. */
interface GivenAddress {
  readonly host?: unknown;
  readonly port?: unknown;
}

/**
 * Why nobody can be dialed at an address; `undefined` where a dial may be tried.
 * @param mayLackPort a name may, if discovery finds out the port
 */
export function addressFlaw({ host, port }: GivenAddress, mayLackPort = false): string | undefined {
  if (typeof host !== 'string' || host === '') return 'host must be a name or an IP address';
  const isName = isIP(host) === 0;
  if (port === undefined && mayLackPort && isName) return undefined;
  if (port === undefined) return `${host} has no port`;
  if (!isWhole(port, 1, MAX_PORT))
    return `port of ${host} must be a whole number from 1 to ${MAX_PORT}`;
  return isName ? undefined : hostFlaw(host);
}

/**
 * What a transport is asked to dial, with the node id in its canonical spelling.
 * @throws MeshError InvalidArgument for an address that nobody can be dialed at, or what cannot be a node id
 */
export function checkDialTarget({ host, port, nodeId }: DialTarget): DialTarget {
  const flaw = addressFlaw({ host, port });
  if (flaw !== undefined) throw new MeshError('InvalidArgument', flaw);
  return { host, port, nodeId: nodeId === undefined ? undefined : requireNodeId(nodeId) };
}

/** @throws MeshError InvalidArgument for an address that no socket can be bound to. A port of 0 lets the system pick. */
export function checkLocalAddress({ host, port }: GivenAddress): void {
  if (typeof host !== 'string' || isIP(host) === 0) {
    throw new MeshError('InvalidArgument', 'host must be an IP address of this machine');
  }
  if (!isWhole(port, 0, MAX_PORT)) {
    throw new MeshError('InvalidArgument', `port must be a whole number from 0 to ${MAX_PORT}`);
  }
}

/**
 * The same address in the system's words: IPv6 in its shortest form (RFC 5952), mapped IPv4 as IPv4, the zone of a
 * link-local address by its name, and given where there is only one link. A name stays as it is.
 */
export function canonicalAddress({ host, port }: SocketAddress): SocketAddress {
  return { host: canonicalHost(host), port };
}

function canonicalHost(host: string): string {
  if (!isIPv6(host)) return host;
  const [text = '', zone] = host.split('%');
  const { address } = new NodeAddress({ address: text, family: 'ipv6' });
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!isLinkLocal(address)) return address;
  const link = zone === undefined ? onlyLink() : linkNamed(zone);
  return link === undefined ? address : `${address}%${link}`;
}

function hostFlaw(host: string): string | undefined {
  const canonical = canonicalHost(host);
  if (isWildcard(canonical)) {
    return `${host} is where a node listens; where it can be dialed, its node.address says`;
  }
  const first = Number(canonical.split('.')[0]);
  const isMulticast = isIPv6(canonical) ? /^ff/i.test(canonical) : first >= 224 && first < 240;
  if (isMulticast || canonical === '255.255.255.255')
    return `${host} is not the address of one peer`;
  return undefined;
}

function isLinkLocal(address: string): boolean {
  return /^fe[89ab]/i.test(address);
}

/** Zones are numbers on Windows, and names elsewhere, where a number stands for the interface that has it. */
function linkNamed(zone: string): string {
  if (process.platform === 'win32' || !/^\d+$/.test(zone)) return zone;
  return links().find(({ index }) => index === Number(zone))?.name ?? zone;
}

function onlyLink(): string | undefined {
  const [link, ...others] = links();
  if (link === undefined || others.length > 0) return undefined;
  return process.platform === 'win32' ? String(link.index) : link.name;
}

/** Interfaces with a link-local address. */
function links(): { readonly name: string; readonly index: number }[] {
  return Object.entries(interfaces()).flatMap(([name, addresses = []]) => {
    const local = addresses.find((entry) => entry.family === 'IPv6' && entry.scopeid !== 0);
    return local?.family === 'IPv6' ? [{ name, index: local.scopeid }] : [];
  });
}

function isWhole(value: unknown, min: number, max: number): value is number {
  return Number.isInteger(value) && (value as number) >= min && (value as number) <= max;
}
