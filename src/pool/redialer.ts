/** The dials of a pool. */

import { joinSignals } from '../base/abortable.js';
import type { PoolClock } from '../base/clock.js';
import { LazySet } from '../base/lazy-collections.js';
import { isLastingRefusal, isOwnFault, type MeshError, toMeshError } from '../errors.js';
import { Backoff, type BackoffLimits, type Delay } from './backoff.js';

/** Makes a connection. `signal` cancels the dial, which must then settle soon. */
export type Dial<M> = (options: {
  readonly signal: AbortSignal;
  /** A connection that may take some calls before the dial is done. */
  readonly offer: (member: M) => void;
}) => Promise<M>;

export interface RedialerHost<M> {
  offer(member: M): void;
  dialBegan(): void;
  connected(member: M): void;
  /** A dial that was cancelled has made a connection all the same. */
  connectedLate(member: M): void;
  /** @param retryInMs until the next dial; `undefined` when there will be none */
  dialFailed(error: MeshError, failure: DialFailure): void;
  /** A dial is due, if one is needed. */
  redialDue(): void;
}

/** What follows from a dial that failed. */
export interface DialFailure {
  readonly retryInMs: number | undefined;
  /** Whether somebody waits for the dial and gets its failure. */
  readonly isAwaited: boolean;
  /** Whether the peer has refused this side for a reason that will not pass by itself. */
  readonly isRefusal: boolean;
  /** Whether it is pointless to wait for the next dial. */
  readonly isFinal: boolean;
}

interface DialUnderWay<M> {
  readonly connected: Promise<M>;
  /** Whether somebody who called `connected` gets its failure. */
  isAwaited: boolean;
}

/**
 * Dials one peer: when somebody asks for it, and again while the peer is wanted and connections are missing,
 * without end. After a failure it pauses; after a refusal by the peer it pauses for long.
 *
 * Where another node answers at the peer's address, that is no refusal by the peer: it may have moved, and the next dial
 * asks discovery again.
 */
export class Redialer<M> {
  dial: Dial<M> | undefined;
  /** Whether to keep the peer connected, and to dial again when connections are lost. */
  isWanted = false;
  readonly #host: RedialerHost<M>;
  readonly #clock: PoolClock;
  readonly #random: () => number;
  readonly #backoff: Backoff;
  readonly #underWay = new LazySet<DialUnderWay<M>>();
  /** Ends the dials under way. */
  #giveUp: AbortController | undefined;
  /** When to dial again, after a loss or a failure. */
  #due:
    | { readonly sinceMs: number; readonly delay: Delay; readonly isRefusal: boolean }
    | undefined;
  #cancelTimer: () => void = () => {};

  constructor(
    host: RedialerHost<M>,
    options: {
      readonly clock: PoolClock;
      readonly backoff: BackoffLimits;
      /** From 0 up to 1. */
      readonly random: () => number;
    },
  ) {
    this.#host = host;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#backoff = new Backoff(options.backoff);
  }

  /** Dials under way. */
  get dials(): number {
    return this.#underWay.size;
  }

  /** Whether there may yet be a connection: a dial is under way, or may begin. */
  get mayConnect(): boolean {
    return this.#underWay.size > 0 || (this.dial !== undefined && this.isWanted);
  }

  /**
   * Joins the dial that is under way, or begins one at once, without any pause.
   * @param signal cancels the dial, if this call begins it
   * @throws MeshError what the dial fails with
   */
  connect(signal?: AbortSignal): Promise<M> {
    const [first] = this.#underWay;
    const dial = first ?? this.#begin(signal);
    dial.isAwaited = true;
    return dial.connected;
  }

  /** The same where nobody waits for the result: a failure is reported. */
  begin(signal?: AbortSignal): void {
    if (this.#underWay.size === 0) this.#begin(signal);
  }

  /** Dials missing connections as soon as that is due. @param isEager whether calls wait */
  fill(missing: number, isEager: boolean): void {
    this.#cancelTimer();
    if (this.dial === undefined || !this.isWanted) return;
    let left = missing - this.#underWay.size;
    if (left <= 0) return;
    const waitMs = this.#waitMs(isEager);
    if (waitMs > 0) {
      this.#cancelTimer = this.#clock.after(waitMs, () => this.#host.redialDue());
      return;
    }
    for (; left > 0; left -= 1) this.#begin(undefined);
  }

  /** Whether another dial may begin now. */
  get isDue(): boolean {
    return this.#waitMs(false) <= 0;
  }

  /** A connection was made, dialed by either side. */
  connected(): void {
    this.#backoff.connected(this.#clock.nowMs());
  }

  /** No connection is left. */
  lost(): void {
    const nowMs = this.#clock.nowMs();
    const delay = this.#backoff.lost(nowMs, this.#random());
    // A peer that has refused this side is still left alone.
    if (delay === undefined || (this.#due?.isRefusal === true && !this.isDue)) return;
    this.#due = { sinceMs: nowMs, delay, isRefusal: false };
  }

  /** Cancels the dial under way. Later callers do not join it, even before it has ended. */
  stop(error: MeshError): void {
    this.isWanted = false;
    this.#cancelTimer();
    this.#underWay.clear();
    this.#giveUp?.abort(error);
    this.#giveUp = undefined;
  }

  #waitMs(isEager: boolean): number {
    if (this.#due === undefined) return 0;
    const { sinceMs, delay } = this.#due;
    return sinceMs + (isEager ? delay.eagerMs : delay.patientMs) - this.#clock.nowMs();
  }

  #begin(signal: AbortSignal | undefined): DialUnderWay<M> {
    const { dial } = this;
    this.#giveUp ??= new AbortController();
    const { signal: either, release } = joinSignals(this.#giveUp.signal, signal);
    const connected =
      dial === undefined
        ? Promise.reject<M>(new TypeError('a pool without a dial'))
        : dial({ signal: either, offer: (member) => this.#host.offer(member) });
    const underWay: DialUnderWay<M> = { connected, isAwaited: false };
    this.#underWay.add(underWay);
    this.#host.dialBegan();
    connected.then(
      (member) => {
        release();
        this.#connected(underWay, member);
      },
      (thrown: unknown) => {
        release();
        this.#failed(underWay, toMeshError(thrown), either.aborted);
      },
    );
    return underWay;
  }

  #connected(dial: DialUnderWay<M>, member: M): void {
    if (!this.#underWay.delete(dial)) {
      this.#host.connectedLate(member);
      return;
    }
    if (this.#underWay.size === 0) this.#giveUp = undefined;
    this.#due = undefined;
    this.#host.connected(member);
  }

  #failed(dial: DialUnderWay<M>, error: MeshError, isGivenUp: boolean): void {
    this.#underWay.delete(dial);
    const { isAwaited } = dial;
    const isRefused = !isGivenUp && isLastingRefusal(error);
    if (!isGivenUp) {
      const delay = isRefused
        ? this.#backoff.refused(this.#random())
        : this.#backoff.failed(this.#random());
      this.#due = { sinceMs: this.#clock.nowMs(), delay, isRefusal: isRefused };
    }
    const retryInMs = this.isWanted ? this.#due?.delay.patientMs : undefined;
    const isFinal = isRefused || (!isGivenUp && isOwnFault(error.code));
    this.#host.dialFailed(error, { isAwaited, isRefusal: isRefused, isFinal, retryInMs });
  }
}
