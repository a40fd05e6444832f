import test from 'ava';
import { MeshError } from '../../src/errors.js';
import type { MemberChange, PoolOptions } from '../../src/pool/options.js';
import { ConnectionPool } from '../../src/pool/pool.js';
import { FakeDialer, FakeMember, FakeWaiter } from './fake-member.js';
import { ManualClock, settled } from './manual-clock.js';

const unreachable = () => new MeshError('ConnectFailed', 'nobody there');
const refused = () => new MeshError('AuthTokenRejected', 'go away', { side: 'remote' });
const lost = () => new MeshError('ConnectionLost', 'reset');
const closedInOrder = () => new MeshError('NoError', 'peer closed', { side: 'remote' });
const over = () => new MeshError('NodeClosed', 'over');
const MINUTE_MS = 60_000;

function createPool(options: PoolOptions<FakeMember> = {}) {
  const clock = new ManualClock();
  const dialer = new FakeDialer();
  const changes: MemberChange<FakeMember>[] = [];
  const suspicions: boolean[] = [];
  const pool = new ConnectionPool<FakeMember>({
    dial: dialer.dial,
    clock,
    random: () => 0.5,
    onChange: (change) => changes.push(change),
    onSuspicion: (_member, isSuspect) => suspicions.push(isSuspect),
    ...options,
  });
  /** The dial under way brings a connection. */
  const succeed = async (): Promise<FakeMember> => {
    const member = new FakeMember(clock);
    dialer.next.succeed(member);
    await settled();
    return member;
  };
  const fail = async (error: MeshError): Promise<void> => {
    dialer.next.fail(error);
    await settled();
  };
  /** A first connection. */
  const connect = async (): Promise<FakeMember> => {
    const connecting = pool.connect();
    const member = await succeed();
    await connecting;
    return member;
  };
  /** The peer has dialed. */
  const accept = (): FakeMember => {
    const member = new FakeMember(clock, { role: 'acceptor' });
    pool.add(member);
    return member;
  };
  const wait = (inMs = Number.POSITIVE_INFINITY): FakeWaiter => {
    const waiter = new FakeWaiter({ deadlineMs: clock.nowMs() + inMs });
    pool.wait(waiter);
    return waiter;
  };
  return { clock, dialer, pool, changes, suspicions, succeed, fail, connect, accept, wait };
}

test('when the first dial fails everybody who waits fails with its error, and nobody dials again', async (t) => {
  const { clock, dialer, pool, fail, wait } = createPool();
  const [connecting, acquired] = [pool.connect(), pool.acquire()];
  const waiter = wait();
  t.is(dialer.begun, 1);
  const error = unreachable();
  await Promise.all([
    t.throwsAsync(connecting, { is: error }),
    t.throwsAsync(acquired, { is: error }),
    fail(error),
  ]);
  t.deepEqual(waiter.outcomes, [error]);
  await clock.advance(10 * MINUTE_MS);
  t.is(dialer.begun, 1);
  t.false(pool.mayConnect);
  t.like(await t.throwsAsync(() => Promise.reject(wait().error)), { code: 'ConnectionLost' });
});

test('a connection that is lost is dialed for ever, ever later, until the dial succeeds', async (t) => {
  const { clock, dialer, pool, connect, fail, succeed } = createPool();
  const member = await connect();
  member.end(lost());
  await settled();
  const delays: number[] = [];
  for (let i = 0; i < 20; i += 1) {
    t.is(dialer.underWay.length, 0);
    delays.push(clock.nextInMs as number);
    await clock.advance(clock.nextInMs as number);
    await fail(unreachable());
  }
  t.deepEqual(delays.slice(0, 5), [50, 100, 200, 400, 800]);
  t.is(delays.at(-1), 15_000);
  await clock.advance(15_000);
  const second = await succeed();
  t.is(pool.select(), second);
  t.like(pool.statistics, { dialed: 2, dialsFailed: 20, lost: 1, open: 1 });
});

test('a peer whose connections to this side are lost is dialed after a delay too', async (t) => {
  const { clock, dialer, pool, accept } = createPool();
  const theirs = accept();
  await pool.connect();
  t.is(dialer.begun, 0);
  theirs.end(lost());
  await settled();
  t.is(dialer.begun, 0);
  t.is(clock.nextInMs, 50);
  await clock.advance(50);
  t.is(dialer.begun, 1);
});

