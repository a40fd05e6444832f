/**
 * The connections to one peer: which takes the next call, when to dial another, and which to close. Whoever finds none
 * waits, in order and bounded. A connection that is silent when it should not be gets no calls while there are others,
 * and is replaced before it is given up.
 */
import { MeshError, toMeshError } from '../errors.js';
import { type BackoffLimits, DEFAULT_BACKOFF } from './backoff.js';
import { type PoolClock, SYSTEM_CLOCK } from './clock.js';
import { DEFAULT_HEALTH, type HealthLimits } from './health.js';
import {
  type MemberState,
  type MemberStateKind,
  PooledConnection,
  type PoolMember,
} from './member.js';
import { type Dial, type DialFailure, Redialer } from './redialer.js';
import { type Strategy, selectCandidate } from './select.js';
import { type PoolSize, selectSurplus } from './surplus.js';
import { type Waiter, type WaitLimits, WaitQueue } from './wait-queue.js';

export interface PoolLimits extends PoolSize {
  readonly strategy: Strategy;
  /** With so many calls under way on each connection, another one is dialed, as far as `max` allows. */
  readonly growAtCalls: number;
}

export const DEFAULT_POOL_LIMITS: PoolLimits = {
  min: 1,
  max: 1,
  idleMs: 60_000,
  strategy: 'leastLoaded',
  growAtCalls: 64,
};

export const DEFAULT_WAIT_LIMITS: WaitLimits = { maxWaiters: 65_536, maxWeight: 32 * 1024 * 1024 };

/** A step in the life of a connection, from the beginning of its dial. */
export interface MemberChange<M> {
  /** `undefined` while it is dialed. */
  readonly member: M | undefined;
  /** `undefined` when the dial begins. */
  readonly from: MemberStateKind | undefined;
  readonly to: MemberState;
}

export interface PoolOptions<M extends PoolMember> {
  /** How to reach the peer. Without it the pool has what the peer dials. */
  readonly dial?: Dial<M> | undefined;
  readonly limits?: Partial<PoolLimits> | undefined;
  readonly health?: Partial<HealthLimits> | undefined;
  readonly backoff?: Partial<BackoffLimits> | undefined;
  readonly waiters?: Partial<WaitLimits> | undefined;
  /**
   * Whether this side gives up its own connections where both sides have dialed at once: the two sides must answer
   * differently. Default: it does not.
   */
  readonly yields?: (() => boolean) | undefined;
  readonly onChange?: ((change: MemberChange<M>) => void) | undefined;
  /** A connection is silent although it was asked for a sign of life, or is well again. */
  readonly onSuspicion?: ((member: M, isSuspect: boolean) => void) | undefined;
  readonly onDialFailed?: ((error: MeshError, failure: DialFailure) => void) | undefined;
  readonly clock?: PoolClock | undefined;
  /** From 0 up to 1. Default Math.random. */
  readonly random?: (() => number) | undefined;
}

export interface AddOptions {
  /** The connection stands beside those that the pool may have: `max` does not count it. */
  readonly isPinned?: boolean | undefined;
}

export interface AcquireOptions {
  /** Default: no limit. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What a pool has now, and counts of what it did. */
export interface PoolStatistics {
  /** Connections that take calls. */
  readonly open: number;
  /** Of these, the suspect ones. */
  readonly suspect: number;
  /** Connections that end with the calls under way on them. */
  readonly closing: number;
  readonly dialing: number;
  readonly waiting: number;
  /** Calls under way, of both sides. */
  readonly calls: number;
  readonly dialed: number;
  readonly dialsFailed: number;
  readonly accepted: number;
  /** Ended without anybody's decision. */
  readonly lost: number;
  /** Closed because they were one too many, idle, or replaced. */
  readonly retired: number;
}

/** Looks at its connections so many times within an interval of health. */
const LOOKS_PER_INTERVAL = 2;

export class ConnectionPool<M extends PoolMember> {
  readonly #options: PoolOptions<M>;
  readonly #limits: PoolLimits;
  readonly #health: HealthLimits;
  readonly #clock: PoolClock;
  readonly #redialer: Redialer<M>;
  readonly #waiters: WaitQueue<M>;
  readonly #members = new Map<M, PooledConnection<M>>();
  /** Those that may take calls, oldest first. */
  readonly #open: PooledConnection<M>[] = [];
  readonly #counts = { dialed: 0, dialsFailed: 0, accepted: 0, lost: 0, retired: 0 };
  /** A connection of a dial under way, that takes some calls already. */
  #offered: M | undefined;
  /**
   * The peer has shut down in good order and is not back yet. A dial may still meet its end, of which nothing tells
   * whether what came along was run: calls wait for the answer of its next life.
   */
  #isPeerAway = false;
  #stopLooking: (() => void) | undefined;
  #turn = 0;
  #end: MeshError | undefined;

