/** Calls whose connection goes away under them: each settles, once. */
import { type CallContext, MeshError } from '../../../src/index.js';
import { deferred } from '../../helpers/deferred.js';
import { until } from '../../helpers/until.js';
import type { CallsSuite } from '../calls-suite.js';
import type { Stage } from './stage.js';

/** A wire that is cut is noticed soon, and dialed again late. */
const IMPATIENT = {
  health: { intervalMs: 100, misses: 3 },
  reconnect: { minDelayMs: 60_000, maxDelayMs: 60_000 },
  // Of QUIC: this is how a side that owes answers and waits for none notices.
  timeouts: { idleMs: 1000, keepAliveMs: 200 },
} as const;
const CUTTABLE = { n1: IMPATIENT, n2: IMPATIENT, isCuttable: true } as const;

/** Where nothing says that a wire is cut, silence does. */
const LOSSES = ['ConnectionLost', 'IdleTimeout'];

export function loss({ own }: CallsSuite): void {
  own(
    'calls under way fail when the peer closes the connection, and may have run',
    {},
    async (t, stage) => {
      const { outcomes } = await underWay(stage);
      await stage.back.close();
      for (const error of await outcomes) {
        t.like(error, { code: 'ConnectionClosed', side: 'remote', maybeExecuted: true });
      }
      t.false(stage.peer.isConnected);
    },
  );

  own(
    'calls under way fail when this side closes the peer, and their handlers hear of it',
    {},
    async (t, stage) => {
      const { outcomes, stopped } = await underWay(stage);
      await stage.peer.close();
      for (const error of await outcomes) {
        t.like(error, { code: 'ConnectionClosed', side: 'local', maybeExecuted: true });
      }
      for (const reason of await stopped)
        t.like(reason, { code: 'ConnectionClosed', side: 'remote' });
    },
  );

  own(
    'calls under way fail when the peer’s node has ended, and may have run',
    { n2: { timeouts: { drainMs: 1 } } },
    async (t, stage) => {
      const { outcomes } = await underWay(stage);
      await stage.n2.close();
      for (const error of await outcomes) {
        t.like(error, { code: 'GoingAway', side: 'remote', maybeExecuted: true });
      }
      t.false(stage.peer.isConnected);
      // The peer may come back: a call waits for it as long as it has time.
      t.like(await t.throwsAsync(stage.peer.ping({ timeoutMs: 100 })), {
        code: 'DeadlineExceeded',
      });
    },
  );

  own(
    'calls under way fail when this node ends, and their handlers hear of it',
    { n1: { timeouts: { drainMs: 1 } } },
    async (t, stage) => {
      const { outcomes, stopped } = await underWay(stage);
      await stage.n1.close();
      for (const error of await outcomes) {
        t.like(error, { side: 'local', maybeExecuted: true });
        t.true(['ConnectionClosed', 'GoingAway', 'NodeClosed'].includes(error.code), error.code);
      }
      for (const reason of await stopped) t.like(reason, { side: 'remote' });
    },
  );

  own(
    'calls under way fail when the wire is cut, and their handlers hear of it',
    CUTTABLE,
    async (t, stage) => {
      const { outcomes, stopped } = await underWay(stage);
      stage.cut();
      for (const error of await outcomes) {
        t.true(LOSSES.includes(error.code), error.code);
        t.like(error, { side: 'local', retryable: true, maybeExecuted: true });
      }
      for (const reason of await stopped) t.true(reason instanceof MeshError);
    },
  );

  own('a transfer fails on both sides when the wire is cut', CUTTABLE, async (t, stage) => {
    const begun = deferred();
    const seen = deferred<unknown>();
    stage.serve('dataTransfer', 'cut', async function* (_transfer, { body }) {
      yield Buffer.from('first');
      try {
        for await (const _ of body) begun.resolve();
      } catch (error) {
        seen.resolve(error);
      }
    });
    const left = deferred();
    const body = (async function* () {
      yield Buffer.from('up');
      await left.promise;
    })();
    const chunks: string[] = [];
    const reading = t.throwsAsync(async () => {
      for await (const chunk of stage.peer.stream({ transferId: 'cut' }, { body })) {
        chunks.push(Buffer.from(chunk).toString());
      }
    });
    await begun.promise;
    await until(() => chunks.length === 1);
    stage.cut();
    const error = (await reading) as MeshError;
    t.true(LOSSES.includes(error.code), error.code);
    t.true(error.maybeExecuted);
    t.true((await seen.promise) instanceof MeshError);
    t.deepEqual(chunks, ['first']);
    left.resolve();
  });

  own(
    'a call that may be repeated goes by the next connection when its wire is cut',
    { ...CUTTABLE, n1: { ...IMPATIENT, reconnect: { minDelayMs: 1, maxDelayMs: 50 } } },
    async (t, stage) => {
      const begun = deferred();
      let runs = 0;
      stage.serve('request', 'again', async () => {
        runs += 1;
        begun.resolve();
        if (runs === 1) await new Promise(() => {});
        return { body: 'second time' };
      });
      const events = stage.n1.status();
      const call = stage.peer.request(
        { type: 'request', method: 'again' },
        { replaySafe: true, timeoutMs: 30_000 },
      );
      await begun.promise;
      const mend = stage.cut();
      while ((await events.next()).value?.kind !== 'peerDown');
      mend();
      t.is((await call).body, 'second time');
      t.is(runs, 2);
    },
  );
}

interface UnderWay {
  /** What the calls failed with. */
  readonly outcomes: Promise<readonly MeshError[]>;
  /** What the signals of their handlers fired with. */
  readonly stopped: Promise<readonly unknown[]>;
}

const CALLS = 20;

/** Makes calls of every kind whose handlers never answer; fulfils when all of these run. */
async function underWay(stage: Stage): Promise<UnderWay> {
  let begun = 0;
  const reasons: unknown[] = [];
  const stopped = deferred<readonly unknown[]>();
  const never = (_message: unknown, { signal }: CallContext): Promise<never> => {
    begun += 1;
    signal.addEventListener('abort', () => {
      reasons.push(signal.reason);
      if (reasons.length === CALLS) stopped.resolve(reasons);
    });
    return new Promise(() => {});
  };
  for (const kind of ['query', 'request', 'consensus', 'replicationLog'] as const) {
    stage.serve(kind, 'never', never);
  }
  const body = { kind: 'installSnapshotResponse', term: 1 } as const;
  const log = { term: 0, prevIndex: 0, commitIndex: 0, entries: [] };
  const calls = Array.from({ length: CALLS / 4 }, () => [
    stage.peer.request({ type: 'queryRequest', query: 'never' }),
    stage.peer.request({ type: 'request', method: 'never' }),
    stage.peer.request({ type: 'consensus', group: 'never', body }),
    stage.peer.request({ type: 'replicationLog', group: 'never', ...log }),
  ]).flat();
  const outcomes = Promise.all(
    calls.map((call) =>
      call.then(
        () => new MeshError('NoError', 'succeeded'),
        (error: unknown) => error as MeshError,
      ),
    ),
  );
  await until(() => begun === CALLS);
  return { outcomes, stopped: stopped.promise };
}