test('however many failures there were before, after a stable minute the first delay is short again', async (t) => {
  const { clock, dialer, connect, fail, succeed } = createPool();
  (await connect()).end(lost());
  for (let i = 0; i < 12; i += 1) {
    await clock.advance(30_000);
    await fail(unreachable());
  }
  await clock.advance(30_000);
  const stable = await succeed();
  await clock.advance(MINUTE_MS);
  stable.startCall();
  stable.isSilent = true;
  await clock.advance(1500);
  // The peer is restarting: what would replace the silent one does not come about.
  await fail(unreachable());
  stable.end(lost());
  await settled();
  t.is(clock.nextInMs, 50);
  await clock.advance(50);
  t.is(dialer.underWay.length, 1);
});

test('after a loss calls wait for the next connection', async (t) => {
  const { clock, pool, connect, succeed, fail } = createPool();
  (await connect()).end(lost());
  await settled();
  const acquired = pool.acquire();
  t.is(pool.statistics.waiting, 1);
  for (let i = 0; i < 3; i += 1) {
    await clock.advance(1000);
    await fail(unreachable());
  }
  await clock.advance(1000);
  const member = await succeed();
  t.is(await acquired, member);
  t.is(pool.statistics.waiting, 0);
});

test('whoever waits until its deadline hears of the last failure', async (t) => {
  const { clock, pool, connect, fail } = createPool();
  (await connect()).end(lost());
  await settled();
  const acquired = pool.acquire({ timeoutMs: 300 });
  await clock.advance(200);
  const error = unreachable();
  await fail(error);
  const failed = t.throwsAsync(acquired);
  await clock.advance(100);
  t.like(await failed, { code: 'DeadlineExceeded', cause: error });
});

test('what failed before a connection came about is no cause of what comes after', async (t) => {
  const { clock, connect, fail, succeed, wait } = createPool();
  (await connect()).end(lost());
  await clock.advance(100);
  await fail(unreachable());
  await clock.advance(1000);
  const member = await succeed();
  member.startCall();
  member.goAway();
  const waiter = wait(50);
  await clock.advance(50);
  t.is(waiter.error?.code, 'DeadlineExceeded');
  t.is(waiter.error?.cause, undefined);
});

test('calls that wait shorten the time to the next dial to half a second at most', async (t) => {
  const { clock, dialer, connect, fail, wait } = createPool({ random: () => 0.99 });
  (await connect()).end(lost());
  for (let i = 0; i < 12; i += 1) {
    await clock.advance(30_000);
    await fail(unreachable());
  }
  await clock.advance(20_000);
  t.is(dialer.underWay.length, 0);
  wait();
  t.is(dialer.underWay.length, 1, 'that is over already');
  await fail(unreachable());
  await clock.advance(500);
  t.is(dialer.underWay.length, 1);
});

test('a refusal fails whoever waits at once, and those who come later do not hasten the next dial', async (t) => {
  const { clock, dialer, connect, fail, wait } = createPool();
  (await connect()).end(lost());
  await settled();
  const waiter = wait();
  await clock.advance(100);
  const error = refused();
  await fail(error);
  t.deepEqual(waiter.outcomes, [error]);
  const late = wait(1000);
  await clock.advance(29_000);
  t.like(late.error, { code: 'DeadlineExceeded', cause: error });
  t.is(dialer.underWay.length, 0);
  await clock.advance(31_000);
  t.is(dialer.underWay.length, 1);
});

test('whoever waits goes on to wait where somebody else answers, and is failed where the dial is wrong by itself', async (t) => {
  const { clock, connect, fail, wait, succeed } = createPool();
  (await connect()).end(lost());
  await settled();
  const waiter = wait();
  for (let i = 0; i < 3; i += 1) {
    await clock.advance(500);
    await fail(new MeshError('CertificateNameMismatch', 'somebody else'));
  }
  t.deepEqual(waiter.outcomes, []);
  await clock.advance(500);
  const member = await succeed();
  t.deepEqual(waiter.outcomes, [member]);
  member.end(lost());
  await settled();
  const other = wait();
  await clock.advance(500);
  const wrong = new MeshError('InvalidArgument', 'no port');
  await fail(wrong);
  t.deepEqual(other.outcomes, [wrong]);
});

