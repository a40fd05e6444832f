import assert from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import { MeshError } from '../../src/errors.js';
import { WaitQueue } from '../../src/pool/wait-queue.js';
import { holdsAsync } from '../protocol/properties.js';
import { FakeMember, FakeWaiter } from './fake-member.js';
import { ManualClock } from './manual-clock.js';

function createQueue(limits = { maxWaiters: 100, maxWeight: 1000 }) {
  const clock = new ManualClock();
  return { clock, queue: new WaitQueue<FakeMember>(limits, clock) };
}

test('no more wait than allowed, and nothing heavier', (t) => {
  const { queue } = createQueue({ maxWaiters: 3, maxWeight: 100 });
  const tooHeavy = new FakeWaiter({ weight: 101 });
  queue.add(tooHeavy);
  t.is(tooHeavy.error?.code, 'Overloaded');
  const first = [new FakeWaiter({ weight: 60 }), new FakeWaiter({ weight: 40 })];
  for (const waiter of first) queue.add(waiter);
  const heavy = new FakeWaiter({ weight: 1 });
  queue.add(heavy);
  t.is(heavy.error?.code, 'Overloaded');
  const [weightless, tooMany] = [new FakeWaiter(), new FakeWaiter()];
  queue.add(weightless);
  queue.add(tooMany);
  t.is(tooMany.error?.code, 'Overloaded');
  t.deepEqual([queue.size, queue.weight], [3, 100]);
  t.true([...first, weightless].every(({ outcomes }) => outcomes.length === 0));
});

test('whoever leaves makes room, by whatever way', async (t) => {
  const { clock, queue } = createQueue({ maxWaiters: 1, maxWeight: 10 });
  const abort = new AbortController();
  const leave: [FakeWaiter, () => unknown][] = [
    [new FakeWaiter({ weight: 10 }), () => queue.offer(new FakeMember(clock))],
    [new FakeWaiter({ weight: 10 }), () => queue.failAll(new MeshError('ConnectFailed', 'no'))],
    [new FakeWaiter({ weight: 10, signal: abort.signal }), () => abort.abort()],
    [new FakeWaiter({ weight: 10, deadlineMs: clock.nowMs() + 5 }), () => clock.advance(5)],
  ];
  for (const [waiter, end] of leave) {
    queue.add(waiter);
    t.is(waiter.outcome, undefined);
    await end();
    t.is(waiter.outcomes.length, 1);
    t.deepEqual([queue.size, queue.weight, clock.pending], [0, 0, 0]);
  }
});

test('a connection starts those that take it, in order, and leaves the others', (t) => {
  const { clock, queue } = createQueue();
  const order: number[] = [];
  const waiters = [0, 1, 2, 3].map((i) => {
    const waiter = new FakeWaiter();
    waiter.isChoosy = i === 1;
    waiter.start = () => order.push(i);
    return waiter;
  });
  for (const waiter of waiters) queue.add(waiter);
  queue.offer(new FakeMember(clock));
  t.deepEqual(order, [0, 2, 3]);
  t.is(queue.size, 1);
});

test('a deadline that passes has the last failure as its cause', async (t) => {
  const { clock, queue } = createQueue();
  const [blind, informed] = [2, 4].map(
    (inMs) => new FakeWaiter({ deadlineMs: clock.nowMs() + inMs }),
  ) as [FakeWaiter, FakeWaiter];
  queue.add(blind);
  queue.add(informed);
  await clock.advance(2);
  t.like(blind.error, { code: 'DeadlineExceeded', cause: undefined });
  queue.lastFailure = new MeshError('ConnectFailed', 'nobody there');
  await clock.advance(2);
  t.like(informed.error, { code: 'DeadlineExceeded', cause: queue.lastFailure });
  t.regex(informed.error?.message ?? '', /nobody there/);
});

