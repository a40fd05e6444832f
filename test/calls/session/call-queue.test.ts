import { once } from 'node:events';
import { Readable } from 'node:stream';
import test from 'ava';
import { MessageCopies } from '../../../src/calls/outgoing/message-copies.js';
import { CallQueue } from '../../../src/calls/session/call-queue.js';
import type { CallSession } from '../../../src/calls/session/session.js';
import { MeshError } from '../../../src/errors.js';
import { type WaitLimits, WaitQueue } from '../../../src/pool/wait-queue.js';
import { MessageCodec } from '../../../src/protocol/codec.js';

const message = { type: 'request', method: 'a' } as const;
const bytes = new MessageCodec().encode(message).length;
const NEVER = () => Promise.reject(new Error('nobody offers a session'));

function queueOf(limits: WaitLimits) {
  const line = new WaitQueue<CallSession>(limits);
  const queue = new CallQueue(new MessageCodec(), new MessageCopies(0), (call) => line.add(call));
  const request = (options = {}) => queue.call(message, options, NEVER).result;
  return { line, queue, request };
}

test('no more calls wait than allowed, and no more bytes of them', async (t) => {
  const byCount = queueOf({ maxWaiters: 2, maxWeight: 1_000_000 });
  const byBytes = queueOf({ maxWaiters: 1000, maxWeight: 2 * bytes });
  for (const { line, request } of [byCount, byBytes]) {
    const outcomes = Promise.allSettled([request(), request()]);
    t.like(await t.throwsAsync(request()), { code: 'Overloaded', maybeExecuted: false });
    line.failAll(new MeshError('ConnectTimeout', 'not there'));
    for (const outcome of await outcomes) t.like(outcome, { reason: { code: 'ConnectTimeout' } });
  }
});

test('a call that is given up makes room', async (t) => {
  const { request } = queueOf({ maxWaiters: 1, maxWeight: bytes });
  for (let i = 0; i < 3; i += 1) {
    t.like(await t.throwsAsync(request({ timeoutMs: 1 })), { code: 'DeadlineExceeded' });
  }
});

test('where nobody may wait, calls fail at once', async (t) => {
  const error = new MeshError('ConnectFailed', 'not there', { side: 'remote' });
  const queue = new CallQueue(new MessageCodec(), new MessageCopies(0), (call) => call.fail(error));
  const failed = { code: 'ConnectFailed', side: 'remote', maybeExecuted: false };
  t.like(await t.throwsAsync(queue.call(message, {}, NEVER).result), failed);
  const body = new Readable({ read() {} });
  const closed = once(body, 'close');
  const bytesOf = queue.stream({ type: 'dataTransfer', transferId: 't1', offset: 0 }, { body });
  t.like(await t.throwsAsync(async () => bytesOf[Symbol.asyncIterator]().next()), failed);
  await closed;
  t.throws(() => bytesOf[Symbol.asyncIterator](), { code: 'InvalidArgument' });
});