test('with retry a connect waits through failures, and ends with a refusal', async (t) => {
  const { clock, dialer, pool, fail, succeed } = createPool();
  const connecting = pool.connect({ retry: true });
  for (let i = 0; i < 5; i += 1) {
    await fail(unreachable());
    await clock.advance(1000);
  }
  await succeed();
  await connecting;
  const other = createPool();
  const unwelcome = other.pool.connect({ retry: true });
  await other.fail(unreachable());
  await other.clock.advance(1000);
  const error = refused();
  const failed = t.throwsAsync(unwelcome, { is: error });
  await other.fail(error);
  await failed;
  t.is(dialer.begun, 6);
});

test('a connect and an acquire end with their signal', async (t) => {
  const { dialer, pool } = createPool();
  const abort = new AbortController();
  const { signal } = abort;
  const waits = [pool.connect({ signal }), pool.acquire({ signal })];
  abort.abort();
  for (const wait of waits) await t.throwsAsync(wait, { code: 'Cancelled' });
  t.is(dialer.underWay.length, 0);
  t.like(pool.statistics, { waiting: 0, dialing: 0 });
});

test('a connection that the peer dials serves whoever waits', async (t) => {
  const { pool, accept } = createPool({ dial: undefined });
  t.like(await t.throwsAsync(pool.acquire()), { code: 'ConnectionLost' });
  const member = accept();
  t.is(await pool.acquire(), member);
  t.like(pool.statistics, { accepted: 1, dialed: 0 });
  const dialing = createPool();
  const acquired = dialing.pool.acquire();
  t.is(await acquired.constructor, Promise);
  const theirs = dialing.accept();
  t.is(await acquired, theirs);
});

test('whoever waits although there is a connection gets it as a call does, a silent one if need be', async (t) => {
  const { clock, pool, connect, succeed, wait } = createPool({
    limits: { max: 2, growAtCalls: 1 },
  });
  const first = await connect();
  t.is(wait().outcome, first);
  first.startCall();
  t.is(wait().outcome, first);
  const second = await succeed();
  t.is(wait().outcome, second, 'the least loaded');
  second.end(lost());
  await settled();
  first.isSilent = true;
  await clock.advance(1500);
  t.like(pool.statistics, { suspect: 1, dialing: 1 });
  t.is(wait().outcome, first, 'better than none');
});

test('whoever comes while a dial is under way may take its early connection, until the dial ends', async (t) => {
  const { clock, dialer, pool, wait, fail } = createPool();
  pool.begin();
  const early = new FakeMember(clock);
  dialer.next.offer(early);
  t.is(wait().outcome, early);
  await fail(unreachable());
  t.is(wait().error?.code, 'ConnectionLost');
  pool.begin();
  dialer.next.offer(early);
  pool.release(new MeshError('ConnectionClosed', 'not wanted'));
  t.is(wait().error?.code, 'ConnectionLost');
});

test('an early connection takes those who wait for it, before the dial is done', async (t) => {
  const { clock, dialer, wait, pool } = createPool();
  pool.begin();
  const [bold, choosy] = [wait(), wait()];
  choosy.isChoosy = true;
  const early = new FakeMember(clock);
  dialer.next.offer(early);
  t.deepEqual([bold.outcome, choosy.outcome], [early, undefined]);
  choosy.isChoosy = false;
  dialer.next.succeed(early);
  await settled();
  t.is(choosy.outcome, early);
});

test('a silent connection gets no calls while another is open, is replaced, and failed when it is dead', async (t) => {
  const { clock, dialer, pool, connect, succeed, suspicions } = createPool();
  const old = await connect();
  old.startCall();
  old.isSilent = true;
  await clock.advance(1500);
  t.true(old.pings === 1, 'it was asked once');
  t.deepEqual(suspicions, [true]);
  t.like(pool.statistics, { open: 1, suspect: 1, dialing: 1 });
  t.is(pool.select(), old, 'better than none');
  const fresh = await succeed();
  for (let i = 0; i < 5; i += 1) t.is(pool.select(), fresh);
  t.is(old.ended, undefined);
  await clock.advance(1500);
  t.like(old.ended, { code: 'IdleTimeout' });
  t.is(pool.stateOf(old), 'closed');
  t.like(pool.statistics, { open: 1, suspect: 0, lost: 1, dialing: 0 });
  t.is(dialer.begun, 2);
});

