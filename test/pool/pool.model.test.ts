/** Whatever happens to a pool, in whatever order: what always holds. */
import assert from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import { MeshError } from '../../src/errors.js';
import type { PoolLimits } from '../../src/pool/options.js';
import { ConnectionPool } from '../../src/pool/pool.js';
import { STRATEGIES } from '../../src/pool/select.js';
import type { Role } from '../../src/transport/connection.js';
import { holdsAsync } from '../protocol/properties.js';
import { FakeDialer, FakeMember, FakeWaiter } from './fake-member.js';
import { ManualClock, settled } from './manual-clock.js';

const limits: fc.Arbitrary<PoolLimits> = fc
  .record({
    min: fc.integer({ min: 1, max: 3 }),
    more: fc.nat(2),
    idleMs: fc.constantFrom(2000, 60_000),
    strategy: fc.constantFrom(...STRATEGIES),
    growAtCalls: fc.integer({ min: 1, max: 2 }),
  })
  .map(({ more, ...rest }) => ({ ...rest, max: rest.min + more }));

const config = fc.record({
  limits,
  yields: fc.boolean(),
  /** Whether connections tell of calls. */
  tells: fc.boolean(),
  /** Whether dials end when they are given up. */
  heedsSignals: fc.boolean(),
  /** Whether it begins with a connection to a peer that is wanted. */
  beginsConnected: fc.boolean(),
  /** Whether the end comes after a calm. */
  calmsDown: fc.boolean(),
  chances: fc.array(fc.double({ min: 0, max: 0.999, noNaN: true }), { minLength: 1, maxLength: 5 }),
});
type Config = typeof config extends fc.Arbitrary<infer T> ? T : never;

/** `which` picks among those that there are. */
const step = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.constant('pass'), fc.constantFrom(0, 10, 250, 1000, 3000)) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('pass'), fc.constantFrom(31_000, 61_000)) },
  {
    weight: 3,
    arbitrary: fc.tuple(fc.constantFrom('startCall', 'startCall', 'endCall'), fc.nat()),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(fc.constantFrom('dialSucceeds', 'dialSucceeds', 'dialFails'), fc.nat()),
  },
  { weight: 1, arbitrary: fc.tuple(fc.constantFrom('dialRefused', 'dialOffers'), fc.nat()) },
  { weight: 1, arbitrary: fc.tuple(fc.constantFrom('peerDials', 'pinned'), fc.nat()) },
  { weight: 2, arbitrary: fc.tuple(fc.constantFrom('lost', 'goesAway'), fc.nat()) },
  { weight: 1, arbitrary: fc.tuple(fc.constantFrom('closed', 'retire', 'stall'), fc.nat()) },
  { weight: 2, arbitrary: fc.tuple(fc.constantFrom('silent', 'silent', 'speaks'), fc.nat()) },
  { weight: 2, arbitrary: fc.tuple(fc.constantFrom('wait', 'waitWithDeadline'), fc.nat(5000)) },
  { weight: 1, arbitrary: fc.tuple(fc.constantFrom('abort', 'acquire'), fc.nat()) },
  { weight: 2, arbitrary: fc.tuple(fc.constantFrom('connect', 'begin'), fc.nat()) },
  { weight: 1, arbitrary: fc.tuple(fc.constantFrom('connectWithRetry', 'release'), fc.nat()) },
);
type StepKind = Exclude<Parameters<World['does']>[0], never>;

/** A pool, its peer and its users. */
class World {
  readonly clock = new ManualClock();
  readonly dialer = new FakeDialer();
  readonly pool: ConnectionPool<FakeMember>;
  readonly limits: PoolLimits;
  readonly yields: boolean;
  readonly #tells: boolean;
  readonly #members: FakeMember[] = [];
  readonly #pinned = new Set<FakeMember>();
  readonly #waiters: { readonly waiter: FakeWaiter; readonly abort: AbortController }[] = [];
  readonly #aborts: AbortController[] = [];
  /** Promises of `acquire` and `connect` that are still to settle. */
  #promises = 0;
  /** Own connections that may be too many for a look: those that were suspect, and of dials that were given up. */
  #allowance = 0;

  constructor({ limits, yields, tells, heedsSignals, chances }: Config) {
    this.limits = limits;
    this.#tells = tells;
    this.yields = yields;
    this.dialer.heedsSignals = heedsSignals;
    let draws = 0;
    this.pool = new ConnectionPool<FakeMember>({
      dial: this.dialer.dial,
      limits,
      clock: this.clock,
      yields: () => yields,
      random: () => {
        draws += 1;
        return chances[draws % chances.length] as number;
      },
      onSuspicion: (_member, isSuspect) => {
        if (!isSuspect) this.#allowance += 1;
      },
    });
  }

