/** Peers that knock and have not proved who they are: how many of them a listener bears, in all and by source. */

export interface HalfOpenLimits {
  /** Peers at once that are not connections yet. */
  readonly maxHalfOpen: number;
  /** The same of one source: an IPv4 address, or an IPv6 network of 64 bits. */
  readonly maxHalfOpenPerSource: number;
}

export const DEFAULT_HALF_OPEN_LIMITS: HalfOpenLimits = {
  maxHalfOpen: 1024,
  maxHalfOpenPerSource: 64,
};

/** Counts who is half-open. Holds an entry for each source that has one, and so no more than are half-open. */
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

  /** To be called once for every `enter`. */
  leave(source: string): void {
    const left = this.of(source) - 1;
    this.#total -= 1;
    if (left === 0) this.#bySource.delete(source);
    else this.#bySource.set(source, left);
  }
}

const MAPPED_IPV4 = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i;
const IPV6_GROUPS = 8;
/** 64 bits: what a provider gives to a single customer, who then has every address in it. */
const NETWORK_GROUPS = 4;

/** The source that an address counts for. */
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
