/** One connection of a pool: what the pool asks of it, its state, and its health. */

import type { Scheduled } from '../base/deadline-heap.js';
import type { MeshError } from '../errors.js';
import type { Connection } from '../transport/connection.js';
import { Health, type HealthLimits, lookEveryMs } from './health.js';

/** A connection as its pool needs it. */
export interface PoolMember {
  readonly connection: Connection;
  /** Whether it takes new calls. */
  readonly isOpen: boolean;
  /** Calls under way, of both sides. */
  readonly load: number;
  /** Whether this side waits for an answer of the peer. */
  readonly isAwaiting: boolean;
  /** Calls so far, of both sides, without pings. */
  readonly activity: number;
  /**
   * Asks the peer for a sign of life, ahead of what waits to be sent. Does not throw.
   * @returns false where that is impossible now
   */
  ping(): boolean;
  /** Takes no new calls, and closes when those under way are done. Never rejects. */
  retire(reason: string): Promise<void>;
  /**
   * Calls back once, when the next call of either side begins; `wake` does not throw. A member without this is looked at
   * several times a second, also while it is idle.
   */
  whenActive?(wake: () => void): void;
}

/** The states of a connection in its pool. */
export type MemberState =
  | { readonly kind: 'connecting' }
  /** Calls are under way, or were a moment ago. */
  | { readonly kind: 'active' }
  | { readonly kind: 'idle'; readonly sinceMs: number }
  /** It takes no more calls, and ends with those under way. */
  | { readonly kind: 'closing' }
  | { readonly kind: 'closed' }
  | { readonly kind: 'failed'; readonly error: MeshError };

/** The kinds of {@link MemberState}. */
export type MemberStateKind = MemberState['kind'];

const NEXT_STATES: Readonly<Record<MemberStateKind, readonly MemberStateKind[]>> = {
  connecting: ['active', 'closed', 'failed'],
  active: ['idle', 'closing', 'closed', 'failed'],
  idle: ['active', 'closing', 'closed', 'failed'],
  closing: ['closed', 'failed'],
  closed: [],
  failed: [],
};

/** The next state, or `undefined` where the table does not allow the step. The caller then changes nothing. */
export function nextMemberState(from: MemberState, to: MemberState): MemberState | undefined {
  return NEXT_STATES[from.kind].includes(to.kind) ? to : undefined;
}

/** A connection without a call for this long is idle. */
const IDLE_AFTER_MS = 1000;
/** How much later than the dialer an acceptor asks on an idle connection, as a factor. */
const ACCEPTORS_PATIENCE = 1.5;
/** On a link slower than this, a TCP connection that still carries what was sent may be taken for dead. */
const SLOWEST_BYTES_PER_MS = 125;

/** The result of a look at a connection. */
export type Finding = 'none' | 'suspected' | 'recovered' | 'dead';

/**
 * One connection in a pool: its state, its health, and when it was last in use. Its owner looks at it when it says, and soon
 * after a call has begun on it.
 */
export class PooledConnection<M extends PoolMember> implements Scheduled {
  scheduledMs = Number.POSITIVE_INFINITY;
  heapIndex = -1;
  readonly member: M;
  readonly establishedMs: number;
  /** Asked for by name of nobody, it is no part of what the pool may have. */
  readonly isPinned: boolean;
  /** Whether this side dialed it. */
  readonly isDialed: boolean;
  isSuspect = false;
  readonly #isOrdered: boolean;
  readonly #lookEveryMs: number;
  readonly #health: Health;
  readonly #onState: (to: MemberState, from: MemberState) => void;
  readonly #wake: (() => void) | undefined;
  #state: MemberState = { kind: 'connecting' };
  #activity = 0;
  #activeMs: number;
  #heardMs = 0;
  #sentWhenHeard = 0;
  #askedMs = Number.NEGATIVE_INFINITY;
  /** Until then nothing is due, unless a call begins. */
  #restsUntilMs = Number.NEGATIVE_INFINITY;
  #isAsleep = false;