test('whoever comes with a signal that has fired fails at once, with its reason', (t) => {
  const { queue } = createQueue();
  const reason = new Error('changed my mind');
  const waiter = new FakeWaiter({ signal: AbortSignal.abort(reason) });
  queue.add(waiter);
  t.like(waiter.error, { code: 'Cancelled', cause: reason });
  t.is(queue.size, 0);
});

test('whoever comes when its time is up fails with that at once', (t) => {
  const { clock, queue } = createQueue();
  queue.lastFailure = new MeshError('ConnectFailed', 'nobody there');
  for (const lateMs of [0, 1]) {
    const waiter = new FakeWaiter({ deadlineMs: clock.nowMs() - lateMs });
    queue.add(waiter);
    t.like(waiter.error, { code: 'DeadlineExceeded', cause: queue.lastFailure });
  }
  t.deepEqual([queue.size, clock.pending], [0, 0]);
});

test('whoever starts may add others, who wait for the next connection', (t) => {
  const { clock, queue } = createQueue({ maxWaiters: 1, maxWeight: 10 });
  const [first, second] = [new FakeWaiter({ weight: 10 }), new FakeWaiter({ weight: 10 })];
  first.start = () => queue.add(second);
  queue.add(first);
  queue.offer(new FakeMember(clock));
  t.is(second.outcome, undefined);
  t.deepEqual([queue.size, queue.weight], [1, 10]);
});

test('whatever happens, everybody settles exactly once, and weight and number add up', async (t) => {
  const action = fc.oneof(
    fc.record({
      kind: fc.constant('add' as const),
      weight: fc.nat(8),
      deadlineInMs: fc.option(fc.nat(50), { nil: undefined }),
      isChoosy: fc.boolean(),
    }),
    fc.record({ kind: fc.constant('abort' as const), which: fc.nat() }),
    fc.record({ kind: fc.constant('pass' as const), ms: fc.nat(30) }),
    fc.record({ kind: fc.constantFrom('offer' as const, 'failAll' as const) }),
  );
  await holdsAsync(
    t,
    fc.asyncProperty(fc.array(action, { maxLength: 40, size: 'max' }), async (actions) => {
      const limits = { maxWaiters: 5, maxWeight: 20 };
      const { clock, queue } = createQueue(limits);
      const waiters: { waiter: FakeWaiter; abort: AbortController }[] = [];
      const waiting = (): FakeWaiter[] =>
        waiters.map(({ waiter }) => waiter).filter(({ outcome }) => outcome === undefined);
      for (const action of actions) {
        if (action.kind === 'add') {
          const abort = new AbortController();
          const { weight, deadlineInMs = Number.POSITIVE_INFINITY } = action;
          const deadlineMs = clock.nowMs() + deadlineInMs;
          const waiter = new FakeWaiter({ weight, deadlineMs, signal: abort.signal });
          waiter.isChoosy = action.isChoosy;
          waiters.push({ waiter, abort });
          queue.add(waiter);
        } else if (action.kind === 'abort') {
          waiters[action.which % waiters.length]?.abort.abort();
        } else if (action.kind === 'pass') {
          await clock.advance(action.ms);
          assert(waiting().every(({ deadlineMs }) => deadlineMs > clock.nowMs()));
        } else if (action.kind === 'offer') {
          queue.offer(new FakeMember(clock));
          assert(waiting().every(({ isChoosy }) => isChoosy));
        } else {
          queue.failAll(new MeshError('ConnectFailed', 'no'));
          assert.equal(queue.size, 0);
        }
        const left = waiting();
        assert.equal(queue.size, left.length);
        assert.equal(
          queue.weight,
          left.reduce((sum, { weight }) => sum + weight, 0),
        );
        assert(queue.size <= limits.maxWaiters && queue.weight <= limits.maxWeight);
      }
      queue.failAll(new MeshError('NodeClosed', 'over'));
      assert(waiters.every(({ waiter }) => waiter.outcomes.length === 1));
      assert.equal(clock.pending, 0);
    }),
  );
});