test('a silent connection that speaks again is well, and what was dialed in its place goes on', async (t) => {
  const { clock, pool, connect, succeed, suspicions } = createPool();
  const old = await connect();
  old.startCall();
  old.isSilent = true;
  await clock.advance(1500);
  const fresh = await succeed();
  old.isSilent = false;
  old.speak();
  await clock.advance(1000);
  t.deepEqual(suspicions, [true, false]);
  t.is(old.retired, 'connection is not needed');
  t.is(pool.stateOf(old), 'closing');
  t.is(old.ended, undefined, 'its call goes on');
  t.is(pool.select(), fresh);
  old.endCall();
  await settled();
  t.is(pool.stateOf(old), 'closed');
  t.like(pool.statistics, { open: 1, closing: 0, retired: 1, lost: 0 });
});

test('a connection that cannot be asked is no suspect, and is asked as soon as it can be', async (t) => {
  const { clock, connect, suspicions } = createPool();
  const member = await connect();
  member.startCall();
  member.isSilent = true;
  member.canBeAsked = false;
  await clock.advance(MINUTE_MS);
  t.deepEqual(suspicions, []);
  member.canBeAsked = true;
  await clock.advance(1000);
  t.is(member.pings, 1);
  await clock.advance(2000);
  t.like(member.ended, { code: 'IdleTimeout' });
});

test('while this thread stands still no connection becomes suspect', async (t) => {
  const { clock, pool, connect, suspicions } = createPool();
  const member = await connect();
  member.startCall();
  member.isSilent = true;
  await clock.advance(500);
  t.is(member.pings, 1);
  clock.stall(10_000);
  await clock.advance(0);
  member.isSilent = false;
  member.speak();
  await clock.advance(1000);
  t.deepEqual(suspicions, []);
  t.is(pool.statistics.open, 1);
});

test('on TCP what was sent ahead of the question is allowed for, on QUIC it is not', async (t) => {
  for (const transport of ['tcp', 'quic'] as const) {
    const { clock, pool, suspicions } = createPool();
    const member = new FakeMember(clock, { transport });
    pool.add(member);
    await clock.advance(250);
    member.startCall();
    member.isSilent = true;
    // 20 s on the slowest link that is allowed for.
    member.sent(2_500_000);
    await clock.advance(15_000);
    t.deepEqual(suspicions, transport === 'tcp' ? [] : [true], transport);
    t.is(member.ended === undefined, transport === 'tcp', transport);
    await clock.advance(8000);
    t.like(member.ended, { code: 'IdleTimeout' }, transport);
    pool.close(over());
  }
});

test('what the peer dialed need not show that it lives, however many those are', async (t) => {
  const { clock, pool } = createPool();
  const members = Array.from({ length: 20 }, () => new FakeMember(clock, { role: 'acceptor' }));
  for (const member of members) {
    pool.add(member);
    await clock.advance(300);
  }
  t.deepEqual(
    members.map(({ pings, retired }) => ({ pings, retired })),
    members.map(() => ({ pings: 0, retired: undefined })),
  );
  pool.close(over());
});

test('a peer that closes the connection in order is not dialed again', async (t) => {
  const { clock, dialer, pool, connect } = createPool();
  (await connect()).end(closedInOrder());
  await clock.advance(10 * MINUTE_MS);
  t.is(dialer.begun, 1);
  t.like(await t.throwsAsync(() => pool.connect({ signal: AbortSignal.abort() })), {
    code: 'Cancelled',
  });
  t.is(pool.statistics.lost, 0);
});

test('a peer that closes the connection in order leaves those alone that have another', async (t) => {
  const { clock, dialer, connect, accept } = createPool({ limits: { max: 2 } });
  const mine = await connect();
  const theirs = accept();
  theirs.end(closedInOrder());
  await settled();
  mine.end(lost());
  await clock.advance(100);
  t.is(dialer.underWay.length, 1, 'the other one was wanted still');
});

