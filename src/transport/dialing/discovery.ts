/** Turns a peer's names into the addresses that a dial tries. */
import { isIP } from 'node:net';
import { abortable, cancelledError, joinSignals } from '../../base/abortable.js';
import { handleRejection } from '../../base/realms.js';
import { asMeshError, MeshError } from '../../errors.js';
import { requireNodeId } from '../../protocol/node-id.js';
import type { DialTarget, SocketAddress } from '../connection.js';
import { addressFlaw, canonicalAddress } from '../dial-address.js';
import { addressKey } from '../socket-address.js';

/** Where a peer is said to be: a numeric address, a DNS name, or whatever else a {@link Discovery} understands. */
export interface PeerAddress {
  readonly host: string;
  /** Required unless discovery finds it, as from SRV records. */
  readonly port?: number | undefined;
}

/** A peer to dial, at one address or at any of several, tried in order. */
export type PeerTarget =
  | DialTarget
  | {
      readonly nodeId?: string | undefined;
      readonly addresses: readonly PeerAddress[];
    };

/** Finds peers. It is asked again for every dial, so that a changed address is found as soon as a connection has failed. */
export interface Discovery {
  /**
   * The numeric addresses of one place, best first; an empty list for an unknown place.
   * @throws any error when the addresses cannot be found now
   */
  resolve(address: PeerAddress, signal?: AbortSignal): Promise<readonly SocketAddress[]>;
}

/** The largest number of addresses that one dial tries. The next dials go on with the rest. */
const MAX_ADDRESSES = 16;

/** Options of {@link locate}. */
export interface LocateOptions {
  /** Time limit for discovery, which may be anybody's code. What it has not found by then counts as not found. */
  readonly timeoutMs: number;
  /** How many dials have not reached the target. Where it has many addresses, each dial tries others. Default 0. */
  readonly turn?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Checks a user's target before anything is dialed. Everything that goes by the target's name gets one spelling of it.
 * @returns the target, with its node id in canonical spelling
 * @throws MeshError InvalidArgument for an address that cannot be dialed, or what cannot be a node id
 */
export function canonicalTarget(target: PeerTarget): PeerTarget {
  checkAddresses(target);
  const { nodeId } = target;
  return nodeId === undefined ? target : { ...target, nodeId: requireNodeId(nodeId) };
}

/** @throws MeshError InvalidArgument */
function checkAddresses(target: PeerTarget): void {
  const addresses: unknown = 'addresses' in target ? target.addresses : [target];
  if (!Array.isArray(addresses)) {
    throw new MeshError('InvalidArgument', 'addresses must be a list');
  }
  for (const address of addresses) {
    const flaw = addressFlaw(address ?? {}, true);
    if (flaw !== undefined) throw new MeshError('InvalidArgument', flaw);
  }
}

/**
 * The numeric addresses of a target, in order, without duplicates, at most 16, in canonical form. Numeric addresses need no
 * discovery. Found addresses that cannot be dialed, such as those with port 0, are left out.
 * @throws MeshError ConnectFailed when there are none; InvalidArgument as canonicalTarget; Cancelled
 */
export async function locate(
  target: PeerTarget,
  discovery: Discovery,
  { timeoutMs, turn = 0, signal }: LocateOptions,
): Promise<readonly SocketAddress[]> {
  checkAddresses(target);
  const all = 'addresses' in target ? target.addresses : [target];
  const asked = takeTurn(all, turn);
  const answers = await Promise.allSettled(
    asked.map((address) => locateOne(address, discovery, timeoutMs, signal)),
  );
  const found = new Map<string, SocketAddress>();
  const flaws: string[] = [];
  for (const answer of answers) {
    if (answer.status === 'rejected') continue;
    for (const address of answer.value) {
      const flaw = addressFlaw(address);
      if (flaw === undefined) found.set(addressKey(address), address);
      else flaws.push(flaw);
    }
  }
  if (signal?.aborted === true) throw cancelledError(signal);
  if (found.size > 0) {
    // Each turn asks other places. After a full round over all places, other addresses of each are tried.
    return takeTurn([...found.values()], Math.floor(turn / turnsOf(all)));
  }
  const failed = answers.find((answer) => answer.status === 'rejected');
  const reason = asMeshError(failed?.reason);
  if (reason !== undefined && reason.code !== 'Cancelled') throw reason;
  const names = asked.map(({ host }) => host).join(', ');
  const [flaw] = flaws;
  if (flaw !== undefined) {
    throw new MeshError('ConnectFailed', `${names} leads to no address to dial: ${flaw}`);
  }
  throw new MeshError('ConnectFailed', `cannot resolve ${names}`, { cause: failed?.reason });
}

/** The part of a list that one dial can try, a different one in each turn. */
function takeTurn<T>(all: readonly T[], turn: number): readonly T[] {
  const start = (turn % turnsOf(all)) * MAX_ADDRESSES;
  return all.slice(start, start + MAX_ADDRESSES);
}

function turnsOf(all: readonly unknown[]): number {
  return Math.max(1, Math.ceil(all.length / MAX_ADDRESSES));
}

async function locateOne(
  { host, port }: PeerAddress,
  discovery: Discovery,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<readonly SocketAddress[]> {
  if (isIP(host) === 0) {
    const ends = joinSignals(AbortSignal.timeout(timeoutMs), signal);
    try {
      // Both the promise and the list may be anybody's: what one of them throws is a failure to find the place.
      const asked = Promise.resolve(discovery.resolve({ host, port }, ends.signal));
      return readAnswer(await abortable(asked, ends.signal));
    } catch (thrown) {
      handleRejection(thrown);
      throw thrown;
    } finally {
      ends.release();
    }
  }
  if (port === undefined) throw new MeshError('InvalidArgument', `${host} has no port`);
  return readAnswer([{ host, port }]);
}

/** Reads every address once, so that what is checked is what is dialed. What cannot be read is no address. */
function readAnswer(answer: readonly SocketAddress[]): readonly SocketAddress[] {
  return Array.from(answer, (given) => {
    handleRejection(given);
    try {
      const { host, port } = given;
      // Whoever forgets an await has promises in the list, for which nobody waits.
      handleRejection(host);
      handleRejection(port);
      return addressFlaw({ host, port }) === undefined
        ? canonicalAddress({ host, port })
        : { host, port };
    } catch {
      return UNREADABLE;
    }
  });
}

/** Its flaw is that it has no host. */
const UNREADABLE: SocketAddress = { host: '', port: 0 };

/**
 * Discovery from a table.
 * @param places addresses by name; the table may change while it is in use
 */
export function staticDiscovery(
  places: Readonly<Record<string, readonly SocketAddress[]>>,
): Discovery {
  return {
    resolve: async ({ host }) => (Object.hasOwn(places, host) ? (places[host] ?? []) : []),
  };
}
