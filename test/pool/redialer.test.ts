import test from 'ava';
import { MeshError } from '../../src/errors.js';
import { DEFAULT_BACKOFF } from '../../src/pool/backoff.js';
import { type DialFailure, Redialer } from '../../src/pool/redialer.js';
import { FakeDialer, FakeMember } from './fake-member.js';
import { ManualClock, settled } from './manual-clock.js';

const unreachable = () => new MeshError('ConnectFailed', 'nobody there');
const refused = () => new MeshError('ClusterMismatch', 'not one of us', { side: 'remote' });

/** A redialer with a host that wants one connection, as long as there is none. */
function createRedialer(chance = 0.5) {
  const clock = new ManualClock();
  const dialer = new FakeDialer();
  const connected: FakeMember[] = [];
  const failures: (DialFailure & { error: MeshError })[] = [];
  const offered: FakeMember[] = [];
  const late: FakeMember[] = [];
  const fill = (isEager = false): void => redialer.fill(1 - connected.length, isEager);
  const redialer: Redialer<FakeMember> = new Redialer<FakeMember>(
    {
      offer: (member) => offered.push(member),
      dialBegan: () => {},
      connected: (member) => {
        connected.push(member);
        redialer.connected();
      },
      connectedLate: (member) => late.push(member),
      dialFailed: (error, failure) => {
        failures.push({ ...failure, error });
        fill();
      },
      redialDue: () => fill(),
    },
    { clock, backoff: DEFAULT_BACKOFF, random: () => chance },
  );
  redialer.dial = dialer.dial;
  return { clock, dialer, redialer, connected, failures, offered, late, fill };
}

test('whoever connects while a dial is under way waits for the same', async (t) => {
  const { clock, dialer, redialer, connected } = createRedialer();
  const both = Promise.all([redialer.connect(), redialer.connect()]);
  redialer.begin();
  t.is(dialer.begun, 1);
  const member = new FakeMember(clock);
  dialer.next.succeed(member);
  t.deepEqual(await both, [member, member]);
  t.deepEqual(connected, [member]);
  t.is(redialer.dials, 0);
});

test('a failure is told, and whether somebody hears of it besides', async (t) => {
  const { dialer, redialer, failures } = createRedialer();
  redialer.begin();
  dialer.next.fail(unreachable());
  await settled();
  const connect = redialer.connect();
  dialer.next.fail(unreachable());
  await t.throwsAsync(connect, { code: 'ConnectFailed' });
  t.deepEqual(
    failures.map(({ isAwaited, isRefusal, retryInMs }) => ({ isAwaited, isRefusal, retryInMs })),
    [
      { isAwaited: false, isRefusal: false, retryInMs: undefined },
      { isAwaited: true, isRefusal: false, retryInMs: undefined },
    ],
  );
});

test('a failure that is no MeshError is told as one', async (t) => {
  const { redialer, failures } = createRedialer();
  redialer.dial = () => Promise.reject(new Error('a bug'));
  redialer.begin();
  await settled();
  t.like(failures, [{ error: { code: 'InternalError', message: 'a bug' } }]);
});

test('a connection that is missing is dialed again and again, ever later, as long as it is wanted', async (t) => {
  const { clock, dialer, redialer, fill, failures } = createRedialer(0.5);
  redialer.isWanted = true;
  fill();
  const delays: number[] = [];
  for (let i = 0; i < 15; i += 1) {
    dialer.next.fail(unreachable());
    await settled();
    t.is(dialer.underWay.length, 0, 'not before its time');
    const delayMs = clock.nextInMs as number;
    delays.push(delayMs);
    t.is(failures.at(-1)?.retryInMs, delayMs);
    await clock.advance(delayMs);
    t.is(dialer.underWay.length, 1);
  }
  t.deepEqual(delays.slice(0, 4), [50, 100, 200, 400]);
  t.is(delays.at(-1), 15_000);
  redialer.isWanted = false;
  dialer.next.fail(unreachable());
  await settled();
  t.is(clock.pending, 0);
});

test('calls that wait shorten the delay to half a second at most', async (t) => {
  const { clock, dialer, redialer, fill } = createRedialer(0.99);
  redialer.isWanted = true;
  fill();
  for (let i = 0; i < 12; i += 1) {
    dialer.next.fail(unreachable());
    await settled();
    await clock.advance(clock.nextInMs as number);
  }
  dialer.next.fail(unreachable());
  await settled();
  t.true((clock.nextInMs as number) > 29_000);
  fill(true);
  t.is(clock.pending, 1, 'the other timer is gone');
  t.true((clock.nextInMs as number) <= 500);
  fill(false);
  t.true((clock.nextInMs as number) > 29_000, 'nobody waits any more');
});

test('a refusal is answered by half a minute of quiet at least, whoever waits', async (t) => {
  const { clock, dialer, redialer, fill, failures } = createRedialer(0.99);
  redialer.isWanted = true;
  fill();
  dialer.next.fail(refused());
  await settled();
  fill(true);
  t.true((clock.nextInMs as number) >= 30_000);
  t.true(failures[0]?.isRefusal);
  t.false(redialer.isDue);
  const connect = redialer.connect();
  dialer.next.succeed(new FakeMember(clock));
  await t.notThrowsAsync(connect, 'whoever asks by name is not held back');
  t.true(redialer.isDue);
});

