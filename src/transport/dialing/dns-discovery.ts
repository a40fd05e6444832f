/**
 * Resolves names by DNS: A and AAAA records, and SRV records (RFC 2782) for names such as `_quicmesh._udp.db.example`. That
 * reaches headless services of Kubernetes and services of Consul.
 */
import { lookup, Resolver } from 'node:dns/promises';
import { abortable } from '../../base/abortable.js';
import { MeshError } from '../../errors.js';
import type { SocketAddress } from '../connection.js';
import type { Discovery } from './discovery.js';

/** How {@link dnsDiscovery} asks for names. */
export interface DnsDiscoveryOptions {
  /** Addresses of name servers, with a port where it is not 53. Default: whatever the system uses, hosts file included. */
  readonly servers?: readonly string[] | undefined;
  /** Time for one question to one server. Default 2000. */
  readonly timeoutMs?: number | undefined;
  /** How many times each server is asked. Default 2. */
  readonly tries?: number | undefined;
}

/** One SRV record. */
export interface ServiceRecord {
  readonly name: string;
  readonly port: number;
  /** Lower ones first. */
  readonly priority: number;
  /** The share of those with the same priority. */
  readonly weight: number;
}

/** Hosts of one service that are looked up: this many from the front of the order, and as many of the others by chance. */
const FIRST_SERVICE_HOSTS = 8;

/**
 * Finds peers by DNS: A and AAAA records of a host name, and SRV records of a service name such as
 * `_quicmesh._udp.example.org`, which needs no port.
 */
export function dnsDiscovery(options: DnsDiscoveryOptions = {}): Discovery {
  const { servers, timeoutMs = 2000, tries = 2 } = options;
  const resolver = new Resolver({ timeout: timeoutMs, tries });
  if (servers !== undefined) resolver.setServers(servers);
  const hosts =
    servers === undefined ? systemAddresses : (name: string) => addressesBy(resolver, name);
  return {
    async resolve({ host, port }, signal) {
      if (isServiceName(host)) return abortable(serviceAddresses(resolver, host, hosts), signal);
      if (port === undefined) throw new MeshError('InvalidArgument', `${host} has no port`);
      const addresses = await abortable(hosts(host), signal);
      return addresses.map((address) => ({ host: address, port }));
    },
  };
}

/** Whether a name asks for SRV records: its first label is that of a service. */
function isServiceName(name: string): boolean {
  return /^_[^.]+\._(?:udp|tcp)\./i.test(name);
}

async function systemAddresses(name: string): Promise<string[]> {
  return (await lookup(name, { all: true })).map(({ address }) => address);
}

/** Takes A and AAAA addresses in turn, so that an address family that does not get through costs little time. */
async function addressesBy(resolver: Resolver, name: string): Promise<string[]> {
  const [v4, v6] = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)]);
  if (v4.status === 'rejected' && v6.status === 'rejected') throw v4.reason;
  const four = v4.status === 'fulfilled' ? v4.value : [];
  const six = v6.status === 'fulfilled' ? v6.value : [];
  const turns = Math.max(four.length, six.length);
  return Array.from({ length: turns }, (_, i) => [four[i], six[i]])
    .flat()
    .filter((address) => address !== undefined);
}

async function serviceAddresses(
  resolver: Resolver,
  service: string,
  hosts: (name: string) => Promise<string[]>,
): Promise<SocketAddress[]> {
  const records = orderServices(await resolver.resolveSrv(service), Math.random);
  const found = await Promise.allSettled(
    selectServices(records, Math.random).map(async ({ name, port }) => {
      return (await hosts(name)).map((host) => ({ host, port }));
    }),
  );
  if (found.every(({ status }) => status === 'rejected') && found[0]?.status === 'rejected') {
    throw found[0].reason;
  }
  return found.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
}

/**
 * The order in which to try a service's hosts: by priority, and at random by weight within one (RFC 2782).
 * @param random numbers from 0 up to 1
 */
export function orderServices(
  records: readonly ServiceRecord[],
  random: () => number,
): ServiceRecord[] {
  const priorities = [...new Set(records.map(({ priority }) => priority))].sort((a, b) => a - b);
  return priorities.flatMap((wanted) =>
    drawByWeight(
      records.filter(({ priority }) => priority === wanted),
      random,
    ),
  );
}

/**
 * As many as are looked up at once. Those of low priority come up in one of the next dials, also behind many that are down.
 * @param ordered as {@link orderServices} does
 * @param random numbers from 0 up to 1
 */
export function selectServices(
  ordered: readonly ServiceRecord[],
  random: () => number,
): ServiceRecord[] {
  const left = ordered.map((_, index) => index).slice(FIRST_SERVICE_HOSTS);
  const drawn: number[] = [];
  while (left.length > 0 && drawn.length < FIRST_SERVICE_HOSTS) {
    drawn.push(...left.splice(Math.floor(random() * left.length), 1));
  }
  drawn.sort((a, b) => a - b);
  const chosen = drawn.flatMap((index) => ordered[index] ?? []);
  return [...ordered.slice(0, FIRST_SERVICE_HOSTS), ...chosen];
}

/** A weight of 0 counts as a hundredth, so that it is hardly ever drawn before others. */
function drawByWeight(records: readonly ServiceRecord[], random: () => number): ServiceRecord[] {
  const left = [...records];
  const drawn: ServiceRecord[] = [];
  const weightOf = ({ weight }: ServiceRecord): number => Math.max(weight, 0.01);
  while (left.length > 0) {
    let mark = random() * left.reduce((sum, record) => sum + weightOf(record), 0);
    let index = left.findIndex((record) => {
      mark -= weightOf(record);
      return mark < 0;
    });
    if (index < 0) index = left.length - 1;
    drawn.push(...left.splice(index, 1));
  }
  return drawn;
}
