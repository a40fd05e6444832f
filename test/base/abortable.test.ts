import { getEventListeners } from 'node:events';
import test from 'ava';
import {
  abortable,
  cancelledError,
  joinSignals,
  offAbort,
  onAbort,
} from '../../src/base/abortable.js';
import { MeshError } from '../../src/errors.js';

function listeners(signal: AbortSignal): number {
  return getEventListeners(signal, 'abort').length;
}

test('however many wait for a signal, it has one listener, and none once they wait no more', (t) => {
  const { signal } = new AbortController();
  const waiting = Array.from({ length: 1000 }, () => () => t.fail('it did not fire'));
  for (const listener of waiting) onAbort(signal, listener);
  t.is(listeners(signal), 1);
  for (const listener of waiting.slice(1)) offAbort(signal, listener);
  t.is(listeners(signal), 1);
  for (const listener of waiting) offAbort(signal, listener);
  t.is(listeners(signal), 0);
  offAbort(signal, () => {});
  t.is(listeners(signal), 0);
});

test('all that wait hear of it once, in order, but those that another of them takes away', (t) => {
  const controller = new AbortController();
  const { signal } = controller;
  const heard: string[] = [];
  const gone = () => heard.push('gone');
  onAbort(signal, (fired) => {
    heard.push(fired === signal ? 'first' : 'another');
    offAbort(signal, gone);
  });
  onAbort(signal, gone);
  onAbort(signal, () => heard.push('last'));
  controller.abort();
  controller.abort();
  t.deepEqual(heard, ['first', 'last']);
  t.is(listeners(signal), 0);
});

test('a joined signal fires with the first of its signals, and leaves nothing behind', (t) => {
  for (const first of [0, 1]) {
    const controllers = [new AbortController(), new AbortController()];
    const signals = controllers.map(({ signal }) => signal);
    const { signal } = joinSignals(signals[0], undefined, signals[1]);
    t.deepEqual(signals.map(listeners), [1, 1]);
    controllers[first]?.abort('why');
    t.true(signal.aborted);
    t.is(signal.reason, 'why');
    t.deepEqual(signals.map(listeners), [0, 0]);
  }
  const controller = new AbortController();
  const { signal, release } = joinSignals(controller.signal);
  release();
  t.is(listeners(controller.signal), 0);
  controller.abort();
  t.false(signal.aborted, 'nobody heeds it any more');
  t.is(joinSignals(undefined, AbortSignal.abort('before')).signal.reason, 'before');
});

test('a signal that is not of this realm is heeded like one that is', async (t) => {
  const heard = new Set<() => void>();
  const foreign = {
    aborted: false,
    reason: 'why',
    addEventListener: (_type: string, listener: () => void) => heard.add(listener),
    removeEventListener: (_type: string, listener: () => void) => heard.delete(listener),
  };
  const signal = foreign as unknown as AbortSignal;
  const joined = joinSignals(signal, new AbortController().signal);
  const waiting = abortable(new Promise(() => {}), signal);
  t.is(heard.size, 1);
  foreign.aborted = true;
  for (const listener of [...heard]) listener();
  t.true(joined.signal.aborted);
  t.is(joined.signal.reason, 'why');
  t.like(await t.throwsAsync(waiting), { code: 'Cancelled' });
});

test('a wait that is over has left its signal', async (t) => {
  const { signal } = new AbortController();
  t.is(await abortable(Promise.resolve(1), signal), 1);
  await t.throwsAsync(abortable(Promise.reject(new Error('no')), signal), { message: 'no' });
  await Promise.resolve();
  t.is(listeners(signal), 0);
  const aborted = AbortSignal.abort();
  t.like(await t.throwsAsync(abortable(Promise.resolve(), aborted)), { code: 'Cancelled' });
  t.is(listeners(aborted), 0);
});

test('whatever a signal was aborted with, the wait is Cancelled, save where it says Superseded', (t) => {
  const { proxy, revoke } = Proxy.revocable(new MeshError('Superseded', ''), {});
  revoke();
  for (const reason of [proxy, null, Symbol('odd'), Object.create(MeshError.prototype)]) {
    const error = cancelledError(AbortSignal.abort(reason));
    t.is(error.code, 'Cancelled');
    t.true(Object.is(error.cause, reason));
  }
  const superseded = new MeshError('Superseded', 'by a newer one');
  t.is(cancelledError(AbortSignal.abort(superseded)), superseded);
});