  constructor(
    member: M,
    options: {
      readonly health: HealthLimits;
      readonly nowMs: number;
      readonly isPinned: boolean;
      readonly onState: (to: MemberState, from: MemberState) => void;
      /** A call has begun while it was asleep: a look is due soon. */
      readonly onWake: () => void;
    },
  ) {
    this.member = member;
    this.establishedMs = options.nowMs;
    this.isPinned = options.isPinned;
    this.isDialed = member.connection.role === 'dialer';
    this.#isOrdered = member.connection.transport !== 'quic';
    this.#lookEveryMs = lookEveryMs(options.health);
    this.#health = new Health(this.#healthLimits(options.health), options.nowMs);
    this.#onState = options.onState;
    this.#activeMs = options.nowMs;
    if (member.whenActive === undefined) return;
    this.#wake = () => {
      this.#isAsleep = false;
      options.onWake();
    };
  }

  /** On an idle connection the dialer asks first. Its question is a sign of life to the acceptor too. */
  #healthLimits(limits: HealthLimits): HealthLimits {
    if (this.isDialed) return limits;
    return { ...limits, idleIntervalMs: limits.idleIntervalMs * ACCEPTORS_PATIENCE };
  }

  get state(): MemberState {
    return this.#state;
  }

  get load(): number {
    return this.member.load;
  }

  /** Whether it takes calls and is not suspect. */
  get isWell(): boolean {
    return this.member.isOpen && !this.isSuspect;
  }

  moveTo(to: MemberState): void {
    const from = this.#state;
    const state = nextMemberState(from, to);
    if (state === undefined) return;
    this.#state = state;
    this.#onState(state, from);
  }

  /** Asks the peer for a sign of life, unless it has given one since then, or was asked. */
  askSince(sinceMs: number, nowMs: number): void {
    if (this.member.connection.lastReceivedMs > sinceMs || this.#askedMs > sinceMs) return;
    if (this.member.ping()) this.#askedMs = nowMs;
  }

  /** Asks the peer for a sign of life where one is due. To be called when {@link nextLookMs} has come. */
  look(nowMs: number): Finding {
    this.#lookForCalls(nowMs);
    const isIdle = this.#state.kind === 'idle' && !this.isSuspect;
    if (isIdle && nowMs < this.#restsUntilMs) return 'none';
    const { member } = this;
    const { lastReceivedMs, counters } = member.connection;
    if (lastReceivedMs > this.#heardMs) {
      this.#heardMs = lastReceivedMs;
      this.#sentWhenHeard = counters.bytesSent;
    }
    // Over QUIC the question overtakes what waits. Over TCP it comes after all that was sent before.
    const aheadBytes = this.#isOrdered ? counters.bytesSent - this.#sentWhenHeard : 0;
    const { verdict, asks, nextInMs } = this.#health.look(nowMs, {
      lastReceivedMs,
      isAwaiting: member.isAwaiting,
      aheadMs: aheadBytes / SLOWEST_BYTES_PER_MS,
      mayRest: isIdle,
    });
    this.#restsUntilMs = nowMs + nextInMs;
    // The question did not leave, because all streams that the peer allows are in use. That is no miss.
    if (asks && !member.ping()) this.#health.askFailed();
    const wasSuspect = this.isSuspect;
    this.isSuspect = verdict !== 'healthy';
    if (verdict === 'dead') return 'dead';
    if (this.isSuspect === wasSuspect) return 'none';
    return this.isSuspect ? 'suspected' : 'recovered';
  }

  /**
   * When to look next. If that is later than usual, a call that begins earlier is told by `onWake`.
   * @param nowMs of the last look
   */
  nextLookMs(nowMs: number): number {
    const usualMs = nowMs + this.#lookEveryMs;
    if (this.#restsUntilMs <= usualMs || this.#wake === undefined) return usualMs;
    if (this.#state.kind !== 'idle' || this.isSuspect) return usualMs;
    if (!this.#isAsleep) this.member.whenActive?.(this.#wake);
    this.#isAsleep = true;
    return this.#restsUntilMs;
  }

  #lookForCalls(nowMs: number): void {
    const { load, activity } = this.member;
    if (load > 0 || activity !== this.#activity) {
      this.#activity = activity;
      this.#activeMs = nowMs;
      if (this.#state.kind === 'idle') this.moveTo({ kind: 'active' });
    } else if (this.#state.kind === 'active' && nowMs - this.#activeMs >= IDLE_AFTER_MS) {
      this.moveTo({ kind: 'idle', sinceMs: this.#activeMs });
    }
  }
}
