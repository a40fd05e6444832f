/** How much time a call has, and what both sides make of it. */
import type { MeshError } from '../../../src/index.js';
import { deferred } from '../../helpers/deferred.js';
import { until } from '../../helpers/until.js';
import type { CallsSuite } from '../calls-suite.js';
import { untilBegun } from './stage.js';

export function deadlines({ shared, own }: CallsSuite): void {
  shared(
    'the time that is left travels with a call, and is the handler’s deadline',
    async (t, stage) => {
      stage.serve('request', 'timed', ({ timeoutMs }, { deadline }) => ({
        body: { timeoutMs, deadline },
      }));
      const startMs = Date.now();
      const request = { type: 'request', method: 'timed' } as const;
      const { body } = await stage.peer.request(request, { timeoutMs: 54_321.5 });
      const endMs = Date.now();
      const { timeoutMs, deadline } = body as { timeoutMs: number; deadline: number };
      t.is(timeoutMs, 54_322, 'whole milliseconds, rather too many than too few');
      t.true(deadline >= startMs + timeoutMs && deadline <= endMs + timeoutMs);
    },
  );

  shared('a call has 10 s, unless it says otherwise', async (t, stage) => {
    stage.serve('request', 'default', ({ timeoutMs }) => ({ body: timeoutMs }));
    const request = { type: 'request', method: 'default' } as const;
    t.is((await stage.peer.request(request)).body, 10_000);
    t.is((await stage.peer.request(request, { timeoutMs: undefined })).body, 10_000);
  });

  shared('with a timeout of Infinity there is no deadline', async (t, stage) => {
    stage.serve('request', 'unlimited', ({ timeoutMs }, { deadline, signal }) => ({
      body:
        [timeoutMs, deadline].filter((limit) => limit !== undefined).length +
        Number(signal.aborted),
    }));
    const request = { type: 'request', method: 'unlimited' } as const;
    t.is((await stage.peer.request(request, { timeoutMs: Number.POSITIVE_INFINITY })).body, 0);
  });

  shared('a timeout of years is kept, though no timer holds it', async (t, stage) => {
    stage.serve('request', 'years', async ({ timeoutMs }, { signal }) => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      return { body: { timeoutMs: timeoutMs ?? null, isAborted: signal.aborted } };
    });
    const request = { type: 'request', method: 'years' } as const;
    for (const timeoutMs of [2 ** 31, 2 ** 45]) {
      const { body } = await stage.peer.request(request, { timeoutMs });
      t.deepEqual(body, { timeoutMs, isAborted: false });
    }
    const { body } = await stage.peer.request(request, { timeoutMs: Number.MAX_VALUE });
    t.deepEqual(body, { timeoutMs: null, isAborted: false });
  });

  shared('a call ends at its deadline, and its handler hears of it', async (t, stage) => {
    const aborted = deferred<unknown>();
    let hasBegun = false;
    stage.serve('query', 'too late', (_query, { signal }) => {
      hasBegun = true;
      return new Promise((answer) => {
        signal.addEventListener('abort', () => {
          aborted.resolve(signal.reason);
          answer({ result: 'too late' });
        });
      });
    });
    const query = { type: 'queryRequest', query: 'too late' } as const;
    const errors: MeshError[] = [];
    await untilBegun(
      () => hasBegun,
      async (timeoutMs) => {
        const call = stage.peer.request(query, { timeoutMs });
        errors.push((await t.throwsAsync(call)) as MeshError);
      },
    );
    for (const error of errors) {
      t.like(error, { code: 'DeadlineExceeded', side: 'local', retryable: true });
    }
    t.true(errors.some(({ maybeExecuted }) => maybeExecuted));
    t.like(await aborted.promise, { code: 'DeadlineExceeded' });
  });

  shared(
    'a handler that asks for its signal only after the deadline finds that it has fired',
    async (t, stage) => {
      const asked = deferred<unknown>();
      let hasBegun = false;
      stage.serve('query', 'late signal', async (_query, context) => {
        hasBegun = true;
        await until(() => Date.now() >= (context.deadline ?? Number.POSITIVE_INFINITY));
        await until(() => context.signal.aborted);
        asked.resolve(context.signal.reason);
        return {};
      });
      const query = { type: 'queryRequest', query: 'late signal' } as const;
      await untilBegun(
        () => hasBegun,
        async (timeoutMs) => {
          const call = stage.peer.request(query, { timeoutMs });
          t.like(await t.throwsAsync(call), { code: 'DeadlineExceeded' });
        },
      );
      t.like(await asked.promise, { code: 'DeadlineExceeded' });
    },
  );

  shared('a call without time left never leaves', async (t, stage) => {
    let runs = 0;
    stage.serve('request', 'no time', () => {
      runs += 1;
      return {};
    });
    const request = { type: 'request', method: 'no time' } as const;
    for (const timeoutMs of [0, -0, -1, Number.NEGATIVE_INFINITY, Number.NaN]) {
      for (const call of [
        stage.peer.request(request, { timeoutMs }),
        stage.peer.send(request, { timeoutMs }),
        stage.peer.ping({ timeoutMs }),
      ]) {
        t.like(await t.throwsAsync(call), {
          code: 'DeadlineExceeded',
          side: 'local',
          maybeExecuted: false,
        });
      }
    }
    await stage.peer.request(request);
    t.is(runs, 1);
  });

  shared('a call’s deadline leaves others under way alone', async (t, stage) => {
    const answer = deferred();
    stage.serve('request', 'patient', async () => {
      await answer.promise;
      return { body: 'in time' };
    });
    const request = { type: 'request', method: 'patient' } as const;
    const patient = stage.peer.request(request, { timeoutMs: 60_000 });
    const hasty = stage.peer.request(request, { timeoutMs: 20 });
    t.like(await t.throwsAsync(hasty), { code: 'DeadlineExceeded' });
    answer.resolve();
    t.is((await patient).body, 'in time');
  });

  own(
    'an answer that comes after the deadline is dropped, and the call has failed once',
    {},
    async (t, stage) => {
      const answer = deferred();
      const answered = deferred();
      let hasBegun = false;
      stage.serve('request', 'm', async () => {
        hasBegun = true;
        await answer.promise;
        answered.resolve();
        return { body: 'late' };
      });
      const request = { type: 'request', method: 'm' } as const;
      let failed = 0;
      await untilBegun(
        () => hasBegun,
        async (timeoutMs) => {
          const call = stage.peer.request(request, { timeoutMs });
          t.like(await t.throwsAsync(call), { code: 'DeadlineExceeded' });
          failed += 1;
        },
      );
      answer.resolve();
      await answered.promise;
      await stage.peer.ping();
      t.like(stage.connection.calls, { sent: failed + 1, succeeded: 1, failed });
      t.is(stage.connectionBack.calls.handlerErrors, 0);
    },
  );

  own(
    'time runs for a call that waits for the peer’s limit of streams, and it never leaves',
    { n2: { limits: { streams: 2 } } },
    async (t, stage) => {
      const answer = deferred();
      let runs = 0;
      stage.serve('request', 'm', async () => {
        runs += 1;
        await answer.promise;
        return {};
      });
      const request = { type: 'request', method: 'm' } as const;
      const running = [stage.peer.request(request), stage.peer.request(request)];
      await until(() => runs === 2);
      t.like(await t.throwsAsync(stage.peer.request(request, { timeoutMs: 50 })), {
        code: 'DeadlineExceeded',
        maybeExecuted: false,
      });
      answer.resolve();
      await Promise.all(running);
      await stage.peer.ping();
      t.is(runs, 2);
    },
  );
}
