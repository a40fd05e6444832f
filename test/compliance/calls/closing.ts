/** The end of a node, and of a peer: what is under way, and what comes after. */
import { deferred } from '../../helpers/deferred.js';
import { until } from '../../helpers/until.js';
import type { CallsSuite } from '../calls-suite.js';
import type { Stage } from './stage.js';

const QUERY = { type: 'queryRequest', query: 'q' } as const;

export function closing({ own }: CallsSuite): void {
  own(
    'close lets calls under way finish, those on their way too, and then there are no new ones',
    { n2: { timeouts: { drainMs: 30_000 } } },
    async (t, stage) => {
      const { peer, n2 } = stage;
      const { begun, answer } = serveWhenTold(stage);
      const call = peer.request(QUERY);
      await begun;
      const closing = n2.close();
      const onItsWay = peer.request(QUERY);
      await until(() => !peer.isConnected);
      const late = peer.request(QUERY, { timeoutMs: 200 });
      t.like(await t.throwsAsync(late), { maybeExecuted: false });
      t.like(await t.throwsAsync(stage.back.request(QUERY)), {
        code: 'NodeClosed',
        maybeExecuted: false,
      });
      answer();
      t.deepEqual(await call, { type: 'queryResponse', result: 'finished' });
      t.deepEqual(await onItsWay, { type: 'queryResponse', result: 'finished' });
      await closing;
    },
  );

  own('close waits for the calls that this node has made', {}, async (t, stage) => {
    const { begun, answer } = serveWhenTold(stage);
    const call = stage.peer.request(QUERY);
    await begun;
    const closing = stage.n1.close();
    let isClosed = false;
    void closing.then(() => {
      isClosed = true;
    });
    await until(() => !stage.back.isConnected);
    t.false(isClosed);
    answer();
    t.is((await call).result, 'finished');
    await closing;
  });

  own(
    'close waits for transfers under way, and they arrive whole',
    { n2: { timeouts: { drainMs: 30_000 } } },
    async (t, stage) => {
      const goOn = deferred();
      stage.serve('dataTransfer', 't', async function* (_transfer, { body }) {
        yield Buffer.from('first ');
        await goOn.promise;
        for await (const chunk of body) yield chunk;
      });
      const chunks: Uint8Array[] = [];
      const body = [Buffer.alloc(300_000, 'x')];
      const reading = (async () => {
        for await (const chunk of stage.peer.stream({ transferId: 't' }, { body }))
          chunks.push(chunk);
      })();
      await until(() => chunks.length === 1);
      const closing = stage.n2.close();
      await until(() => !stage.peer.isConnected);
      goOn.resolve();
      await reading;
      t.is(Buffer.concat(chunks).length, 300_006);
      await closing;
    },
  );

  own(
    'close waits no longer than timeouts.drainMs',
    { n2: { timeouts: { drainMs: 50 } } },
    async (t, stage) => {
      const { begun } = serveWhenTold(stage);
      const failed = t.throwsAsync(stage.peer.request(QUERY, { timeoutMs: 60_000 }));
      await begun;
      await stage.n2.close();
      t.like(await failed, { code: 'GoingAway', side: 'remote', maybeExecuted: true });
    },
  );

  own('a node that is closed makes no calls, takes none and dials nobody', {}, async (t, stage) => {
    const { n1, peer } = stage;
    stage.serve('request', 'm', () => ({}));
    await n1.close();
    const refusal = { code: 'NodeClosed', side: 'local', maybeExecuted: false } as const;
    const request = { type: 'request', method: 'm' } as const;
    t.like(await t.throwsAsync(peer.request(request)), refusal);
    t.like(await t.throwsAsync(peer.send(request)), refusal);
    t.like(await t.throwsAsync(peer.ping()), refusal);
    t.like(await t.throwsAsync(async () => peer.stream({ transferId: 't' })), refusal);
    t.like(await t.throwsAsync(n1.connect(stage.target)), refusal);
    t.like(
      t.throws(() => n1.connectEarly(stage.target)),
      refusal,
    );
    t.is(stage.n2.peer('n1')?.isConnected, false);
  });

  own('to close a node twice waits for the same end', {}, async (t, stage) => {
    const first = stage.n2.close();
    t.is(stage.n2.close(), first);
    await first;
    await stage.n2.close();
    await stage.n2[Symbol.asyncDispose]();
    t.deepEqual(stage.back.connections, []);
  });

  own('both nodes may close at once, with calls under way each way', {}, async (t, stage) => {
    stage.serve('request', 'm', async ({ body }) => ({ body }));
    stage.serveBack('request', 'm', async ({ body }) => ({ body }));
    const calls = [stage.peer, stage.back].flatMap((peer) =>
      Array.from({ length: 20 }, (_, body) => peer.request({ type: 'request', method: 'm', body })),
    );
    const outcomes = Promise.allSettled(calls);
    await Promise.all([stage.n1.close(), stage.n2.close()]);
    for (const [i, outcome] of (await outcomes).entries()) {
      t.like(outcome, { status: 'fulfilled', value: { body: i % 20 } });
    }
  });

  own(
    'a peer that is closed is not dialed again by itself, and can be connected to anew',
    {},
    async (t, stage) => {
      const { peer, back, n1 } = stage;
      stage.serve('request', 'm', () => ({ body: 'served' }));
      const request = { type: 'request', method: 'm' } as const;
      await peer.close();
      await until(() => !back.isConnected);
      t.false(peer.isConnected);
      t.is(peer.transport, undefined);
      for (const side of [peer, back]) {
        t.like(await t.throwsAsync(side.request(request, { replaySafe: true })), {
          code: 'ConnectionLost',
          maybeExecuted: false,
        });
        t.like(await t.throwsAsync(async () => side.stream({ transferId: 't' })), {
          code: 'ConnectionLost',
        });
      }
      await peer.close();
      t.is(await n1.connect(stage.target), peer);
      t.is((await peer.request(request)).body, 'served');
    },
  );

  own('a peer that the acceptor closes is not dialed again either', {}, async (t, stage) => {
    await stage.back.close();
    await until(() => !stage.peer.isConnected);
    const call = stage.peer.request(QUERY, { replaySafe: true });
    t.like(await t.throwsAsync(call), { code: 'ConnectionLost', maybeExecuted: false });
  });
}

/** Has n2 answer the query `q` only when it is told to. */
function serveWhenTold(stage: Stage): {
  readonly begun: Promise<void>;
  readonly answer: () => void;
} {
  const begun = deferred();
  const answer = deferred();
  stage.serve('query', 'q', async () => {
    begun.resolve();
    await answer.promise;
    return { result: 'finished' };
  });
  return { begun: begun.promise, answer: answer.resolve };
}
