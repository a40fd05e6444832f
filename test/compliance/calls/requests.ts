/** Calls and their answers, of every kind and in both directions. */
import { randomBytes } from 'node:crypto';
import type { RaftBody } from '../../../src/index.js';
import { deferred } from '../../helpers/deferred.js';
import { until } from '../../helpers/until.js';
import type { CallsSuite } from '../calls-suite.js';

const ENTRIES = [
  { index: 2 ** 40, term: 3, data: Buffer.from('entry') },
  { index: 2 ** 40 + 1, term: 3, data: Buffer.alloc(0) },
];

const RAFT: readonly RaftBody[] = [
  { kind: 'requestVote', term: 9, candidateId: 'n1', lastLogIndex: 8, lastLogTerm: 7 },
  { kind: 'requestVoteResponse', term: 2 ** 53 - 1, voteGranted: false },
  {
    kind: 'appendEntries',
    term: 9,
    leaderId: 'n1',
    prevLogIndex: 4,
    prevLogTerm: 3,
    entries: ENTRIES,
    leaderCommit: 2 ** 33,
  },
  { kind: 'appendEntriesResponse', term: 9, success: true, matchIndex: 0 },
  {
    kind: 'installSnapshot',
    term: 9,
    leaderId: 'n1',
    lastIncludedIndex: 4,
    lastIncludedTerm: 3,
    offset: 2 ** 35,
    data: randomBytes(10_000),
    done: false,
  },
  { kind: 'installSnapshotResponse', term: 0 },
];

