import test from 'ava';
import { DialQueue } from '../../src/calls/dial-queue.js';
import { MeshError } from '../../src/errors.js';
import { MessageCodec } from '../../src/protocol/codec.js';

const message = { type: 'request', method: 'a' } as const;
const bytes = new MessageCodec().encode(message).length;

test('no more calls wait than allowed, and no more bytes of them', async (t) => {
  const byCount = new DialQueue(new MessageCodec(), { maxCalls: 2, maxBytes: 1_000_000 });
  const byBytes = new DialQueue(new MessageCodec(), { maxCalls: 1000, maxBytes: 2 * bytes });
  for (const queue of [byCount, byBytes]) {
    const waiting = [queue.request(message, {}), queue.request(message, {})];
    const outcomes = Promise.allSettled(waiting);
    t.like(await t.throwsAsync(queue.request(message, {})), {
      code: 'Overloaded',
      maybeExecuted: false,
    });
    queue.fail(new MeshError('ConnectTimeout', 'not there'));
    for (const outcome of await outcomes) t.like(outcome, { reason: { code: 'ConnectTimeout' } });
  }
});

test('a call that is given up makes room', async (t) => {
  const queue = new DialQueue(new MessageCodec(), { maxCalls: 1, maxBytes: bytes });
  for (let i = 0; i < 3; i += 1) {
    const call = queue.request(message, { timeoutMs: 1 });
    t.like(await t.throwsAsync(call), { code: 'DeadlineExceeded' });
  }
});

test('after the dial has failed, calls fail at once', async (t) => {
  const queue = new DialQueue(new MessageCodec(), { maxCalls: 10, maxBytes: 1000 });
  queue.fail(new MeshError('ConnectFailed', 'not there', { side: 'remote' }));
  const failed = { code: 'ConnectFailed', side: 'remote', maybeExecuted: false };
  t.like(await t.throwsAsync(queue.request(message, {})), failed);
  t.like(await t.throwsAsync(queue.send(message, {})), failed);
  const bytesOf = queue.stream({ type: 'dataTransfer', transferId: 't1', offset: 0 }, {});
  t.like(await t.throwsAsync(async () => bytesOf[Symbol.asyncIterator]().next()), failed);
  t.throws(() => bytesOf[Symbol.asyncIterator](), { code: 'InvalidArgument' });
});
