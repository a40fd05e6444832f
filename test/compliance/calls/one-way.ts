/** Messages that nobody waits for an answer to. */
import { deferred } from '../../helpers/deferred.js';
import { until } from '../../helpers/until.js';
import type { CallsSuite } from '../calls-suite.js';

export function oneWay({ shared, own }: CallsSuite): void {
  shared('one-way messages of every kind arrive, and say that they are that', async (t, stage) => {
    const seen: unknown[] = [];
    const key = 'one-way';
    stage.serve('request', key, (message) => {
      seen.push(message);
      return {};
    });
    stage.serve('replicationLog', key, (message) => void seen.push(message));
    stage.serve('consensus', key, (message) => void seen.push(message));
    const log = { group: key, term: 3, prevIndex: 1, commitIndex: 5, entries: [] };
    const body = { kind: 'installSnapshotResponse', term: 77 } as const;
    await stage.peer.send({ type: 'request', method: key, body: [1, 2] });
    await until(() => seen.length === 1);
    await stage.peer.send({ type: 'replicationLog', ...log });
    await until(() => seen.length === 2);
    await stage.peer.send({ type: 'consensus', group: key, body });
    await until(() => seen.length === 3);
    t.like(seen[0], { type: 'request', body: [1, 2], oneWay: true });
    t.like(seen[1], { type: 'replicationLog', ...log, oneWay: true });
    t.like(seen[2], { type: 'consensus', body, oneWay: true });
  });

  shared('send does not wait for the handler', async (t, stage) => {
    const answer = deferred();
    const done = deferred();
    let isDone = false;
    stage.serve('request', 'slow one-way', async () => {
      await answer.promise;
      isDone = true;
      done.resolve();
      return {};
    });
    await stage.peer.send({ type: 'request', method: 'slow one-way' });
    t.false(isDone);
    answer.resolve();
    await done.promise;
    t.true(isDone);
  });

  own('a thousand one-way messages each way all arrive, once', {}, async (t, stage) => {
    const seen: number[][] = [[], []];
    stage.serve('request', 'thousand', ({ body }) => {
      seen[0]?.push(body as number);
      return {};
    });
    stage.serveBack('request', 'thousand', ({ body }) => {
      seen[1]?.push(body as number);
      return {};
    });
    const numbers = Array.from({ length: 1000 }, (_, i) => i);
    await Promise.all(
      [stage.peer, stage.back].flatMap((peer) =>
        numbers.map((body) =>
          peer.send({ type: 'request', method: 'thousand', body }, { timeoutMs: 60_000 }),
        ),
      ),
    );
    await until(() => seen.every(({ length }) => length >= 1000));
    for (const arrived of seen) {
      t.deepEqual(
        arrived.sort((a, b) => a - b),
        numbers,
      );
    }
  });

  shared('a one-way message has a deadline and a signal for its handler', async (t, stage) => {
    const seen = deferred<unknown>();
    stage.serve('request', 'timed one-way', ({ timeoutMs }, { deadline, signal }) => {
      seen.resolve({ timeoutMs, isTimed: deadline !== undefined, isAborted: signal.aborted });
      return {};
    });
    await stage.peer.send({ type: 'request', method: 'timed one-way' }, { timeoutMs: 20_000 });
    t.deepEqual(await seen.promise, { timeoutMs: 20_000, isTimed: true, isAborted: false });
  });

  shared('an object that is sent is not changed by that', async (t, stage) => {
    stage.serve('request', 'frozen', () => ({}));
    const message = Object.freeze({ type: 'request', method: 'frozen', body: 1 } as const);
    await stage.peer.send(message);
    await stage.peer.request(message);
    t.deepEqual(message, { type: 'request', method: 'frozen', body: 1 });
  });

  own(
    'an error of a one-way handler is counted there, and does not reach the sender',
    {},
    async (t, stage) => {
      stage.serve('request', 'm', () => {
        throw new Error('nobody asked');
      });
      for (let i = 0; i < 3; i += 1) await stage.peer.send({ type: 'request', method: 'm' });
      await until(() => stage.connectionBack.calls.handlerErrors === 3);
      t.true((await stage.peer.ping()) >= 0);
      t.like(stage.connection.calls, { sent: 4, succeeded: 4, failed: 0 });
    },
  );
}