  constructor(options: PoolOptions<M> = {}) {
    this.#options = options;
    this.#limits = { ...DEFAULT_POOL_LIMITS, ...options.limits };
    this.#health = { ...DEFAULT_HEALTH, ...options.health };
    this.#clock = options.clock ?? SYSTEM_CLOCK;
    this.#waiters = new WaitQueue({ ...DEFAULT_WAIT_LIMITS, ...options.waiters }, this.#clock);
    this.#redialer = this.#createRedialer();
    this.#redialer.dial = options.dial;
  }

  /** How to reach the peer from now on. */
  set dial(dial: Dial<M>) {
    this.#redialer.dial = dial;
  }

  get canDial(): boolean {
    return this.#redialer.dial !== undefined;
  }

  /** Whether a connection that takes calls may come about. */
  get isHopeful(): boolean {
    return this.#end === undefined && this.#redialer.isHopeful;
  }

  /** Why there is nothing to wait for; `undefined` where a connection may come about. */
  get hopelessness(): MeshError | undefined {
    if (this.isHopeful) return undefined;
    return this.#end ?? new MeshError('ConnectionLost', 'no open connection to the peer');
  }

  get isOpen(): boolean {
    return this.#open.some(({ member }) => member.isOpen);
  }

  get members(): readonly M[] {
    return [...this.#members.keys()];
  }

  /** Connections that take calls and are not suspect, oldest first. */
  get wellMembers(): readonly M[] {
    return this.#open.filter(({ isWell }) => isWell).map(({ member }) => member);
  }

  stateOf(member: M): MemberStateKind {
    return this.#members.get(member)?.state.kind ?? 'closed';
  }

  get statistics(): PoolStatistics {
    return {
      open: this.#open.length,
      suspect: this.#open.filter(({ isSuspect }) => isSuspect).length,
      closing: this.#members.size - this.#open.length,
      dialing: this.#redialer.dials,
      waiting: this.#waiters.size,
      calls: [...this.#members.keys()].reduce((sum, { load }) => sum + load, 0),
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
   * A connection: one there is, or the next one that comes about.
   * @throws MeshError what the dial failed with, DeadlineExceeded, Cancelled, Overloaded when too many wait,
   *   ConnectionLost when there is none and nobody dials
   */
  async acquire({ timeoutMs, signal }: AcquireOptions = {}): Promise<M> {
    const member = this.select();
    if (member !== undefined) return member;
    const deadlineMs = this.#clock.nowMs() + (timeoutMs ?? Number.POSITIVE_INFINITY);
    if (this.canDial && !this.isHopeful) this.begin();
    return new Promise((start, fail) => {
      const accepts = (offered: M): boolean => offered.isOpen;
      this.wait({ weight: 0, deadlineMs, signal, accepts, start, fail });
    });
  }

  /** Waits for a connection in line with others, unless there is one. */
  wait(waiter: Waiter<M>): void {
    for (const member of [this.select(), this.#offered]) {
      if (member === undefined || !waiter.accepts(member)) continue;
      waiter.start(member);
      return;
    }
    const { hopelessness } = this;
    if (hopelessness !== undefined) {
      waiter.fail(hopelessness);
      return;
    }
    this.#waiters.add(waiter);
    this.#fill();
  }

  /**
   * Dials unless there is a connection, or a dial is under way, and keeps the peer connected from then on.
   * @param options.retry also if the dial fails: then it waits until one succeeds
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
    if (!this.isOpen) await this.#persist(signal, wasWanted);
  }

  /** Waits for a connection, whatever dials fail. Who gives up takes back what nobody else wants. */
  async #persist(signal: AbortSignal | undefined, wasWanted: boolean): Promise<void> {
    try {
      await this.acquire({ signal });
    } catch (thrown) {
      const isGivenUp = signal?.aborted === true && !this.isOpen && this.#waiters.size === 0;
      if (isGivenUp && !wasWanted) this.#redialer.stop(toMeshError(thrown));
      throw thrown;
    }
  }

  /** Dials unless there is a connection, or a dial is under way. Nobody waits for it. */
  begin(signal?: AbortSignal): void {
    if (this.#end === undefined && !this.isOpen) this.#redialer.begin(signal);
  }

  /** A connection whose handshake is done, dialed by either side. */
  add(member: M, { isPinned = false }: AddOptions = {}): void {
    if (this.#members.has(member)) return;
    const entry = new PooledConnection(member, {
      health: this.#health,
      nowMs: this.#clock.nowMs(),
      isPinned,
      onState: (to, { kind: from }) => this.#options.onChange?.({ member, from, to }),
    });
    this.#members.set(member, entry);
    this.#open.push(entry);
    this.#redialer.connected();
    this.#waiters.lastFailure = undefined;
    this.#isPeerAway = false;
    this.#counts[entry.isDialed ? 'dialed' : 'accepted'] += 1;
    entry.moveTo({ kind: 'active' });
    const { connection } = member;
    connection.onGoAway = () => this.#peerLeaves(entry);
    void connection.closed.then((error) => this.#closed(entry, error));
    this.#startLooking();
    if (connection.isGoingAway) this.#peerLeaves(entry);
    else this.#waiters.offer(member);
  }

  /** Leaves new calls to others; the connection ends with those under way. */
  retire(member: M, reason: string): void {
    const entry = this.#members.get(member);
    if (entry !== undefined) this.#leave(entry, reason);
  }

  /** To be called when time has passed: by the pool itself, and by tests. */
  look(): void {
    const nowMs = this.#clock.nowMs();
    for (const entry of [...this.#members.values()]) this.#lookAt(entry, nowMs);
    this.#trim(nowMs);
    this.#fill();
  }

  /** The peer is not wanted any more: dials and waits end. Connections are left to whoever has them. */
  release(error: MeshError): void {
    this.#redialer.stop(error);
    this.#offered = undefined;
    this.#waiters.failAll(error);
  }

  /** The same, for good. */
  close(error: MeshError): void {
    this.#end ??= error;
    this.release(error);
    this.#stopLooking?.();
    this.#stopLooking = undefined;
  }

  #select(): PooledConnection<M> | undefined {
    const open = this.#open;
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
    if (this.#open.some(({ isWell, load }) => isWell && load < growAtCalls)) return;
    // The side that yields would have to give its own up again.
    const yields = this.#options.yields?.() ?? false;
    const counted = this.#open.filter(
      ({ isDialed, isPinned }) => !isPinned && (isDialed || yields),
    );
    if (redialer.dial !== undefined && counted.length + redialer.dials < max) redialer.begin();
  }

  #fill(): void {
    if (this.#end !== undefined) return;
    let missing = this.#limits.min;
    for (const { isWell } of this.#open) {
      if (missing <= 0) break;
      if (isWell) missing -= 1;
    }
    this.#redialer.fill(missing, this.#waiters.size > 0);
  }

  #lookAt(entry: PooledConnection<M>, nowMs: number): void {
    const { member } = entry;
    const finding = entry.look(nowMs);
    if (finding === 'none') return;
    if (finding === 'dead') {
      member.connection.fail(new MeshError('IdleTimeout', 'the peer gives no sign of life'));
      return;
    }
    this.#options.onSuspicion?.(member, finding === 'suspected');
  }

  #trim(nowMs: number): void {
    const { min } = this.#limits;
    // What the peer dialed is the peer's to close, however many those are: they need not show that they live.
    if (this.#open.length <= min || !this.#open.some(isOurs)) return;
    const well = this.#open.filter(({ isWell, isPinned }) => !isPinned && isWell);
    if (well.length <= min) return;
    const yields = this.#options.yields?.() ?? false;
    const candidates = well.map(({ isDialed, establishedMs, member, state }) => ({
      isDialed,
      establishedMs,
      lastReceivedMs: member.connection.lastReceivedMs,
      idleSinceMs: state.kind === 'idle' ? state.sinceMs : undefined,
    }));
    for (const index of selectSurplus(candidates, this.#limits, yields, nowMs)) {
      this.#leave(well[index] as PooledConnection<M>, 'connection is not needed');
    }
    if (well.length > this.#limits.max) this.#askForLife(well, nowMs);
  }

  /** What is to stay where another goes has to show first that it lives. */
  #askForLife(well: readonly PooledConnection<M>[], nowMs: number): void {
    const sinceMs = Math.max(...well.map(({ establishedMs }) => establishedMs));
    for (const entry of well) entry.askSince(sinceMs, nowMs);
  }

  #peerLeaves(entry: PooledConnection<M>): void {
    if (this.#open.length === 1 && this.#open[0] === entry) this.#isPeerAway = true;
    this.#leave(entry, 'the peer goes away');
  }

  #leave(entry: PooledConnection<M>, reason: string): void {
    const index = this.#open.indexOf(entry);
    if (index < 0) return;
    this.#open.splice(index, 1);
    this.#counts.retired += 1;
    entry.moveTo({ kind: 'closing' });
    void entry.member.retire(reason);
    this.#backOff();
    this.#settle();
  }

  #closed(entry: PooledConnection<M>, error: MeshError): void {
    const { member } = entry;
    const index = this.#open.indexOf(entry);
    const wasOpen = index >= 0;
    if (wasOpen) this.#open.splice(index, 1);
    this.#members.delete(member);
    const isInOrder = error.code === 'NoError' || error.code === 'GoingAway';
    entry.moveTo(isInOrder ? { kind: 'closed' } : { kind: 'failed', error });
    if (wasOpen) this.#lost(error);
    if (this.#members.size === 0) {
      this.#stopLooking?.();
      this.#stopLooking = undefined;
    }
    this.#settle();
  }

  #lost(error: MeshError): void {
    this.#waiters.lastFailure = error;
    // Somebody has closed it: it is not for this side to dial again.
    if (error.code === 'NoError') {
      if (!this.isOpen) this.#redialer.isWanted = false;
      return;
    }
    if (error.code !== 'GoingAway') this.#counts.lost += 1;
    else if (!this.isOpen) this.#isPeerAway = true;
    this.#backOff();
  }

  /** Where nothing is left to take calls, the peer is not dialed as fast as it ends connections. */
  #backOff(): void {
    if (!this.#open.some(({ isWell }) => isWell)) this.#redialer.lost();
  }

  /** Dials what is missing; where nothing will come of waiting, the wait is over. */
  #settle(): void {
    this.#fill();
    if (this.isHopeful || this.isOpen || this.#waiters.size === 0) return;
    const cause = this.#waiters.lastFailure;
    this.#waiters.failAll(
      new MeshError('ConnectionLost', 'no open connection to the peer', { cause }),
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
          if (this.#end === undefined) this.#redialer.isWanted = true;
          this.add(member);
          this.#settle();
        },
        connectedLate: (member) => {
          this.#offered = undefined;
          this.add(member);
          if (!this.isHopeful) this.retire(member, 'peer is not wanted any more');
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
    // Whoever waits for a peer that was never reached, or that wants nothing of this side, hears it at once.
    if (failure.isRefusal || !this.isHopeful) this.#waiters.failAll(error);
    this.#fill();
  }

  #startLooking(): void {
    if (this.#end !== undefined) return;
    const intervalMs = this.#health.intervalMs / LOOKS_PER_INTERVAL;
    this.#stopLooking ??= this.#clock.every(intervalMs, () => this.look());
  }
}

/** Whether a pool may close it where it has too many. */
function isOurs({ isDialed, isPinned }: PooledConnection<PoolMember>): boolean {
  return isDialed && !isPinned;
}
