/** The connections to one peer. */

import { Alarms } from '../base/alarms.js';
import { type PoolClock, SYSTEM_CLOCK } from '../base/clock.js';
import { MeshError, toMeshError } from '../errors.js';
import { DEFAULT_BACKOFF } from './backoff.js';
import { DEFAULT_HEALTH } from './health.js';
import type { MemberStateKind, PooledConnection, PoolMember } from './member.js';
import {
  type AcquireOptions,
  type AddOptions,
  DEFAULT_POOL_LIMITS,
  DEFAULT_WAIT_LIMITS,
  type PoolLimits,
  type PoolOptions,
  type PoolStatistics,
} from './options.js';
import { type Dial, type DialFailure, Redialer } from './redialer.js';
import { Roster } from './roster.js';
import { selectCandidate } from './select.js';
import { type Waiter, WaitQueue } from './wait-queue.js';

/**
 * Keeps the connections to one peer. It chooses which one takes the next call, when to dial another, and which to
 * close. Whoever finds none waits, in order and bounded. A silent connection gets no calls while there are others, and
 * is replaced before it is given up.
 *
 * It dials once somebody asks for a connection. From then on it keeps the peer connected, until `release` or `close`.
 */
export class ConnectionPool<M extends PoolMember> {
  readonly #options: PoolOptions<M>;
  readonly #limits: PoolLimits;
  readonly #clock: PoolClock;
  readonly #redialer: Redialer<M>;
  readonly #waiters: WaitQueue<M>;
  readonly #roster: Roster<M>;
  readonly #counts = { dialsFailed: 0, lost: 0 };
  /** A connection whose dial is under way, and that takes some calls already. */
  #offered: M | undefined;
  /**
   * The peer has shut down in good order and is not back yet. A dial may still reach the process that is ending, and then
   * nothing tells whether early calls ran. So calls wait until the restarted peer has answered the handshake.
   */
  #isPeerAway = false;
  #turn = 0;
  #end: MeshError | undefined;
  /** For those who ask for it. */
  #released: AbortController | undefined;

  constructor(options: PoolOptions<M> = {}) {
    this.#options = options;
    this.#limits = { ...DEFAULT_POOL_LIMITS, ...options.limits };
    this.#clock = options.clock ?? SYSTEM_CLOCK;
    this.#waiters = new WaitQueue({ ...DEFAULT_WAIT_LIMITS, ...options.waiters }, this.#clock);
    this.#roster = this.#createRoster();
    this.#redialer = this.#createRedialer();
    this.#redialer.dial = options.dial;
  }

  /** Sets how to reach the peer from now on. */
  set dial(dial: Dial<M>) {
    this.#redialer.dial = dial;
    this.#roster.lookSoon();
  }

  get canDial(): boolean {
    return this.#redialer.dial !== undefined;
  }

  /** Whether a dial would begin now: it could, and no pause after a failure is under way. */
  get isDialDue(): boolean {
    return this.#end === undefined && this.canDial && this.#redialer.isDue;
  }

  /** Whether there may yet be a connection that takes calls. */
  get mayConnect(): boolean {
    return this.#end === undefined && this.#redialer.mayConnect;
  }

  /** Why there can be no connection; `undefined` while there can. */
  get unavailableReason(): MeshError | undefined {
    if (this.mayConnect) return undefined;
    return this.#end ?? new MeshError('ConnectionLost', 'no open connection to the peer');
  }

  /** Why the pool is closed, once it is. */
  get end(): MeshError | undefined {
    return this.#end;
  }