  /** Does nothing where there is nothing to do it to. */
  async does(
    kind:
      | 'pass'
      | 'stall'
      | 'startCall'
      | 'endCall'
      | 'dialSucceeds'
      | 'dialFails'
      | 'dialRefused'
      | 'dialOffers'
      | 'peerDials'
      | 'pinned'
      | 'lost'
      | 'closed'
      | 'goesAway'
      | 'retire'
      | 'silent'
      | 'speaks'
      | 'wait'
      | 'waitWithDeadline'
      | 'acquire'
      | 'abort'
      | 'connect'
      | 'connectWithRetry'
      | 'begin'
      | 'release',
    which: number,
  ): Promise<void> {
    const { pool, clock, dialer } = this;
    const member = this.#alive[which % this.#alive.length];
    const dial = dialer.underWay[which % dialer.underWay.length];
    switch (kind) {
      case 'pass':
        await clock.advance(which);
        break;
      case 'stall':
        clock.stall(10_000);
        await clock.advance(0);
        break;
      case 'startCall':
        for (let i = 0; i <= which % 5; i += 1) this.#call();
        break;
      case 'endCall':
        if (member !== undefined && member.load > 0) member.endCall();
        break;
      case 'dialSucceeds':
        if (dial?.signal.aborted) this.#allowance += 1;
        dial?.succeed(this.#member());
        break;
      case 'dialFails':
        dial?.fail(new MeshError('ConnectFailed', 'nobody there'));
        break;
      case 'dialRefused':
        dial?.fail(new MeshError('ClusterMismatch', 'not one of us', { side: 'remote' }));
        break;
      case 'dialOffers':
        dial?.offer(this.#member());
        break;
      case 'peerDials':
        pool.add(this.#member('acceptor'));
        break;
      case 'pinned':
        this.#pin();
        break;
      case 'lost':
        member?.end(new MeshError('ConnectionLost', 'reset'));
        break;
      case 'closed':
        await this.#closes(member);
        break;
      case 'goesAway':
        member?.goAway();
        break;
      case 'retire':
        if (member !== undefined) pool.retire(member, 'renewed');
        break;
      case 'silent':
        if (member !== undefined) member.isSilent = true;
        if (member !== undefined) member.canBeAsked = which % 4 > 0;
        break;
      case 'speaks':
        this.#speaks(member);
        break;
      case 'wait':
        this.#wait(Number.POSITIVE_INFINITY);
        break;
      case 'waitWithDeadline':
        this.#wait(clock.nowMs() + which);
        break;
      case 'acquire':
        this.#settles(pool.acquire({ timeoutMs: which % 5000, signal: this.#signal() }));
        break;
      case 'abort':
        this.#aborts.splice(which % Math.max(1, this.#aborts.length), 1)[0]?.abort();
        break;
      case 'connect':
        this.#settles(pool.connect({ signal: this.#signal() }));
        break;
      case 'connectWithRetry':
        this.#settles(pool.connect({ retry: true, signal: this.#signal() }));
        break;
      case 'begin':
        pool.begin();
        break;
      case 'release':
        pool.release(new MeshError('ConnectionClosed', 'not wanted'));
        assert(!pool.mayConnect);
        assert.equal(this.#waiting.length, 0, 'a release ends every wait');
        break;
    }
    await settled();
  }

  check(): void {
    const { pool, clock } = this;
    const { open, closing, suspect, dialing, waiting, calls } = pool.statistics;
    this.#checkSize();
    assert(dialing <= this.dialer.underWay.length);
    assert(this.#waiters.every(({ waiter }) => waiter.outcomes.length <= 1));
    assert(this.#waiting.length <= waiting, 'nobody is forgotten');
    assert(this.#waiting.every(({ deadlineMs }) => deadlineMs > clock.nowMs()));
    if (pool.isOpen || !pool.mayConnect)
      assert.equal(waiting, 0, 'nobody waits for what is there, or never comes');
    const alive = this.#alive.filter((member) => pool.stateOf(member) !== 'closed');
    assert.equal(open + closing, alive.length);
    assert.equal(
      suspect,
      alive.filter((one) => one.isOpen && !pool.wellMembers.includes(one)).length,
    );
    assert.equal(
      calls,
      alive.reduce((sum, { load }) => sum + load, 0),
    );
  }

  /** Everybody answers and every dial succeeds, for long enough: nothing is missing and nothing too much. */
  async calm(): Promise<void> {
    const { pool, clock, dialer, limits: of } = this;
    const succeeds = (): void => {
      for (const dial of [...dialer.underWay]) dial.succeed(this.#member());
    };
    for (let passedMs = 0; passedMs < 62_000; passedMs += 500) {
      for (const member of this.#alive) {
        this.#speaks(member);
      }
      succeeds();
      await clock.advance(500);
    }
    const { length: well } = pool.wellMembers;
    if (pool.mayConnect) assert(well >= of.min, `${well} connections are fewer than ${of.min}`);
    this.#allowance = 0;
    this.#checkSize();
    this.#checkYielding();
    const { waiting, dialing, suspect } = pool.statistics;
    assert.deepEqual([waiting, dialing, suspect], [0, 0, 0]);
    assert.equal(this.#promises, 0);
  }

  /** After that nothing is left. */
  async end(): Promise<void> {
    const { pool, clock, dialer } = this;
    pool.close(new MeshError('NodeClosed', 'over'));
    await settled();
    assert.equal(clock.pending, 0, 'no timer is left');
    assert(this.#waiters.every(({ waiter }) => waiter.outcomes.length === 1));
    for (const dial of [...dialer.underWay]) dial.fail(new MeshError('Cancelled', 'given up'));
    const { begun } = dialer;
    for (const member of this.#alive) member.end(new MeshError('GoingAway', 'node closed'));
    await settled();
    assert.equal(this.#promises, 0, 'every promise has settled');
    assert.deepEqual([pool.members.length, clock.pending, dialer.begun], [0, 0, begun]);
  }

  get #alive(): FakeMember[] {
    return this.#members.filter(({ ended }) => ended === undefined);
  }

  get #waiting(): FakeWaiter[] {
    return this.#waiters
      .map(({ waiter }) => waiter)
      .filter(({ outcomes }) => outcomes.length === 0);
  }

  #member(role: Role = 'dialer'): FakeMember {
    const member = new FakeMember(this.clock, { role, tells: this.#tells });
    this.#members.push(member);
    return member;
  }

  #speaks(member: FakeMember | undefined): void {
    if (member === undefined) return;
    member.isSilent = false;
    member.canBeAsked = true;
    member.speak();
  }

  /** The peer ends a connection in good order. */
  async #closes(member: FakeMember | undefined): Promise<void> {
    if (member === undefined) return;
    const { pool } = this;
    const wasInUse = ['active', 'idle'].includes(pool.stateOf(member));
    member.end(new MeshError('NoError', 'closed', { side: 'remote' }));
    await settled();
    if (!wasInUse || pool.isOpen || pool.statistics.dialing > 0) return;
    assert(!pool.mayConnect, 'nobody dials a peer that has closed its last connection');
  }

  #pin(): void {
    const member = this.#member();
    this.#pinned.add(member);
    this.pool.add(member, { isPinned: true });
  }

  #call(): void {
    const { pool, limits: of } = this;
    const { wellMembers, members } = pool;
    const eligible = wellMembers.length > 0 ? wellMembers : members.filter(({ isOpen }) => isOpen);
    const member = pool.select();
    assert.equal(member === undefined, eligible.length === 0);
    if (member === undefined) return;
    assert(eligible.includes(member), 'no suspect one while another is well');
    const least = Math.min(...eligible.map(({ load }) => load));
    if (of.strategy === 'leastLoaded') assert.equal(member.load, least);
    member.startCall();
  }

  #wait(deadlineMs: number): void {
    const abort = new AbortController();
    const waiter = new FakeWaiter({ deadlineMs, signal: abort.signal });
    this.#waiters.push({ waiter, abort });
    this.#aborts.push(abort);
    this.pool.wait(waiter);
  }

  #signal(): AbortSignal {
    const abort = new AbortController();
    this.#aborts.push(abort);
    return abort.signal;
  }

  #settles(promise: Promise<unknown>): void {
    this.#promises += 1;
    const settle = (): void => {
      this.#promises -= 1;
    };
    promise.then(settle, settle);
  }

  /** Those that the limits are about. */
  #wellOf(role: Role): FakeMember[] {
    const { wellMembers } = this.pool;
    return wellMembers.filter((one) => one.role === role && !this.#pinned.has(one));
  }

  #checkYielding(): void {
    const [own, accepted] = [this.#wellOf('dialer').length, this.#wellOf('acceptor').length];
    if (!this.yields || accepted === 0 || own === 0) return;
    const { max } = this.limits;
    assert(own + accepted <= max, `${own} connections beside ${accepted} of the peer, of ${max}`);
  }

  #checkSize(): void {
    const { max } = this.limits;
    const size = this.#wellOf('dialer').length + this.pool.statistics.dialing;
    if (size <= max) this.#allowance = 0;
    assert(size <= max + this.#allowance, `${size} connections and dials of ${max}`);
  }
}

test('whatever happens, a pool keeps to its size, forgets nobody who waits, and leaves nothing behind', async (t) => {
  await holdsAsync(
    t,
    fc.asyncProperty(config, fc.array(step, { maxLength: 80, size: 'max' }), async (of, steps) => {
      const world = new World(of);
      if (of.beginsConnected) {
        await world.does('connect', 0);
        await world.does('dialSucceeds', 0);
      }
      for (const [kind, which] of steps) {
        await world.does(kind as StepKind, which);
        world.check();
      }
      if (of.calmsDown) await world.calm();
      await world.end();
    }),
    200,
  );
});
