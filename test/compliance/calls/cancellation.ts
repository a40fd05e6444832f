/** Calls that their caller gives up. */
import { getEventListeners, setMaxListeners } from 'node:events';
import type { MeshError } from '../../../src/index.js';
import { deferred } from '../../helpers/deferred.js';
import { until } from '../../helpers/until.js';
import type { CallsSuite } from '../calls-suite.js';
import { type Stage, untilBegun } from './stage.js';

export function cancellation({ shared, own }: CallsSuite): void {
  shared('a call with a signal that has fired already never leaves', async (t, stage) => {
    let runs = 0;
    stage.serve('request', 'fired', () => {
      runs += 1;
      return {};
    });
    const request = { type: 'request', method: 'fired' } as const;
    const reason = new Error('changed my mind');
    const signal = AbortSignal.abort(reason);
    for (const call of [
      stage.peer.request(request, { signal }),
      stage.peer.send(request, { signal }),
      stage.peer.ping({ signal }),
    ]) {
      t.like(await t.throwsAsync(call), {
        code: 'Cancelled',
        side: 'local',
        retryable: false,
        maybeExecuted: false,
        cause: reason,
      });
    }
    await stage.peer.request(request);
    t.is(runs, 1);
  });

  shared(
    'a call that is cancelled in the turn in which it was made has not run where it says so',
    async (t, stage) => {
      let runs = 0;
      stage.serve('request', 'same turn', () => {
        runs += 1;
        return {};
      });
      const controller = new AbortController();
      const { signal } = controller;
      const call = stage.peer.request({ type: 'request', method: 'same turn' }, { signal });
      controller.abort();
      const error = (await t.throwsAsync(call)) as MeshError;
      t.is(error.code, 'Cancelled');
      await stage.peer.ping();
      await stage.peer.ping();
      if (!error.maybeExecuted) t.is(runs, 0);
    },
  );

  shared(
    'a call that is cancelled under way settles at once, and its handler hears of it',
    async (t, stage) => {
      const { begun, stopped } = serveUntilAborted(stage, 'under way');
      const controller = new AbortController();
      const { signal } = controller;
      const call = stage.peer.request({ type: 'queryRequest', query: 'under way' }, { signal });
      await begun;
      const reason = new Error('not needed');
      controller.abort(reason);
      t.like(await t.throwsAsync(call), {
        code: 'Cancelled',
        side: 'local',
        maybeExecuted: true,
        cause: reason,
      });
      t.like(await stopped, { code: 'Cancelled', side: 'remote' });
    },
  );

  shared(
    'a handler that asks for its signal only later finds that the call was cancelled',
    async (t, stage) => {
      const begun = deferred();
      const asked = deferred<unknown>();
      const cancelled = deferred();
      stage.serve('query', 'asks late', async (_query, context) => {
        begun.resolve();
        await cancelled.promise;
        await until(() => context.signal.aborted);
        asked.resolve(context.signal.reason);
        return {};
      });
      const controller = new AbortController();
      const { signal } = controller;
      const call = stage.peer.request({ type: 'queryRequest', query: 'asks late' }, { signal });
      await begun.promise;
      controller.abort();
      t.like(await t.throwsAsync(call), { code: 'Cancelled' });
      await stage.peer.ping();
      cancelled.resolve();
      t.like(await asked.promise, { code: 'Cancelled', side: 'remote' });
    },
  );

  shared('to cancel a call that has settled changes nothing, on either side', async (t, stage) => {
    const signals: AbortSignal[] = [];
    stage.serve('request', 'settled', (_request, context) => {
      signals.push(context.signal);
      return { body: 'answered' };
    });
    const controller = new AbortController();
    const { signal } = controller;
    const call = stage.peer.request({ type: 'request', method: 'settled' }, { signal });
    t.is((await call).body, 'answered');
    t.is(getEventListeners(signal, 'abort').length, 0);
    controller.abort();
    await stage.peer.ping();
    t.is((await call).body, 'answered');
    t.deepEqual(
      signals.map(({ aborted }) => aborted),
      [false],
    );
  });

  shared('one signal ends many calls at once, and no other', async (t, stage) => {
    let running = 0;
    const answer = deferred();
    const stopped: unknown[] = [];
    stage.serve('request', 'crowd', async (_request, { signal }) => {
      running += 1;
      signal.addEventListener('abort', () => stopped.push(signal.reason));
      await answer.promise;
      return { body: 'still here' };
    });
    const request = { type: 'request', method: 'crowd' } as const;
    const controller = new AbortController();
    const options = { signal: controller.signal };
    setMaxListeners(0, controller.signal);
    const calls = Array.from({ length: 100 }, () => stage.peer.request(request, options));
    const other = stage.peer.request(request);
    await until(() => running === 101);
    controller.abort();
    for (const outcome of await Promise.allSettled(calls)) {
      t.like(outcome, { status: 'rejected', reason: { code: 'Cancelled' } });
    }
    await until(() => stopped.length === 100);
    answer.resolve();
    t.is((await other).body, 'still here');
    t.is(stopped.length, 100);
  });

  shared('a signal that is a timeout cancels with that as the cause', async (t, stage) => {
    const { begun, stopped } = serveUntilAborted(stage, 'timeout');
    let hasBegun = false;
    void begun.then(() => {
      hasBegun = true;
    });
    await untilBegun(
      () => hasBegun,
      async (timeoutMs) => {
        const signal = AbortSignal.timeout(timeoutMs);
        const call = stage.peer.request({ type: 'queryRequest', query: 'timeout' }, { signal });
        t.like(await t.throwsAsync(call), { code: 'Cancelled', cause: { name: 'TimeoutError' } });
      },
    );
    t.like(await stopped, { code: 'Cancelled' });
  });

  own(
    'the answer to a call that was cancelled is dropped, and the call has failed once',
    {},
    async (t, stage) => {
      const begun = deferred();
      const answer = deferred();
      stage.serve('request', 'm', async () => {
        begun.resolve();
        await answer.promise;
        return { body: 'nobody waits' };
      });
      const controller = new AbortController();
      const { signal } = controller;
      const call = stage.peer.request({ type: 'request', method: 'm' }, { signal });
      await begun.promise;
      controller.abort();
      t.like(await t.throwsAsync(call), { code: 'Cancelled' });
      answer.resolve();
      await stage.peer.ping();
      t.like(stage.connection.calls, { sent: 2, succeeded: 1, failed: 1 });
      t.like(stage.connectionBack.calls, { handled: 2, handlerErrors: 0 });
    },
  );

  own(
    'a call that waits for the peer’s limit of streams can be cancelled, and never leaves',
    { n2: { limits: { streams: 2 } } },
    async (t, stage) => {
      let runs = 0;
      const answer = deferred();
      stage.serve('request', 'm', async () => {
        runs += 1;
        await answer.promise;
        return {};
      });
      const request = { type: 'request', method: 'm' } as const;
      const running = [stage.peer.request(request), stage.peer.request(request)];
      await until(() => runs === 2);
      const controller = new AbortController();
      const waiting = stage.peer.request(request, { signal: controller.signal });
      controller.abort();
      t.like(await t.throwsAsync(waiting), { code: 'Cancelled', maybeExecuted: false });
      answer.resolve();
      await Promise.all(running);
      await stage.peer.ping();
      t.is(runs, 2);
    },
  );
}

/** Has n2 answer a query only when it is aborted; gives when it began, and the reason. */
function serveUntilAborted(
  stage: Stage,
  query: string,
): { readonly begun: Promise<void>; readonly stopped: Promise<unknown> } {
  const begun = deferred();
  const stopped = deferred<unknown>();
  stage.serve('query', query, (_query, { signal }) => {
    begun.resolve();
    return new Promise((answer) => {
      signal.addEventListener('abort', () => {
        stopped.resolve(signal.reason);
        answer({});
      });
    });
  });
  return { begun: begun.promise, stopped: stopped.promise };
}