test('what this side finds wrong with whoever answers is a failure like others, and no refusal', async (t) => {
  const { clock, dialer, redialer, fill, failures } = createRedialer(0.99);
  redialer.isWanted = true;
  fill();
  const verdicts = [
    new MeshError('CertificateNameMismatch', 'not it'),
    new MeshError('CertificateUntrusted', 'not it'),
    new MeshError('TlsFailure', 'not it'),
    new MeshError('NodeIdMismatch', 'not it'),
    new MeshError('NodeIdMismatch', 'it is this node', { side: 'remote' }),
  ];
  for (const verdict of verdicts) {
    dialer.next.fail(verdict);
    await settled();
    fill(true);
    t.true((clock.nextInMs as number) <= 500, verdict.code);
    t.like(failures.at(-1), { isRefusal: false, isFinal: false });
    await clock.advance(5000);
  }
  dialer.next.fail(new MeshError('CertificateNameMismatch', 'not you', { side: 'remote' }));
  await settled();
  t.like(failures.at(-1), { isRefusal: true, isFinal: true }, "the peer's own verdict is one");
});

test('a dial that is wrong by itself is final, and tried again like others: it may be told another', async (t) => {
  const { clock, dialer, redialer, fill, failures } = createRedialer(0.99);
  redialer.isWanted = true;
  fill();
  dialer.next.fail(new MeshError('InvalidArgument', 'no port'));
  await settled();
  t.like(failures, [{ isRefusal: false, isFinal: true }]);
  t.true((clock.nextInMs as number) <= 100);
});

test('a dial that its own signal ends holds nothing back, and is no refusal', async (t) => {
  const { clock, redialer, failures } = createRedialer();
  const abort = new AbortController();
  const connect = redialer.connect(abort.signal);
  abort.abort();
  await t.throwsAsync(connect, { code: 'Cancelled' });
  t.like(failures, [{ isRefusal: false, retryInMs: undefined }]);
  t.true(redialer.isDue);
  t.is(clock.pending, 0);
});

test('as many dials are under way as connections are missing, and no more', async (t) => {
  const { dialer, redialer } = createRedialer();
  redialer.isWanted = true;
  redialer.fill(3, false);
  redialer.fill(3, false);
  t.is(dialer.begun, 3);
  redialer.fill(2, true);
  t.is(dialer.underWay.length, 3);
});

test('without a dial, or while unwanted, nothing is dialed', (t) => {
  const { dialer, redialer, fill, clock } = createRedialer();
  fill();
  redialer.dial = undefined;
  redialer.isWanted = true;
  fill();
  t.deepEqual([dialer.begun, clock.pending], [0, 0]);
  t.false(redialer.mayConnect);
});

test('a connection that was lost is dialed again after a delay', async (t) => {
  const { clock, dialer, redialer, connected, fill } = createRedialer();
  const connect = redialer.connect();
  dialer.next.succeed(new FakeMember(clock));
  await connect;
  redialer.isWanted = true;
  connected.length = 0;
  redialer.lost();
  fill();
  t.is(dialer.underWay.length, 0);
  await clock.advance(100);
  t.is(dialer.underWay.length, 1);
});

test('stopping gives up what is under way, and whoever comes next begins anew', async (t) => {
  const { clock, dialer, redialer, connected } = createRedialer();
  dialer.heedsSignals = false;
  const first = redialer.connect();
  const [slow] = dialer.underWay;
  redialer.stop(new MeshError('ConnectionClosed', 'not wanted'));
  t.true(slow?.signal.aborted);
  t.like(slow?.signal.reason, { code: 'ConnectionClosed' });
  t.false(redialer.mayConnect, 'nothing comes of a dial that is given up');
  const second = redialer.connect();
  t.is(dialer.begun, 2);
  slow?.fail(new MeshError('Cancelled', 'given up at last'));
  await t.throwsAsync(first, { code: 'Cancelled' });
  const member = new FakeMember(clock);
  dialer.next.succeed(member);
  t.is(await second, member);
  t.deepEqual(connected, [member]);
});

test('an early connection is offered before the dial is done', (t) => {
  const { clock, dialer, redialer, offered, connected } = createRedialer();
  redialer.begin();
  const member = new FakeMember(clock);
  dialer.next.offer(member);
  t.deepEqual([offered, connected], [[member], []]);
});

test('a connection that comes although its dial was given up is told apart', async (t) => {
  const { clock, dialer, redialer, connected, late } = createRedialer();
  dialer.heedsSignals = false;
  redialer.begin();
  redialer.stop(new MeshError('ConnectionClosed', 'not wanted'));
  const member = new FakeMember(clock);
  dialer.next.succeed(member);
  await settled();
  t.deepEqual([connected, late], [[], [member]]);
});

test('a loss that follows another at once, or a refusal, does not change when the next dial is due', async (t) => {
  const { clock, dialer, redialer, fill } = createRedialer();
  redialer.isWanted = true;
  redialer.connected();
  for (let i = 0; i < 10; i += 1) redialer.lost();
  fill();
  t.is(clock.nextInMs, DEFAULT_BACKOFF.minDelayMs / 2);
  await clock.advance(50);
  dialer.next.fail(refused());
  await settled();
  redialer.connected();
  redialer.lost();
  fill();
  t.true((clock.nextInMs as number) >= 30_000);
});