test('a peer that goes away is dialed again, and its calls under way end', async (t) => {
  const { clock, dialer, pool, connect, succeed } = createPool();
  const member = await connect();
  member.startCall();
  member.goAway();
  await clock.advance(100);
  t.is(dialer.underWay.length, 1);
  t.is(pool.stateOf(member), 'closing');
  t.is(pool.select(), undefined);
  t.is(member.ended, undefined);
  await succeed();
  member.endCall();
  await settled();
  t.like(pool.statistics, { open: 1, closing: 0, retired: 1, lost: 0 });
});

test('a peer that closes because it goes away is dialed again, and nothing is lost', async (t) => {
  const { clock, dialer, pool, connect, changes } = createPool();
  const member = await connect();
  member.end(new MeshError('GoingAway', 'restart', { side: 'remote' }));
  await clock.advance(100);
  t.is(dialer.underWay.length, 1);
  t.is(pool.statistics.lost, 0);
  t.is(
    changes.find(({ member: of, to }) => of === member && to.kind !== 'active')?.to.kind,
    'closed',
  );
});

test('a peer that goes away as soon as it is reached is dialed ever less often', async (t) => {
  const { clock, dialer, connect } = createPool();
  (await connect()).goAway();
  const endMs = clock.nowMs() + 10_000;
  while (clock.nowMs() < endMs && dialer.begun < 100) {
    await clock.advance(10);
    if (dialer.underWay.length === 0) continue;
    const member = new FakeMember(clock);
    dialer.next.succeed(member);
    await settled();
    member.goAway();
    await settled();
  }
  t.true(dialer.begun < 12, `${dialer.begun} dials within ten seconds`);
});

test('a connection whose peer went away before the pool has it takes no calls, and is replaced', async (t) => {
  const { clock, dialer, pool } = createPool();
  const connecting = pool.connect();
  const member = new FakeMember(clock);
  member.startCall();
  member.goAway();
  dialer.next.succeed(member);
  await connecting;
  await settled();
  t.is(pool.stateOf(member), 'closing');
  t.is(pool.select(), undefined);
  await clock.advance(100);
  t.is(dialer.underWay.length, 1);
});

test('where all connections are busy another is dialed, one at a time, up to max', async (t) => {
  const { clock, dialer, pool, connect, succeed } = createPool({
    limits: { max: 3, growAtCalls: 2 },
  });
  await connect();
  const call = (): void => pool.select()?.startCall();
  call();
  call();
  t.is(dialer.underWay.length, 0);
  call();
  call();
  t.is(dialer.underWay.length, 1);
  await succeed();
  for (let i = 0; i < 3; i += 1) call();
  t.is(dialer.underWay.length, 1);
  await succeed();
  for (let i = 0; i < 20; i += 1) call();
  await clock.advance(MINUTE_MS);
  t.is(dialer.begun, 3);
  t.like(pool.statistics, { open: 3, dialed: 3, calls: 27 });
});

test('in turn or not, a free connection is reason enough not to dial another', async (t) => {
  for (const strategy of ['roundRobin', 'leastLoaded', 'firstAvailable'] as const) {
    const { dialer, pool, connect, accept } = createPool({
      limits: { max: 3, growAtCalls: 2, strategy },
    });
    const busy = await connect();
    busy.startCall();
    busy.startCall();
    accept();
    for (let i = 0; i < 4; i += 1) pool.select();
    t.is(dialer.begun, 1, strategy);
  }
});

test('the side that gives way dials no more than the peer has left it', async (t) => {
  const { clock, dialer, pool, accept } = createPool({
    limits: { max: 2, growAtCalls: 1 },
    yields: () => true,
  });
  for (const member of [accept(), accept()]) member.startCall();
  await pool.connect();
  for (let i = 0; i < 10; i += 1) {
    pool.select();
    for (const { succeed } of [...dialer.underWay]) succeed(new FakeMember(clock));
    await clock.advance(1000);
  }
  t.is(dialer.begun, 0);
});

test('a dial that failed holds growth back until the next is due', async (t) => {
  const { clock, dialer, pool, connect, fail } = createPool({ limits: { max: 2, growAtCalls: 1 } });
  (await connect()).startCall();
  pool.select();
  await fail(unreachable());
  pool.select();
  t.is(dialer.underWay.length, 0);
  await clock.advance(100);
  pool.select();
  t.is(dialer.underWay.length, 1);
});

