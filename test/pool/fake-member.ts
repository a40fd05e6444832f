/** Connections, dials and waiters that do what a test says. */
import { MeshError } from '../../src/errors.js';
import type { PoolMember } from '../../src/pool/member.js';
import type { Dial } from '../../src/pool/redialer.js';
import type { Waiter } from '../../src/pool/wait-queue.js';
import type { Connection, Role, TransportName } from '../../src/transport/connection.js';
import type { ManualClock } from './manual-clock.js';

/** What a pool uses of a connection. */
type PooledSide = Pick<
  Connection,
  'role' | 'transport' | 'closed' | 'fail' | 'isGoingAway' | 'lastReceivedMs' | 'onGoAway'
> & { readonly counters: { bytesSent: number } };

export interface FakeMemberOptions {
  readonly role?: Role;
  readonly transport?: TransportName;
  /** Whether it tells of calls, so that it need not be looked at while it is idle. Default true. */
  readonly tells?: boolean;
}

/** Its peer answers every ping at once, unless it is silent. */
export class FakeMember implements PoolMember {
  load = 0;
  activity = 0;
  isAwaiting = false;
  isSilent = false;
  /** Whether a question can leave. */
  canBeAsked = true;
  pings = 0;
  /** Why the pool has retired it. */
  retired: string | undefined;
  /** What the pool has failed it with, or it ended with. */
  ended: MeshError | undefined;
  readonly role: Role;
  readonly whenActive?: (wake: () => void) => void;
  #sleepers: (() => void)[] = [];
  readonly #clock: ManualClock;
  readonly #side: PooledSide & { lastReceivedMs: number; isGoingAway: boolean };
  #tellClosed: (error: MeshError) => void = () => {};

  constructor(clock: ManualClock, options: FakeMemberOptions = {}) {
    const { role = 'dialer', transport = 'quic', tells = true } = options;
    this.#clock = clock;
    if (tells) this.whenActive = (wake) => this.#sleepers.push(wake);
    this.role = role;
    this.#side = {
      role,
      transport,
      counters: { bytesSent: 0 },
      isGoingAway: false,
      lastReceivedMs: clock.nowMs(),
      onGoAway: undefined,
      closed: new Promise((resolve) => {
        this.#tellClosed = resolve;
      }),
      fail: (error) => this.end(error),
    };
  }

  get connection(): Connection {
    return this.#side as unknown as Connection;
  }

  get isOpen(): boolean {
    return this.ended === undefined && !this.#side.isGoingAway;
  }

  ping(): boolean {
    if (!this.canBeAsked) return false;
    this.pings += 1;
    this.speak();
    return true;
  }

  async retire(reason: string): Promise<void> {
    this.retired ??= reason;
    this.#side.isGoingAway = true;
    this.#endWithCalls();
  }

  /** Bytes of the peer arrive, unless it is silent. */
  speak(): void {
    if (!this.isSilent && this.ended === undefined) this.#side.lastReceivedMs = this.#clock.nowMs();
  }

  /** Bytes go out. */
  sent(bytes: number): void {
    this.#side.counters.bytesSent += bytes;
  }

  startCall(): void {
    this.load += 1;
    this.activity += 1;
    this.isAwaiting = true;
    for (const wake of this.#sleepers.splice(0)) wake();
  }

  /** The answer arrives. */
  endCall(): void {
    this.load -= 1;
    this.isAwaiting = this.load > 0;
    this.speak();
    if (this.#side.isGoingAway) this.#endWithCalls();
  }

  /** The peer announces that it goes away. */
  goAway(): void {
    this.#side.isGoingAway = true;
    this.#side.onGoAway?.();
  }

  end(error: MeshError): void {
    if (this.ended !== undefined) return;
    this.ended = error;
    this.load = 0;
    this.isAwaiting = false;
    this.#tellClosed(error);
  }

  #endWithCalls(): void {
    if (this.load === 0) this.end(new MeshError('NoError', 'done'));
  }
}

/** A dial under way. */
export interface FakeDial {
  readonly signal: AbortSignal;
  readonly offer: (member: FakeMember) => void;
  succeed(member: FakeMember): void;
  fail(error: MeshError): void;
}

/** Dials that end when the test says so, or their signal. */
export class FakeDialer {
  /** How many there were. */
  begun = 0;
  /** Those under way, oldest first. */
  readonly underWay: FakeDial[] = [];
  /** Whether a dial that is given up ends. */
  heedsSignals = true;

  readonly dial: Dial<FakeMember> = ({ signal, offer }) => {
    this.begun += 1;
    return new Promise((resolve, reject) => {
      const over = (): void => {
        signal.removeEventListener('abort', giveUp);
        const index = this.underWay.indexOf(dial);
        if (index >= 0) this.underWay.splice(index, 1);
      };
      const dial: FakeDial = {
        signal,
        offer,
        succeed: (member) => {
          over();
          resolve(member);
        },
        fail: (error) => {
          over();
          reject(error);
        },
      };
      this.underWay.push(dial);
      const giveUp = (): void => {
        if (this.heedsSignals) dial.fail(new MeshError('Cancelled', 'dial given up'));
      };
      if (signal.aborted) giveUp();
      else signal.addEventListener('abort', giveUp);
    });
  };

  /** The oldest of those under way. */
  get next(): FakeDial {
    const [dial] = this.underWay;
    if (dial === undefined) throw new Error('nobody dials');
    return dial;
  }
}

/** Notes how its wait ended. */
export class FakeWaiter implements Waiter<FakeMember> {
  readonly weight: number;
  readonly deadlineMs: number;
  readonly signal: AbortSignal | undefined;
  readonly outcomes: (FakeMember | MeshError)[] = [];
  isChoosy = false;

  constructor(
    options: { weight?: number; deadlineMs?: number; signal?: AbortSignal | undefined } = {},
  ) {
    this.weight = options.weight ?? 0;
    this.deadlineMs = options.deadlineMs ?? Number.POSITIVE_INFINITY;
    this.signal = options.signal;
  }

  /** The one outcome so far. */
  get outcome(): FakeMember | MeshError | undefined {
    return this.outcomes[0];
  }

  get error(): MeshError | undefined {
    return this.outcome instanceof MeshError ? this.outcome : undefined;
  }

  accepts(member: FakeMember): boolean {
    return member.isOpen && !this.isChoosy;
  }

  start(member: FakeMember): void {
    this.outcomes.push(member);
  }

  fail(error: MeshError): void {
    this.outcomes.push(error);
  }
}
