/** The members of a pool. */

import type { PoolClock } from '../base/clock.js';
import { isOrderly, MeshError } from '../errors.js';
import type { HealthLimits } from './health.js';
import {
  type MemberState,
  type MemberStateKind,
  PooledConnection,
  type PoolMember,
} from './member.js';
import { type PoolSize, selectSurplus } from './surplus.js';

export interface RosterHost<M extends PoolMember> {
  changed(member: M, from: MemberStateKind, to: MemberState): void;
  suspected(member: M, isSuspect: boolean): void;
  /** A connection takes no more calls. @param isPeersWish whether the peer has said so */
  left(isPeersWish: boolean): void;
  /** A connection is over. @param wasOpen whether it took calls until then */
  closed(error: MeshError, wasOpen: boolean): void;
}

export interface RosterOptions<M extends PoolMember> {
  readonly host: RosterHost<M>;
  readonly size: PoolSize;
  readonly health: HealthLimits;
  readonly clock: PoolClock;
  /** Whether this side closes its own connections where both sides have dialed at the same time. */
  readonly yields: () => boolean;
}

/** Looks at the connections in each health interval. */
const LOOKS_PER_INTERVAL = 2;

/**
 * The connections of a pool: which take calls, which are on their way out, and how each is doing. It fails those that
 * are dead, and retires those that are one too many.
 */
export class Roster<M extends PoolMember> {
  readonly counts = { dialed: 0, accepted: 0, retired: 0 };
  readonly #options: RosterOptions<M>;
  readonly #members = new Map<M, PooledConnection<M>>();
  readonly #open: PooledConnection<M>[] = [];
  readonly #onLook: () => void;
  #stopLooking: (() => void) | undefined;
  #isStopped = false;

  /** @param onLook called several times in each health interval, while there are connections */
  constructor(options: RosterOptions<M>, onLook: () => void) {
    this.#options = options;
    this.#onLook = onLook;
  }

  get members(): readonly M[] {
    return [...this.#members.keys()];
  }

  /** Those that may take calls, oldest first. */
  get open(): readonly PooledConnection<M>[] {
    return this.#open;
  }

  /** Whether any connection takes calls and is not suspect. */
  get hasWell(): boolean {
    return this.#open.some(({ isWell }) => isWell);
  }

  has(member: M): boolean {
    return this.#members.has(member);
  }

  stateOf(member: M): MemberStateKind {
    return this.#members.get(member)?.state.kind ?? 'closed';
  }

  /** @returns whether the connection takes calls: its peer may have gone away meanwhile */
  add(member: M, isPinned: boolean): boolean {
    const { host, health, clock } = this.#options;
    const entry = new PooledConnection(member, {
      health,
      nowMs: clock.nowMs(),
      isPinned,
      onState: (to, { kind: from }) => host.changed(member, from, to),
    });
    this.#members.set(member, entry);
    this.#open.push(entry);
    this.counts[entry.isDialed ? 'dialed' : 'accepted'] += 1;
    entry.moveTo({ kind: 'active' });
    const { connection } = member;
    connection.onGoAway = () => this.#leave(entry, 'the peer goes away', true);
    void connection.closed.then((error) => this.#closed(entry, error));
    this.#startLooking();
    if (!connection.isGoingAway) return true;
    this.#leave(entry, 'the peer goes away', true);
    return false;
  }

  /** Leaves new calls to other connections. This one ends with the calls under way. */
  retire(member: M, reason: string): void {
    const entry = this.#members.get(member);
    if (entry !== undefined) this.#leave(entry, reason, false);
  }

  /** Checks the health of all connections, and retires surplus ones. */
  look(nowMs: number): void {
    for (const entry of [...this.#members.values()]) this.#lookAt(entry, nowMs);
    this.#trim(nowMs);
  }

  /** Ends the health checks. */
  stop(): void {
    this.#isStopped = true;
    this.#rest();
  }

  #startLooking(): void {
    if (this.#isStopped) return;
    const { clock, health } = this.#options;
    this.#stopLooking ??= clock.every(health.intervalMs / LOOKS_PER_INTERVAL, this.#onLook);
  }

  #rest(): void {
    this.#stopLooking?.();
    this.#stopLooking = undefined;
  }

  #lookAt(entry: PooledConnection<M>, nowMs: number): void {
    const { member } = entry;
    const finding = entry.look(nowMs);
    if (finding === 'none') return;
    if (finding === 'dead') {
      member.connection.fail(new MeshError('IdleTimeout', 'the peer gives no sign of life'));
      return;
    }
    this.#options.host.suspected(member, finding === 'suspected');
  }

  #trim(nowMs: number): void {
    const { size, yields } = this.#options;
    // The peer closes what it dialed, however many those are. They do not have to prove that they are live.
    if (this.#open.length <= size.min || !this.#open.some(isOurs)) return;
    const well = this.#open.filter(({ isWell, isPinned }) => !isPinned && isWell);
    if (well.length <= size.min) return;
    const candidates = well.map(({ isDialed, establishedMs, member, state }) => ({
      isDialed,
      establishedMs,
      lastReceivedMs: member.connection.lastReceivedMs,
      idleSinceMs: state.kind === 'idle' ? state.sinceMs : undefined,
    }));
    for (const index of selectSurplus(candidates, size, yields(), nowMs)) {
      this.#leave(well[index] as PooledConnection<M>, 'connection is not needed', false);
    }
    if (well.length > size.max) askForLife(well, nowMs);
  }

  #leave(entry: PooledConnection<M>, reason: string, isPeersWish: boolean): void {
    if (!this.#close(entry)) return;
    this.counts.retired += 1;
    entry.moveTo({ kind: 'closing' });
    void entry.member.retire(reason);
    this.#options.host.left(isPeersWish);
  }

  #closed(entry: PooledConnection<M>, error: MeshError): void {
    const wasOpen = this.#close(entry);
    this.#members.delete(entry.member);
    entry.moveTo(isOrderly(error.code) ? { kind: 'closed' } : { kind: 'failed', error });
    if (this.#members.size === 0) this.#rest();
    this.#options.host.closed(error, wasOpen);
  }

  /** Takes a connection off those that take calls. @returns whether it was one */
  #close(entry: PooledConnection<M>): boolean {
    const index = this.#open.indexOf(entry);
    if (index < 0) return false;
    this.#open.splice(index, 1);
    return true;
  }
}

/** Whether a pool may close it where it has too many. */
function isOurs({ isDialed, isPinned }: PooledConnection<PoolMember>): boolean {
  return isDialed && !isPinned;
}

/** A connection that is to stay where another is closed must first prove that it is live. */
function askForLife(well: readonly PooledConnection<PoolMember>[], nowMs: number): void {
  const sinceMs = Math.max(...well.map(({ establishedMs }) => establishedMs));
  for (const entry of well) entry.askSince(sinceMs, nowMs);
}