  /** Fires when the peer is released, for whoever waits at that time. */
  get released(): AbortSignal {
    if (this.#released === undefined) {
      this.#released = new AbortController();
      if (this.#end !== undefined) this.#released.abort(this.#end);
    }
    return this.#released.signal;
  }

  get isOpen(): boolean {
    return this.#roster.open.some(({ member }) => member.isOpen);
  }

  get members(): readonly M[] {
    return this.#roster.members;
  }

  /** Connections that take calls and are not suspect, oldest first. */
  get wellMembers(): readonly M[] {
    return this.#roster.open.filter(({ isWell }) => isWell).map(({ member }) => member);
  }

  stateOf(member: M): MemberStateKind {
    return this.#roster.stateOf(member);
  }

  get statistics(): PoolStatistics {
    const { open, members, counts } = this.#roster;
    return {
      open: open.length,
      suspect: open.filter(({ isSuspect }) => isSuspect).length,
      closing: members.length - open.length,
      dialing: this.#redialer.dials,
      waiting: this.#waiters.size,
      calls: members.reduce((sum, { load }) => sum + load, 0),
      ...counts,
      ...this.#counts,
    };
  }

  /** The connection for the next call, if there is one. Dials another where all are busy. */
  select(): M | undefined {
    const chosen = this.#select();
    if (chosen === undefined) return undefined;
    if (this.#limits.max > 1 && chosen.load >= this.#limits.growAtCalls) this.#grow();
    return chosen.member;
  }

  /**
   * A connection: an open one, or else the next one that is made.
   * @throws MeshError what the dial failed with, DeadlineExceeded, Cancelled, Overloaded when too many wait,
   *   ConnectionLost when there is none and nobody dials
   */
  async acquire({ timeoutMs, signal }: AcquireOptions = {}): Promise<M> {
    const member = this.select();
    if (member !== undefined) return member;
    const deadlineMs = this.#clock.nowMs() + (timeoutMs ?? Number.POSITIVE_INFINITY);
    if (this.canDial && !this.mayConnect) this.begin();
    return new Promise((start, fail) => {
      const accepts = (offered: M): boolean => offered.isOpen;
      this.wait({ weight: 0, deadlineMs, signal, accepts, start, fail });
    });
  }

  /** Queues for a connection, unless there is one. */
  wait(waiter: Waiter<M>): void {
    for (const member of [this.select(), this.#offered]) {
      if (member === undefined || !waiter.accepts(member)) continue;
      waiter.start(member);
      return;
    }
    const { unavailableReason } = this;
    if (unavailableReason !== undefined) {
      waiter.fail(unavailableReason);
      return;
    }
    this.#waiters.add(waiter);
    this.#fill();
  }

  /**
   * Dials unless there is a connection or a dial is under way, and keeps the peer connected from then on.
   * @param options.retry goes on where the dial fails, and waits until one succeeds
   * @throws MeshError what the dial fails with; with `retry` only a refusal
   */
  async connect(options: { signal?: AbortSignal | undefined; retry?: boolean | undefined } = {}) {
    const { signal, retry = false } = options;
    if (this.#end !== undefined) throw this.#end;
    if (!this.isOpen && !retry) {
      await this.#redialer.connect(signal);
      return;
    }
    const wasWanted = this.#redialer.isWanted;
    this.#redialer.isWanted = true;
    this.#roster.lookSoon();
    if (!this.isOpen) await this.#persist(signal, wasWanted);
  }

  /** Waits for a connection, however many dials fail. Giving up releases the peer, unless somebody else wants it. */
  async #persist(signal: AbortSignal | undefined, wasWanted: boolean): Promise<void> {
    try {
      await this.acquire({ signal });
    } catch (thrown) {
      const isGivenUp = signal?.aborted === true && !this.isOpen && this.#waiters.size === 0;
      if (isGivenUp && !wasWanted) this.#redialer.stop(toMeshError(thrown));
      throw thrown;
    }
  }

  /** Dials unless there is a connection or a dial is under way. Nobody waits for the result. */
  begin(signal?: AbortSignal): void {
    if (this.#end === undefined && !this.isOpen) this.#redialer.begin(signal);
  }

  /** Adds a connection whose handshake is done, dialed by either side. */
  add(member: M, { isPinned = false }: AddOptions = {}): void {
    if (this.#roster.has(member)) return;
    this.#redialer.connected();
    this.#waiters.lastFailure = undefined;
    this.#isPeerAway = false;
    if (this.#roster.add(member, isPinned)) this.#waiters.offer(member);
  }

  /** Leaves new calls to other connections. This one ends with the calls under way. */
  retire(member: M, reason: string): void {
    this.#roster.retire(member, reason);
  }

  /** Does what is due by now. The pool calls it by itself, and tests do. */
  look(): void {
    this.#roster.look(this.#clock.nowMs());
    this.#fill();
  }

  /** The peer is not wanted any more. Dials and waits end; open connections stay open. */
  release(error: MeshError): void {
    this.#redialer.stop(error);
    this.#offered = undefined;
    this.#waiters.failAll(error);
    this.#released?.abort(error);
    this.#released = undefined;
  }

  /** Releases the peer for good. */
  close(error: MeshError): void {
    this.#end ??= error;
    this.release(error);
    this.#roster.stop();
  }

  #select(): PooledConnection<M> | undefined {
    const { open } = this.#roster;
    const [only] = open;
    if (open.length <= 1) return only?.member.isOpen === true ? only : undefined;
    const ready = open.filter(({ member }) => member.isOpen);
    const { strategy, growAtCalls: busyAtCalls } = this.#limits;
    const index = selectCandidate(strategy, ready, { turn: this.#turn, busyAtCalls });
    this.#turn = (this.#turn + 1) % Number.MAX_SAFE_INTEGER;
    return ready[index];
  }

  #grow(): void {
    const redialer = this.#redialer;
    if (this.#end !== undefined || !redialer.isWanted || !redialer.isDue) return;
    const { max, growAtCalls } = this.#limits;
    const { open } = this.#roster;
    if (open.some(({ isWell, load }) => isWell && load < growAtCalls)) return;
    // The side that yields would have to close its own connection again.
    const yields = this.#options.yields?.() ?? false;
    const counted = open.filter(({ isDialed, isPinned }) => !isPinned && (isDialed || yields));
    if (redialer.dial !== undefined && counted.length + redialer.dials < max) redialer.begin();
  }

  #fill(): void {
    if (this.#end !== undefined) return;
    let missing = this.#limits.min;
    for (const { isWell } of this.#roster.open) {
      if (missing <= 0) break;
      if (isWell) missing -= 1;
    }
    this.#redialer.fill(missing, this.#waiters.size > 0);
  }

  #left(isPeersWish: boolean): void {
    if (isPeersWish && this.#roster.open.length === 0) this.#isPeerAway = true;
    // A pool that dials on demand has closed an idle connection, which says nothing of the peer.
    if (isPeersWish || this.#options.onDemand !== true) this.#backOff();
    this.#settle();
  }

  #lost(error: MeshError): void {
    this.#waiters.lastFailure = error;
    // Somebody has closed it on purpose, so this side does not dial again.
    if (error.code === 'NoError') {
      if (!this.isOpen) this.#redialer.isWanted = false;
      return;
    }
    if (error.code !== 'GoingAway') this.#counts.lost += 1;
    else if (!this.isOpen) this.#isPeerAway = true;
    this.#backOff();
  }

  /** Backs off where no connection is left: the peer is not to be dialed as fast as it closes connections. */
  #backOff(): void {
    if (!this.#roster.hasWell) this.#redialer.lost();
  }

  /** Dials missing connections. Fails those who wait where waiting has become pointless. */
  #settle(): void {
    this.#fill();
    if (this.mayConnect || this.isOpen || this.#waiters.size === 0) return;
    const cause = this.#waiters.lastFailure;
    this.#waiters.failAll(
      new MeshError('ConnectionLost', 'no open connection to the peer', { cause }),
    );
  }

  #createRoster(): Roster<M> {
    const { health, onChange, onSuspicion, yields = () => false } = this.#options;
    return new Roster<M>(
      {
        size: this.#limits,
        health: { ...DEFAULT_HEALTH, ...health },
        alarms: this.#options.alarms ?? new Alarms(this.#clock),
        yields,
        host: {
          changed: (member, from, to) => onChange?.({ member, from, to }),
          suspected: (member, isSuspect) => onSuspicion?.(member, isSuspect),
          left: (isPeersWish) => this.#left(isPeersWish),
          closed: (error, wasOpen) => {
            if (wasOpen) this.#lost(error);
            this.#settle();
          },
        },
      },
      () => this.look(),
    );
  }

  #createRedialer(): Redialer<M> {
    const { backoff, random = Math.random } = this.#options;
    return new Redialer<M>(
      {
        offer: (member) => {
          if (this.#isPeerAway) return;
          this.#offered = member;
          this.#waiters.offer(member);
        },
        dialBegan: () =>
          this.#options.onChange?.({
            member: undefined,
            from: undefined,
            to: { kind: 'connecting' },
          }),
        connected: (member) => {
          this.#offered = undefined;
          if (this.#end === undefined && this.#options.onDemand !== true) {
            this.#redialer.isWanted = true;
          }
          this.add(member);
          this.#settle();
        },
        connectedLate: (member) => {
          this.#offered = undefined;
          this.add(member);
          if (!this.mayConnect) this.retire(member, 'peer is not wanted any more');
        },
        dialFailed: (error, failure) => this.#dialFailed(error, failure),
        redialDue: () => this.#fill(),
      },
      { clock: this.#clock, backoff: { ...DEFAULT_BACKOFF, ...backoff }, random },
    );
  }

  #dialFailed(error: MeshError, failure: DialFailure): void {
    this.#offered = undefined;
    this.#counts.dialsFailed += 1;
    this.#waiters.lastFailure = error;
    if (error.code === 'GoingAway' && !this.isOpen) this.#isPeerAway = true;
    const to = { kind: 'failed', error } as const;
    this.#options.onChange?.({ member: undefined, from: 'connecting', to });
    this.#options.onDialFailed?.(error, failure);
    // Callers that wait for a peer that was never reached, or that refuses this side, get the error at once.
    if (failure.isFinal || !this.mayConnect) this.#waiters.failAll(error);
    this.#fill();
  }
}