export function requests({ shared, own, transport }: CallsSuite): void {
  shared('a ping is answered, with the token that it came with', async (t, { peer, back }) => {
    for (const to of [peer, back]) {
      const token = randomBytes(64);
      t.deepEqual(await to.request({ type: 'ping', token }), { type: 'pong', token });
      t.deepEqual(await to.request({ type: 'ping' }), { type: 'pong' });
      t.true((await to.ping()) >= 0);
    }
  });

  shared('a query arrives with all its fields, and is answered', async (t, stage) => {
    const seen = deferred<unknown>();
    stage.serve('query', 'select 1', (message) => {
      seen.resolve(message);
      return { result: [{ one: 1 }] };
    });
    const query = { type: 'queryRequest', query: 'select 1', database: 'main' } as const;
    t.deepEqual(await stage.peer.request({ ...query, parameters: [1, 'two', null] }), {
      type: 'queryResponse',
      result: [{ one: 1 }],
    });
    t.like(await seen.promise, { ...query, parameters: [1, 'two', null] });
  });

  shared('a replication log arrives with its entries, and is answered', async (t, stage) => {
    const seen = deferred<unknown>();
    stage.serve('replicationLog', 'log', (message) => {
      seen.resolve(message);
      return { body: { applied: 2 } };
    });
    const log = { group: 'log', term: 3, prevIndex: 2 ** 40 - 1, commitIndex: 5 } as const;
    const sent = { type: 'replicationLog', ...log, entries: ENTRIES } as const;
    t.deepEqual(await stage.peer.request(sent), { type: 'response', body: { applied: 2 } });
    const { timeoutMs: _, ...arrived } = (await seen.promise) as { timeoutMs: number };
    t.deepEqual<object, object>(arrived, sent);
  });

  shared('every message of Raft arrives as it was sent, and comes back so', async (t, stage) => {
    stage.serve('consensus', 'raft', ({ group, body }) => ({ group: group ?? '', body }));
    for (const body of RAFT) {
      const sent = { type: 'consensus', group: 'raft', body } as const;
      t.deepEqual<object, object>(await stage.peer.request(sent), sent);
    }
  });

  shared('the acceptor calls the dialer in the same way', async (t, stage) => {
    stage.serveBack('query', 'back', ({ parameters }) => ({ result: parameters }));
    stage.serveBack('replicationLog', 'back', () => ({ body: 'applied' }));
    stage.serveBack('consensus', 'back', ({ body }) => ({ body }));
    stage.serveBack('request', 'back', ({ body }) => ({ body }));
    const { back } = stage;
    const body = { kind: 'installSnapshotResponse', term: 1 } as const;
    const log = { term: 3, prevIndex: 1, commitIndex: 5, entries: ENTRIES };
    t.like(await back.request({ type: 'queryRequest', query: 'back', parameters: 1 }), {
      result: 1,
    });
    t.like(await back.request({ type: 'replicationLog', group: 'back', ...log }), {
      body: 'applied',
    });
    // The answer is of the same group, whether the handler says so or not.
    t.like(await back.request({ type: 'consensus', group: 'back', body }), { group: 'back', body });
    t.like(await back.request({ type: 'request', method: 'back', body: 2 }), { body: 2 });
  });

  shared('a handler may answer at once or later', async (t, stage) => {
    stage.serve('request', 'at once', () => ({ body: 'now' }));
    stage.serve('request', 'later', async () => {
      await new Promise(setImmediate);
      return { body: 'then' };
    });
    t.is((await stage.peer.request({ type: 'request', method: 'at once' })).body, 'now');
    t.is((await stage.peer.request({ type: 'request', method: 'later' })).body, 'then');
  });

  shared('an answer may be empty', async (t, stage) => {
    const empty = 'empty';
    stage.serve('query', empty, () => ({}));
    stage.serve('request', empty, async () => ({}));
    stage.serve('replicationLog', empty, () => {});
    const log = { term: 0, prevIndex: 0, commitIndex: 0, entries: [] };
    const { peer } = stage;
    t.deepEqual(await peer.request({ type: 'queryRequest', query: empty }), {
      type: 'queryResponse',
    });
    t.deepEqual(await peer.request({ type: 'request', method: empty }), { type: 'response' });
    t.deepEqual(await peer.request({ type: 'replicationLog', group: empty, ...log }), {
      type: 'response',
    });
  });

  shared(
    'a handler knows who calls, over what, and that the call is no early data',
    async (t, stage) => {
      const { peer, back } = stage;
      stage.serve('query', 'who', (_query, { peer: { nodeId }, transport: by, early }) => ({
        result: { nodeId, by, early },
      }));
      stage.serveBack('query', 'who', (_query, { peer: { nodeId }, transport: by, early }) => ({
        result: { nodeId, by, early },
      }));
      const query = { type: 'queryRequest', query: 'who' } as const;
      t.deepEqual((await peer.request(query)).result, {
        nodeId: 'n1',
        by: transport,
        early: false,
      });
      t.deepEqual((await back.request(query)).result, {
        nodeId: 'n2',
        by: transport,
        early: false,
      });
    },
  );

  shared(
    'answers come in the order in which they are given, not in that of the calls',
    async (t, stage) => {
      const answers = [0, 1, 2].map(() => deferred());
      const begun: number[] = [];
      stage.serve('request', 'order', async ({ body }) => {
        begun.push(body as number);
        await answers[body as number]?.promise;
        return {};
      });
      const settled: number[] = [];
      const calls = answers.map(async (_, body) => {
        await stage.peer.request({ type: 'request', method: 'order', body });
        settled.push(body);
      });
      await until(() => begun.length === 3);
      for (const [count, index] of [2, 0, 1].entries()) {
        answers[index]?.resolve();
        await until(() => settled.length === count + 1);
      }
      await Promise.all(calls);
      t.deepEqual(settled, [2, 0, 1]);
    },
  );

  shared('a handler may call back whoever called it', async (t, stage) => {
    stage.serve('request', 'there', async ({ body }) => {
      const { body: doubled } = await stage.back.request({
        type: 'request',
        method: 'and back',
        body,
      });
      return { body: [body, doubled] };
    });
    stage.serveBack('request', 'and back', ({ body }) => ({ body: 2 * (body as number) }));
    const reply = await stage.peer.request({ type: 'request', method: 'there', body: 21 });
    t.deepEqual(reply.body, [21, 42]);
  });

  own(
    '500 calls at once each way over one connection each get their own answer',
    {},
    async (t, stage) => {
      stage.serve('request', 'many', async ({ body }) => ({ body: { to: 'n2', body } }));
      stage.serveBack('request', 'many', ({ body }) => ({ body: { to: 'n1', body } }));
      const numbers = Array.from({ length: 500 }, (_, i) => i);
      const options = { timeoutMs: 60_000 };
      const askAll = (to: typeof stage.peer) =>
        Promise.all(
          numbers.map((body) => to.request({ type: 'request', method: 'many', body }, options)),
        );
      const [there, back] = await Promise.all([askAll(stage.peer), askAll(stage.back)]);
      t.deepEqual(
        there.map(({ body }) => body),
        numbers.map((body) => ({ to: 'n2', body })),
      );
      t.deepEqual(
        back.map(({ body }) => body),
        numbers.map((body) => ({ to: 'n1', body })),
      );
    },
  );

  own(
    '500 calls at once over a limit of 16 streams are all answered',
    { n2: { limits: { streams: 16 } } },
    async (t, stage) => {
      let running = 0;
      let most = 0;
      stage.serve('request', 'm', async ({ body }) => {
        running += 1;
        most = Math.max(most, running);
        await new Promise(setImmediate);
        running -= 1;
        return { body };
      });
      const numbers = Array.from({ length: 500 }, (_, i) => i);
      const replies = await Promise.all(
        numbers.map((body) =>
          stage.peer.request({ type: 'request', method: 'm', body }, { timeoutMs: 60_000 }),
        ),
      );
      t.deepEqual(
        replies.map(({ body }) => body),
        numbers,
      );
      t.true(most <= 16, `${most} at once`);
      t.like(stage.connection.calls, { sent: 500, succeeded: 500, failed: 0 });
    },
  );

  own(
    'a handler that is registered after the nodes have connected serves from then on',
    {},
    async (t, stage) => {
      const call = () => stage.peer.request({ type: 'request', method: 'late' });
      t.like(await t.throwsAsync(call()), { code: 'NoHandler' });
      stage.serve('request', 'late', () => ({ body: 'here' }));
      t.is((await call()).body, 'here');
    },
  );
}
