/** How many peers may be in their handshake at a listener at once, in all and by source. Until then they have proved nothing. */

/** How many peers may be in their handshake at a listener at once. */
export interface HalfOpenLimits {
  /** Peers at once whose handshake is under way. */
  readonly maxHalfOpen: number;
  /** The same of one source: an IPv4 address, or an IPv6 network of 64 bits. */
  readonly maxHalfOpenPerSource: number;
}

export const DEFAULT_HALF_OPEN_LIMITS: HalfOpenLimits = {
  maxHalfOpen: 1024,
  maxHalfOpenPerSource: 64,
};

/** Counts half-open peers. It holds an entry for each source that has one, so never more entries than half-open peers. */
export class HalfOpenCount {
  readonly #bySource = new Map<string, number>();
  #total = 0;

  get total(): number {
    return this.#total;
  }

  of(source: string): number {
    return this.#bySource.get(source) ?? 0;
  }

  enter(source: string): void {
    this.#total += 1;
    this.#bySource.set(source, this.of(source) + 1);
  }

  /** Call it once for every `enter`. */
  leave(source: string): void {
    const left = this.of(source) - 1;
    this.#total -= 1;
    if (left === 0) this.#bySource.delete(source);
    else this.#bySource.set(source, left);
  }
}

const MAPPED_IPV4 = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i;
const IPV6_GROUPS = 8;
/** 64 bits: a provider gives a single customer that much, and the customer may use every address in it. */
const NETWORK_GROUPS = 4;

/** The source that an address is counted under: an IPv4 address, or an IPv6 network of 64 bits. */
export function sourceOf(host: string): string {
  if (!host.includes(':')) return host;
  const mapped = MAPPED_IPV4.exec(host)?.[1];
  if (mapped !== undefined) return mapped;
  const [address = ''] = host.split('%');
  const [before = '', after] = address.split('::');
  const head = groupsOf(before);
  const tail = groupsOf(after ?? '');
  const zeros = Array.from({ length: IPV6_GROUPS - head.length - tail.length }, () => '0');
  const groups = after === undefined ? head : [...head, ...zeros, ...tail];
  const network = groups.slice(0, NETWORK_GROUPS).map((group) => Number.parseInt(group, 16));
  return `${network.map((group) => group.toString(16)).join(':')}::/64`;
}

function groupsOf(text: string): string[] {
  return text === '' ? [] : text.split(':');
}
