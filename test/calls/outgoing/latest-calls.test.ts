import test from 'ava';
import { cancelledError } from '../../../src/base/abortable.js';
import { type AttemptOptions, LatestCalls } from '../../../src/calls/outgoing/latest-calls.js';
import { MeshError } from '../../../src/errors.js';

/** Fails when its signal fires, as every call does. */
function untilGivenUp({ signal }: AttemptOptions): Promise<never> {
  return new Promise((_, reject) => {
    signal?.addEventListener('abort', () => reject(cancelledError(signal)));
  });
}

test('a key is kept for as long as a call of it has not settled, whatever becomes of it', async (t) => {
  const latest = new LatestCalls();
  const given = new AbortController();
  const calls = [
    latest.call('a', {}, async () => 1),
    latest.call('b', {}, () => Promise.reject(new MeshError('ConnectionLost', 'gone'))),
    latest.call('c', {}, () => {
      throw new MeshError('InvalidArgument', 'at once');
    }),
    latest.call('d', {}, untilGivenUp),
    latest.call('d', { signal: given.signal }, untilGivenUp),
  ];
  const outcomes = Promise.allSettled(calls);
  t.true(latest.size <= 4);
  t.is(await calls[0], 1);
  given.abort();
  t.deepEqual(
    (await outcomes).map((outcome) => (outcome.status === 'rejected' ? outcome.reason.code : '')),
    ['', 'ConnectionLost', 'InvalidArgument', 'Superseded', 'Cancelled'],
  );
  t.is(latest.size, 0);
});

test("who gives up before a call began takes nobody's place", async (t) => {
  const latest = new LatestCalls();
  const given = new AbortController();
  const waiting = latest.call('a', { signal: given.signal }, untilGivenUp);
  const late = latest.call('a', { signal: AbortSignal.abort() }, async () => 'its own affair');
  t.is(await late, 'its own affair');
  t.is(latest.size, 1);
  given.abort();
  t.like(await t.throwsAsync(waiting), { code: 'Cancelled' });
});

test('a call that has left is not touched, and its end leaves the newer one its key', async (t) => {
  const latest = new LatestCalls();
  let finish: (value: string) => void = () => {};
  const first = latest.call('a', {}, ({ place }) => {
    place?.take({ hasLeft: true, yieldStream: () => undefined }, {});
    return new Promise<string>((resolve) => {
      finish = resolve;
    });
  });
  const second = latest.call('a', {}, untilGivenUp);
  finish('done');
  t.is(await first, 'done');
  t.is(latest.size, 1);
  const third = latest.call('a', {}, async () => 'newest');
  t.like(await t.throwsAsync(second), {
    code: 'Superseded',
    maybeExecuted: false,
    retryable: false,
  });
  t.is(await third, 'newest');
});

test('what failed after it had left is not touched while it waits to be made again', async (t) => {
  const latest = new LatestCalls();
  const given = new AbortController();
  const first = latest.call('a', { signal: given.signal }, (options) => {
    options.place?.take({ hasLeft: true, yieldStream: () => undefined }, {});
    options.place?.take({ hasLeft: false, yieldStream: () => undefined }, {});
    return untilGivenUp(options);
  });
  t.is(await latest.call('a', {}, async () => 'newer'), 'newer');
  given.abort();
  t.like(await t.throwsAsync(first), { code: 'Cancelled' });
});

test('a key is a string', async (t) => {
  const latest = new LatestCalls();
  for (const key of ['', 7 as never, null as never]) {
    const call = latest.call(key, {}, async () => 1);
    t.like(await t.throwsAsync(call), { code: 'InvalidArgument' });
  }
});
