/** What a chaos proxy can do to what passes, how it is set, and the seeded decisions. Pure. */
import type { Random } from '../../../scripts/fuzz/random.js';

export const PROTOCOLS = ['udp', 'tcp'] as const;
export const DIRECTIONS = ['toServer', 'toClient'] as const;
export type Protocol = (typeof PROTOCOLS)[number];
export type Direction = (typeof DIRECTIONS)[number];

/** Of one protocol in one direction. Shares are probabilities from 0 to 1, for each datagram or TCP segment. */
export interface Faults {
  /** One way, added to what loopback takes. TCP's own handshake takes a round trip of it too. */
  readonly delayMs: number;
  /** At most so much more delay, evenly spread. Over UDP it may change the order. */
  readonly jitterMs: number;
  /** UDP: never arrives. TCP: it, and all behind it, comes {@link retransmitMs} later. */
  readonly loss: number;
  /** What TCP takes to send a lost segment again. The least that Linux waits is 200. */
  readonly retransmitMs: number;
  /** UDP only: held back until {@link reorderBy} later datagrams have gone, or for 50 ms when there are none. */
  readonly reorder: number;
  readonly reorderBy: number;
  /** UDP only: arrives twice, one right after the other. */
  readonly duplicate: number;
  /** One bit is flipped. */
  readonly corrupt: number;
  /** UDP: nothing arrives. TCP: all waits, connections to be made as well, until it is switched off. */
  readonly blackHole: boolean;
  /** One after the other at this rate; infinite for no limit. */
  readonly bytesPerSecond: number;
  /** UDP only: the largest payload that passes, as the smallest MTU on the way sets it; infinite for no limit. */
  readonly maxDatagramBytes: number;
  /** UDP only: what becomes of larger ones. */
  readonly tooLarge: TooLarge;
  /**
   * TCP only: of each connection, what would take it beyond so many bytes waits, with all behind it, until that is changed: so it
   * goes with full segments where a path carries none. Infinite for no limit.
   */
  readonly stallsAfterBytes: number;
}

/**
 * `'lost'` is a path whose ICMP messages are lost as well: no datagram above the limit ever arrives.
 *
 * `'reported'` is a path that says "packet too big". No process on this machine gets to see that: datagram sockets of
 * Node.js hear of no ICMP message, and the sender's system keeps the path's MTU and sends larger datagrams in fragments
 * from then on. So those that leave until the report is back are lost, one round trip of {@link Faults.delayMs}, and
 * the later ones arrive whole, until the limit changes.
 */
export type TooLarge = 'lost' | 'reported';

/** Faults for everything; then more special ones, which win. Those not named stay as they are. */
export interface ChaosSettings extends DirectedFaults {
  readonly udp?: DirectedFaults;
  readonly tcp?: DirectedFaults;
}

export interface DirectedFaults extends Partial<Faults> {
  readonly toServer?: Partial<Faults>;
  readonly toClient?: Partial<Faults>;
}

export type FaultTable = Readonly<Record<Protocol, Readonly<Record<Direction, Faults>>>>;

const NO_FAULTS: Faults = {
  delayMs: 0,
  jitterMs: 0,
  loss: 0,
  retransmitMs: 200,
  reorder: 0,
  reorderBy: 3,
  duplicate: 0,
  corrupt: 0,
  blackHole: false,
  bytesPerSecond: Number.POSITIVE_INFINITY,
  maxDatagramBytes: Number.POSITIVE_INFINITY,
  tooLarge: 'lost',
  stallsAfterBytes: Number.POSITIVE_INFINITY,
};

const NAMES = Object.keys(NO_FAULTS) as readonly (keyof Faults)[];
const SHARES: ReadonlySet<keyof Faults> = new Set(['loss', 'reorder', 'duplicate', 'corrupt']);
const COUNTS: ReadonlySet<keyof Faults> = new Set([
  'bytesPerSecond',
  'reorderBy',
  'maxDatagramBytes',
]);

export const FAULTLESS: FaultTable = {
  udp: { toServer: NO_FAULTS, toClient: NO_FAULTS },
  tcp: { toServer: NO_FAULTS, toClient: NO_FAULTS },
};

/** The table with settings applied. @throws RangeError for what is no share, no delay or no rate */
export function withSettings(table: FaultTable, settings: ChaosSettings): FaultTable {
  const faultsOf = (protocol: Protocol, direction: Direction): Faults => {
    const special = settings[protocol] ?? {};
    const layers = [settings, settings[direction] ?? {}, special, special[direction] ?? {}];
    const faults = layers.reduce<Faults>(overlay, table[protocol][direction]);
    checkFaults(faults);
    return faults;
  };
  const both = (protocol: Protocol) => ({
    toServer: faultsOf(protocol, 'toServer'),
    toClient: faultsOf(protocol, 'toClient'),
  });
  return { udp: both('udp'), tcp: both('tcp') };
}

function overlay(under: Faults, over: Partial<Faults>): Faults {
  const named = NAMES.filter((name) => over[name] !== undefined);
  return { ...under, ...Object.fromEntries(named.map((name) => [name, over[name]])) };
}

function checkFaults(faults: Faults): void {
  for (const name of NAMES) {
    const value = faults[name];
    if (typeof value !== 'number') continue;
    const most = SHARES.has(name) ? 1 : Number.POSITIVE_INFINITY;
    const least = COUNTS.has(name) ? 1 : 0;
    if (value >= least && value <= most) continue;
    throw new RangeError(`${name} must be from ${least} to ${most}, not ${value}`);
  }
}

/**
 * What chance has in store for one datagram, or one segment of TCP: numbers from 0 up to, but not including, 1.
 * The seven are drawn in the order of these fields whatever the faults are, so that the n-th datagram of a client
 * in one direction has the same fate with the same seed, however faults are switched meanwhile.
 */
export interface Fate {
  readonly loss: number;
  readonly corrupt: number;
  /** Which byte, as a part of the length. */
  readonly corruptAt: number;
  readonly corruptBit: number;
  readonly duplicate: number;
  readonly reorder: number;
  readonly jitter: number;
}

export function drawFate(random: Random): Fate {
  return {
    loss: random.fraction(),
    corrupt: random.fraction(),
    corruptAt: random.fraction(),
    corruptBit: random.fraction(),
    duplicate: random.fraction(),
    reorder: random.fraction(),
    jitter: random.fraction(),
  };
}

/** A copy with the one bit flipped that fate has chosen. */
export function corrupted(bytes: Buffer, { corruptAt, corruptBit }: Fate): Buffer {
  const copy = Buffer.from(bytes);
  const at = Math.floor(corruptAt * copy.length);
  if (copy.length > 0) copy[at] = (copy[at] as number) ^ (1 << Math.floor(corruptBit * 8));
  return copy;
}