test('connections above min are closed when they were idle for long, the oldest first', async (t) => {
  const { clock, pool, connect, succeed } = createPool({
    limits: { min: 2, max: 3, growAtCalls: 1 },
  });
  const first = await connect();
  const second = await succeed();
  for (let i = 0; i < 3; i += 1) pool.select()?.startCall();
  const third = await succeed();
  third.startCall();
  for (const member of [first, first, second, third]) member.endCall();
  await clock.advance(59_000);
  t.is(pool.statistics.open, 3);
  t.is(pool.stateOf(second), 'idle');
  t.is(pool.stateOf(third), 'idle');
  await clock.advance(2500);
  t.deepEqual(
    [first, second, third].map(({ retired }) => retired !== undefined),
    [true, false, false],
  );
  t.like(pool.statistics, { open: 2, retired: 1, lost: 0 });
  await clock.advance(10 * MINUTE_MS);
  t.is(pool.statistics.open, 2, 'and no more');
});

test('min connections are kept, however many of them are lost', async (t) => {
  const { clock, dialer, pool, connect, succeed } = createPool({ limits: { min: 3, max: 3 } });
  const first = await connect();
  t.is(dialer.underWay.length, 2);
  await succeed();
  await succeed();
  t.like(pool.statistics, { open: 3, dialing: 0 });
  first.end(lost());
  await settled();
  t.is(dialer.underWay.length, 1, 'there are others: no reason to wait');
  await succeed();
  for (const member of pool.members) member.end(lost());
  await clock.advance(100);
  t.is(dialer.underWay.length, 3, 'all at once count as one loss');
});

test('where both sides have dialed, exactly the one that gives way retires its own', async (t) => {
  for (const yields of [true, false]) {
    const { clock, pool, connect, accept } = createPool({ yields: () => yields });
    const mine = await connect();
    const theirs = accept();
    theirs.isSilent = true;
    await clock.advance(1000);
    t.is(theirs.pings, 1, 'it is asked for a sign of life, once');
    t.is(mine.retired, undefined, 'not before the other has shown life');
    theirs.isSilent = false;
    theirs.speak();
    await clock.advance(500);
    t.is(mine.retired, yields ? 'connection is not needed' : undefined);
    t.is(theirs.retired, undefined);
    pool.close(over());
  }
});

test('pinned connections are no part of what the pool may have', async (t) => {
  const { clock, pool, connect } = createPool({ yields: () => true });
  const mine = await connect();
  const pinned = [new FakeMember(clock), new FakeMember(clock, { role: 'acceptor' })];
  for (const member of pinned) pool.add(member, { isPinned: true });
  await clock.advance(10 * MINUTE_MS);
  t.true([mine, ...pinned].every(({ isOpen }) => isOpen));
  t.is(pool.statistics.open, 3);
});

test('a pinned connection does not keep the pool from growing', async (t) => {
  const { clock, dialer, pool, connect } = createPool({ limits: { max: 2, growAtCalls: 1 } });
  const mine = await connect();
  const pinned = new FakeMember(clock);
  pool.add(pinned, { isPinned: true });
  for (const member of [mine, pinned]) member.startCall();
  pool.select();
  t.is(dialer.underWay.length, 1);
});

test('when the peer is not wanted any more every wait ends, and dials are given up', async (t) => {
  const { clock, dialer, pool, connect, wait } = createPool();
  (await connect()).end(lost());
  await settled();
  const waiters = [wait(), wait(1000)];
  const acquired = pool.acquire();
  await clock.advance(100);
  t.is(dialer.underWay.length, 1);
  const error = new MeshError('ConnectionClosed', 'not wanted');
  pool.release(error);
  await t.throwsAsync(acquired, { is: error });
  t.deepEqual(
    waiters.map(({ outcomes }) => outcomes),
    [[error], [error]],
  );
  t.like(pool.statistics, { waiting: 0, dialing: 0 });
  await clock.advance(10 * MINUTE_MS);
  t.deepEqual([dialer.begun, dialer.underWay.length, clock.pending], [2, 0, 0]);
});

