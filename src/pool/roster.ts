/** The members of a pool. */

import { Alarm, type Alarms } from '../base/alarms.js';
import { DeadlineHeap } from '../base/deadline-heap.js';
import { isOrderly, MeshError } from '../errors.js';
import { type HealthLimits, lookEveryMs } from './health.js';
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
  readonly alarms: Alarms;
  /** Whether this side closes its own connections where both sides have dialed at the same time. */
  readonly yields: () => boolean;
}

/**
 * The connections of a pool: which take calls, which are on their way out, and how each is doing. It fails those that
 * are dead, and retires those that are one too many.
 *
 * A connection is looked at when its next sign of life is due, so idle ones cost next to nothing, however many there are. Looks
 * are at whole multiples of their interval on the clock, so that those of many pools fall together.
 */
export class Roster<M extends PoolMember> {
  readonly counts = { dialed: 0, accepted: 0, retired: 0 };
  readonly #options: RosterOptions<M>;
  readonly #members = new Map<M, PooledConnection<M>>();
  readonly #open: PooledConnection<M>[] = [];
  readonly #due = new DeadlineHeap<PooledConnection<M>>();
  readonly #alarm: Alarm;
  readonly #lookEveryMs: number;
  /** Open ones that the pool's limits count, and those of them that this side may close. */
  #counted = 0;
  #ours = 0;
  #isStopped = false;

  /** @param onLook called when {@link look} is due */
  constructor(options: RosterOptions<M>, onLook: () => void) {
    this.#options = options;
    this.#alarm = new Alarm(options.alarms, onLook);
    this.#lookEveryMs = lookEveryMs(options.health);
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
    const { host, health, alarms } = this.#options;
    const { nowMs } = alarms;
    const entry: PooledConnection<M> = new PooledConnection(member, {
      health,
      nowMs,
      isPinned,
      onState: (to, { kind: from }) => host.changed(member, from, to),
      onWake: () => this.#wake(entry),
    });
    this.#members.set(member, entry);
    this.#open.push(entry);
    this.#count(entry, 1);
    this.counts[entry.isDialed ? 'dialed' : 'accepted'] += 1;
    entry.moveTo({ kind: 'active' });
    const { connection } = member;
    connection.onGoAway = () => this.#leave(entry, 'the peer goes away', true);
    void connection.closed.then((error) => this.#closed(entry, error));
    this.#schedule(entry, nowMs + this.#lookEveryMs);
    this.#arm();
    if (!connection.isGoingAway) return true;
    this.#leave(entry, 'the peer goes away', true);
    return false;
  }

  /** Leaves new calls to other connections. This one ends with the calls under way. */
  retire(member: M, reason: string): void {
    const entry = this.#members.get(member);
    if (entry !== undefined) this.#leave(entry, reason, false);
  }

  /** Checks the health of the connections whose time has come, and retires surplus ones. */
  look(nowMs: number): void {
    for (let entry = this.#due.take(nowMs); entry !== undefined; entry = this.#due.take(nowMs)) {
      this.#lookAt(entry, nowMs);
      this.#schedule(entry, entry.nextLookMs(nowMs));
    }
    this.#trim(nowMs);
    this.#arm();
  }

  /** Something has changed that a look may have to act on. */
  lookSoon(): void {
    if (this.#members.size > 0) this.#armBy(this.#nextRoundMs);
  }

  /** Ends the health checks. */
  stop(): void {
    this.#isStopped = true;
    this.#alarm.stop();
  }

  /** A call has begun. It gets its first look when it would have had one if nobody had rested. */
  #wake(entry: PooledConnection<M>): void {
    this.#schedule(entry, this.#nextRoundMs);
    this.#arm();
  }

  /** @param atMs rounded up to a round of looks */
  #schedule(entry: PooledConnection<M>, atMs: number): void {
    if (!this.#members.has(entry.member)) return;
    this.#due.set(entry, Math.ceil(atMs / this.#lookEveryMs) * this.#lookEveryMs);
  }

  /** When the next round of looks would be. */
  get #nextRoundMs(): number {
    return (Math.floor(this.#options.alarms.nowMs / this.#lookEveryMs) + 1) * this.#lookEveryMs;
  }

  #arm(): void {
    this.#armBy(this.#due.nextMs);
    if (this.#isOverfull) this.#armBy(this.#nextRoundMs);
  }

  #armBy(atMs: number): void {
    if (!this.#isStopped && atMs < this.#alarm.deadlineMs) this.#alarm.set(atMs);
  }

  /** Whether a connection could be one too many, if not now then once it was idle for long. */
  get #isOverfull(): boolean {
    return this.#ours > 0 && this.#counted > this.#options.size.min;
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
    if (!this.#isOverfull) return;
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
    this.#due.delete(entry);
    entry.moveTo(isOrderly(error.code) ? { kind: 'closed' } : { kind: 'failed', error });
    if (this.#members.size === 0) this.#alarm.stop();
    this.#options.host.closed(error, wasOpen);
  }

  /** Takes a connection off those that take calls. @returns whether it was one */
  #close(entry: PooledConnection<M>): boolean {
    const index = this.#open.indexOf(entry);
    if (index < 0) return false;
    this.#open.splice(index, 1);
    this.#count(entry, -1);
    return true;
  }

  #count({ isPinned, isDialed }: PooledConnection<M>, change: 1 | -1): void {
    if (isPinned) return;
    this.#counted += change;
    if (isDialed) this.#ours += change;
  }
}

/** A connection that is to stay where another is closed must first prove that it is live. */
function askForLife(well: readonly PooledConnection<PoolMember>[], nowMs: number): void {
  const sinceMs = Math.max(...well.map(({ establishedMs }) => establishedMs));
  for (const entry of well) entry.askSince(sinceMs, nowMs);
}
