/** Calls that are sent twice where that helps, and run once in any case. */
import type { CallCounters } from '../../../src/index.js';
import { MeshError } from '../../../src/index.js';
import { deferred } from '../../helpers/deferred.js';
import { until } from '../../helpers/until.js';
import type { CallsSuite } from '../calls-suite.js';

const TWICE = { redundancy: 2, priority: 'control' } as const;

export function redundancy({ transport, shared, own }: CallsSuite): void {
  /** Over TCP and in memory two copies would share every delay, so there is one. */
  const copies = transport === 'quic' ? 1 : 0;

  own('calls of every kind that are sent twice are run once', {}, async (t, stage) => {
    const runs: string[] = [];
    const key = 'twice';
    stage.serve('request', key, () => {
      runs.push('request');
      return { body: runs.length };
    });
    stage.serve('query', key, () => {
      runs.push('query');
      return { result: runs.length };
    });
    stage.serve('replicationLog', key, () => void runs.push('replicationLog'));
    stage.serve('consensus', key, () => {
      runs.push('consensus');
      return { body: { kind: 'installSnapshotResponse', term: runs.length } };
    });
    const { peer } = stage;
    const request = { type: 'request', method: key } as const;
    const body = { kind: 'installSnapshotResponse', term: 1 } as const;
    const log = { group: key, term: 1, prevIndex: 1, commitIndex: 1, entries: [] };
    t.is((await peer.request(request, TWICE)).body, 1);
    t.is((await peer.request({ type: 'queryRequest', query: key }, TWICE)).result, 2);
    await peer.request({ type: 'replicationLog', ...log }, TWICE);
    await peer.request({ type: 'consensus', group: key, body }, { redundancy: 2 });
    await peer.send(request, TWICE);
    await until(() => runs.length === 5);
    t.true(peer.trySend(request, TWICE));
    await until(() => runs.length === 6);
    t.true((await peer.ping({ redundancy: 2 })) >= 0);
    const dropped = (): number => stage.connectionBack.calls.copiesDropped;
    await until(() => dropped() === 7 * copies);
    t.is(runs.length, 6);
    t.like(stage.connection.calls, { sent: 7, succeeded: 7, failed: 0, copiesSent: 7 * copies });
    t.like(stage.connectionBack.calls, { handled: 7, refused: 0, copiesSent: 0 });
  });

  own('the acceptor sends calls twice as well', {}, async (t, stage) => {
    let runs = 0;
    stage.serveBack('request', 'back', () => ({ body: ++runs }));
    for (let i = 1; i <= 20; i += 1) {
      t.is((await stage.back.request({ type: 'request', method: 'back' }, TWICE)).body, i);
    }
    await until(() => stage.connection.calls.copiesDropped === 20 * copies);
    t.like(stage.connectionBack.calls, { succeeded: 20, copiesSent: 20 * copies });
    t.is(stage.connection.calls.handled, 20);
  });

  own('hundreds of calls at once that are sent twice are each run once', {}, async (t, stage) => {
    const runs: number[] = [];
    stage.serve('request', 'many', async ({ body }) => {
      runs.push(body as number);
      if (runs.length % 3 === 0) await undefined;
      return { body };
    });
    const numbers = Array.from({ length: 300 }, (_, i) => i);
    const options = { ...TWICE, timeoutMs: 60_000 };
    const replies = await Promise.all(
      numbers.map((body) => stage.peer.request({ type: 'request', method: 'many', body }, options)),
    );
    t.deepEqual(
      replies.map(({ body }) => body),
      numbers,
    );
    // Copies that come only now are not run either.
    const { copiesSent } = stage.connection.calls;
    await until(() => stage.connectionBack.calls.copiesDropped >= Math.min(1, copiesSent));
    await stage.peer.ping();
    t.deepEqual(
      runs.sort((a, b) => a - b),
      numbers,
    );
  });

  own('an error of the handler answers both copies, and counts once', {}, async (t, stage) => {
    stage.serve('request', 'bad', () => {
      throw new MeshError('Overloaded', 'not now');
    });
    const call = stage.peer.request({ type: 'request', method: 'bad' }, TWICE);
    await t.throwsAsync(call, { instanceOf: MeshError, code: 'Overloaded' });
    await until(() => stage.connectionBack.calls.copiesDropped === copies);
    t.like(stage.connectionBack.calls, { handled: 1, handlerErrors: 1 });
    t.like(stage.connection.calls, { sent: 1, failed: 1 });
  });

  own('a slow call, and one with a large answer, are answered once', {}, async (t, stage) => {
    const answer = deferred();
    stage.serve('request', 'slow', async () => {
      await answer.promise;
      return { body: 'late' };
    });
    stage.serve('request', 'large', () => ({ body: Buffer.alloc(100_000, 1) }));
    const slow = stage.peer.request({ type: 'request', method: 'slow' }, TWICE);
    await until(() => stage.connectionBack.calls.copiesDropped === copies);
    const large = await stage.peer.request({ type: 'request', method: 'large' }, TWICE);
    t.is((large.body as Uint8Array).length, 100_000);
    answer.resolve();
    t.is((await slow).body, 'late');
    t.like(stage.connection.calls, { succeeded: 2, failed: 0 });
  });

  own('to give up a call that was sent twice ends its handler', {}, async (t, stage) => {
    const begun = deferred<AbortSignal>();
    stage.serve('request', 'given up', (_, { signal }) => {
      begun.resolve(signal);
      return new Promise(() => {});
    });
    const giving = new AbortController();
    const options = { ...TWICE, signal: giving.signal };
    const call = stage.peer.request({ type: 'request', method: 'given up' }, options);
    const signal = await begun.promise;
    t.false(signal.aborted);
    giving.abort();
    await t.throwsAsync(call, { instanceOf: MeshError, code: 'Cancelled' });
    await until(() => signal.aborted);
    t.true((await stage.peer.ping()) >= 0);
  });

  shared('a number in the message does not make a call a copy of another', async (t, stage) => {
    let runs = 0;
    stage.serve('request', 'numbered', () => ({ body: ++runs }));
    const message = { type: 'request', method: 'numbered', copyId: 7 } as const;
    t.is((await stage.peer.request(message)).body, 1);
    t.is((await stage.peer.request(message, TWICE)).body, 2);
    t.is((await stage.peer.request(message)).body, 3);
  });

  shared('a call with a key may be sent twice', async (t, stage) => {
    let runs = 0;
    stage.serve('request', 'keyed', () => ({ body: ++runs }));
    const message = { type: 'request', method: 'keyed' } as const;
    const options = { ...TWICE, latestOnly: 'key' };
    const calls = [1, 2, 3].map(() => stage.peer.request(message, options));
    const settled = await Promise.allSettled(calls);
    t.is(settled.at(-1)?.status, 'fulfilled');
    const answered = settled.filter(({ status }) => status === 'fulfilled').length;
    t.is(runs, answered);
  });

  shared('what cannot be sent twice is refused, and not sent at all', async (t, stage) => {
    let runs = 0;
    stage.serve('request', 'refused', () => ({ body: ++runs }));
    const message = { type: 'request', method: 'refused' } as const;
    const refused = { instanceOf: MeshError, code: 'InvalidArgument' };
    await t.throwsAsync(stage.peer.request(message, { redundancy: 2 }), {
      ...refused,
      message: /priority control.*normal/,
    });
    await t.throwsAsync(
      stage.peer.send({ ...message, priority: 'high' }, { redundancy: 2 }),
      refused,
    );
    t.throws(() => stage.peer.trySend(message, { redundancy: 2 }), refused);
    const large = { ...message, body: Buffer.alloc(1024) };
    await t.throwsAsync(stage.peer.request(large, TWICE), {
      ...refused,
      message: /1024 are the most/,
    });
    t.throws(() => stage.peer.trySend(large, TWICE), refused);
    for (const wrong of [0, 3, 1.5, '2', null]) {
      const options = { ...TWICE, redundancy: wrong as 2 };
      await t.throwsAsync(stage.peer.request(message, options), refused, String(wrong));
    }
    t.is((await stage.peer.request(message)).body, 1);
  });

  own(
    'a default of the node holds for what can be sent twice, and leaves out the rest',
    { n1: { redundancy: 2 } },
    async (t, stage) => {
      stage.serve('request', 'default', () => ({}));
      const message = { type: 'request', method: 'default' } as const;
      const sentBy = async (call: () => Promise<unknown>): Promise<number> => {
        const before: CallCounters = stage.connection.calls;
        await call();
        return stage.connection.calls.copiesSent - before.copiesSent;
      };
      const { peer } = stage;
      t.is(await sentBy(() => peer.request(message)), 0);
      t.is(await sentBy(() => peer.request(message, { priority: 'control' })), copies);
      t.is(await sentBy(() => peer.request(message, { ...TWICE, redundancy: 1 })), 0);
      t.is(await sentBy(() => peer.ping()), copies);
      const large = { ...message, body: Buffer.alloc(2000) };
      t.is(await sentBy(() => peer.request(large, { priority: 'control' })), 0);
      t.is(await sentBy(() => stage.back.ping()), 0);
    },
  );
}