test('a peer that is wanted anew is dialed anew, although the dial that was given up is not over', async (t) => {
  const { dialer, pool, succeed } = createPool();
  dialer.heedsSignals = false;
  const first = pool.connect();
  const [slow] = dialer.underWay;
  pool.release(new MeshError('ConnectionClosed', 'not wanted'));
  const second = pool.connect();
  t.is(dialer.begun, 2);
  slow?.fail(new MeshError('ConnectionClosed', 'given up'));
  await t.throwsAsync(first);
  await succeed();
  await t.notThrowsAsync(second);
});

test('a connection that comes although its dial was given up is closed, and the peer stays unwanted', async (t) => {
  for (const end of ['release', 'close'] as const) {
    const { clock, dialer, pool, succeed } = createPool();
    dialer.heedsSignals = false;
    pool.begin();
    pool[end](new MeshError('ConnectionClosed', 'not wanted'));
    const member = await succeed();
    t.like(member.ended, { code: 'NoError' }, end);
    await clock.advance(10 * MINUTE_MS);
    t.is(dialer.begun, 1, end);
    t.false(pool.mayConnect);
    t.deepEqual([pool.members, clock.pending], [[], 0]);
  }
});

test('a connection that comes although its dial was given up serves whoever wants the peer anew', async (t) => {
  const { clock, dialer, pool, wait } = createPool();
  dialer.heedsSignals = false;
  pool.begin();
  const [slow] = dialer.underWay;
  pool.release(new MeshError('ConnectionClosed', 'not wanted'));
  pool.begin();
  const waiter = wait();
  const member = new FakeMember(clock);
  slow?.succeed(member);
  await settled();
  t.is(waiter.outcome, member);
  t.is(pool.select(), member);
});

test('a pool that is closed begins nothing and leaves no timer', async (t) => {
  const { clock, dialer, pool, connect, wait, accept } = createPool({ limits: { min: 2, max: 2 } });
  const member = await connect();
  const error = over();
  const acquired = [pool.connect({ retry: true }), wait(1000)];
  pool.close(error);
  pool.close(new MeshError('ConnectionClosed', 'again'));
  await acquired[0];
  await settled();
  t.is(clock.pending, 0);
  await t.throwsAsync(pool.connect(), { is: error });
  pool.begin();
  t.is(pool.select(), member, 'connections are left to whoever has them');
  member.end(lost());
  accept().end(lost());
  await settled();
  await t.throwsAsync(pool.acquire(), { is: error });
  t.is(wait().error, error);
  t.deepEqual([dialer.underWay.length, clock.pending], [0, 0]);
  t.deepEqual(pool.members, []);
});

test('a pool that is closed while a dial is due leaves no timer', async (t) => {
  const { clock, pool, connect } = createPool();
  (await connect()).end(lost());
  await settled();
  t.is(clock.pending, 1);
  pool.close(over());
  t.is(clock.pending, 0);
});

test('where too many wait the next one fails at once', async (t) => {
  const { pool, connect, wait } = createPool({ waiters: { maxWaiters: 1 } });
  (await connect()).end(lost());
  await settled();
  wait();
  t.is(wait().error?.code, 'Overloaded');
  await t.throwsAsync(pool.acquire(), { code: 'Overloaded' });
  pool.close(over());
});

test('every step in the life of a connection is told in order', async (t) => {
  const { clock, pool, changes, fail, connect } = createPool();
  const connecting = pool.connect();
  const failed = t.throwsAsync(connecting);
  await fail(unreachable());
  await failed;
  const member = await connect();
  await clock.advance(2000);
  member.startCall();
  await clock.advance(250);
  member.endCall();
  pool.release(over());
  pool.retire(member, 'enough');
  await settled();
  const steps = changes.map(({ member: of, from, to }) => [of !== undefined, from, to.kind]);
  t.deepEqual(steps, [
    [false, undefined, 'connecting'],
    [false, 'connecting', 'failed'],
    [false, undefined, 'connecting'],
    [true, 'connecting', 'active'],
    [true, 'active', 'idle'],
    [true, 'idle', 'active'],
    [true, 'active', 'closing'],
    [true, 'closing', 'closed'],
  ]);
  t.is(pool.stateOf(member), 'closed');
});

test('without a connection nobody looks', async (t) => {
  const { clock, connect } = createPool();
  t.is(clock.pending, 0);
  const member = await connect();
  t.is(clock.pending, 1);
  member.end(closedInOrder());
  await settled();
  t.is(clock.pending, 0);
});
