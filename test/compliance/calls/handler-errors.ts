/** What a caller learns of a call that its peer could not, or would not, answer. */
import { MeshError, type MeshErrorCode } from '../../../src/index.js';
import type { CallsSuite } from '../calls-suite.js';
import type { Stage } from './stage.js';

export function handlerErrors({ shared, own }: CallsSuite): void {
  shared(
    'a handler’s MeshError reaches the caller with its code and text, and as the peer’s',
    async (t, stage) => {
      const cause = new Error('a secret');
      const ask = failing(stage, 'typed', new MeshError('ClockSkew', 'clocks differ', { cause }));
      const error = await t.throwsAsync(ask(), { instanceOf: MeshError });
      t.like(error, {
        code: 'ClockSkew',
        message: 'clocks differ',
        side: 'remote',
        retryable: false,
        maybeExecuted: true,
      });
      t.is(error?.cause, undefined);
    },
  );

  shared('whether trying again can help travels with an error', async (t, stage) => {
    for (const code of ['Overloaded', 'HandlerFailed'] as const) {
      for (const retryable of [true, false]) {
        const error = new MeshError(code, 'text', { retryable });
        const ask = failing(stage, `retryable ${code} ${retryable}`, error);
        t.like(await t.throwsAsync(ask()), { code, retryable });
      }
    }
  });

  shared(
    'codes that say that no handler ran are believed, all others may have run',
    async (t, stage) => {
      const notRun = [
        'NoHandler',
        'UnknownMessageType',
        'MalformedMessage',
        'Overloaded',
        'GoingAway',
        'CapabilityMissing',
      ];
      const codes = [
        ...notRun,
        'HandlerFailed',
        'DeadlineExceeded',
        'ConnectionLost',
      ] as MeshErrorCode[];
      for (const code of codes) {
        const ask = failing(stage, `ran ${code}`, new MeshError(code, 'text'));
        const error = await t.throwsAsync(ask());
        t.like(error, { code, side: 'remote', maybeExecuted: !notRun.includes(code) });
      }
    },
  );

  shared(
    'any other error becomes HandlerFailed with its text, and never its stack',
    async (t, stage) => {
      class OutOfCheese extends Error {}
      for (const [i, thrown] of [new TypeError('no function'), new OutOfCheese('redo')].entries()) {
        for (const isLate of [false, true]) {
          const error = await t.throwsAsync(
            failing(stage, `other ${i} ${isLate}`, thrown, isLate)(),
          );
          t.like(error, {
            code: 'HandlerFailed',
            message: thrown.message,
            side: 'remote',
            retryable: false,
            maybeExecuted: true,
          });
          t.is(error?.cause, undefined);
          t.false(error?.stack?.includes('handler-errors.ts:thrower'));
          t.false(JSON.stringify(error).includes('handler-errors.ts'));
        }
      }
    },
  );

  shared('what is thrown and is no error becomes HandlerFailed too', async (t, stage) => {
    const thrown = ['a text', 42, null, undefined, { code: 'Overloaded' }, Symbol('odd')];
    for (const [i, value] of thrown.entries()) {
      for (const isLate of [false, true]) {
        const ask = failing(stage, `no error ${i} ${isLate}`, value, isLate);
        t.like(await t.throwsAsync(ask()), { code: 'HandlerFailed', message: String(value) });
      }
    }
  });

  shared('a code that is for one side alone does not travel: HandlerFailed', async (t, stage) => {
    for (const code of [
      'InvalidOptions',
      'InvalidArgument',
      'NodeClosed',
      'MigrationFailed',
    ] as const) {
      const ask = failing(stage, `local ${code}`, new MeshError(code, 'of this side'));
      t.like(await t.throwsAsync(ask()), { code: 'HandlerFailed', message: 'of this side' });
    }
  });

  shared('the text of an error is cut where it is too long, and stays text', async (t, stage) => {
    for (const [i, letter] of ['x', '日', '👩'].entries()) {
      const text = letter.repeat(5000);
      const error = await t.throwsAsync(failing(stage, `long ${i}`, new Error(text))());
      t.like(error, { code: 'HandlerFailed' });
      const message = (error?.message ?? '').replace(/\ufffd$/, '');
      t.true(message.length > 300 && text.startsWith(message), `${message.length}`);
    }
  });

  shared('a handler that answers with no object has failed', async (t, stage) => {
    for (const answer of [null, 'text', 7, true]) {
      for (const isLate of [false, true]) {
        const method = `no object ${answer} ${isLate}`;
        const given = isLate ? Promise.resolve(answer) : answer;
        stage.serve('request', method, () => given as never);
        t.like(await t.throwsAsync(stage.peer.request({ type: 'request', method })), {
          code: 'HandlerFailed',
          side: 'remote',
          maybeExecuted: true,
        });
      }
    }
  });

  shared('a handler whose answer cannot travel has failed', async (t, stage) => {
    stage.serve('request', 'a date', () => ({ body: new Date() }));
    stage.serve('query', 'a date', async () => ({ result: [new Map()] }));
    t.like(await t.throwsAsync(stage.peer.request({ type: 'request', method: 'a date' })), {
      code: 'HandlerFailed',
      side: 'remote',
    });
    t.like(await t.throwsAsync(stage.peer.request({ type: 'queryRequest', query: 'a date' })), {
      code: 'HandlerFailed',
      side: 'remote',
    });
  });

  shared('the failure of one call leaves those beside it alone', async (t, stage) => {
    stage.serve('request', 'every third', async ({ body }) => {
      if ((body as number) % 3 === 0) throw new Error(`not ${body}`);
      return { body };
    });
    const calls = Array.from({ length: 60 }, (_, body) =>
      stage.peer.request({ type: 'request', method: 'every third', body }),
    );
    for (const [i, outcome] of (await Promise.allSettled(calls)).entries()) {
      if (i % 3 === 0) t.like(outcome, { status: 'rejected', reason: { message: `not ${i}` } });
      else t.like(outcome, { status: 'fulfilled', value: { body: i } });
    }
  });

  own(
    'a kind that is served already, and one that there is not, are InvalidArgument',
    {},
    async (t, { n2 }) => {
      n2.handle('query', () => ({}));
      for (const kind of ['query', 'ping', 'nothing'] as const) {
        t.like(
          t.throws(() => n2.handle(kind as 'query', () => ({}))),
          { code: 'InvalidArgument', side: 'local' },
        );
      }
    },
  );

  own(
    'a call of a kind that nobody serves is NoHandler, and has not run',
    {},
    async (t, { peer }) => {
      const body = { kind: 'installSnapshotResponse', term: 1 } as const;
      const log = { term: 0, prevIndex: 0, commitIndex: 0, entries: [] };
      for (const call of [
        peer.request({ type: 'queryRequest', query: 'q' }),
        peer.request({ type: 'request', method: 'm' }),
        peer.request({ type: 'consensus', body }),
        peer.request({ type: 'replicationLog', ...log }),
        (async () => {
          for await (const _ of peer.stream({ transferId: 't' }));
        })(),
      ]) {
        t.like(await t.throwsAsync(call), {
          code: 'NoHandler',
          side: 'remote',
          retryable: false,
          maybeExecuted: false,
        });
      }
      // Nobody hears of that, where nobody waits.
      await peer.send({ type: 'request', method: 'm' });
      await peer.send({ type: 'consensus', body });
      t.true((await peer.ping()) >= 0);
    },
  );

  own('handlers’ errors are counted where they were thrown', {}, async (t, stage) => {
    const ask = failing(stage, 'counted', new Error('no'));
    for (let i = 0; i < 3; i += 1) await t.throwsAsync(ask());
    await stage.peer.ping();
    t.like(stage.connection.calls, { sent: 4, succeeded: 1, failed: 3, handlerErrors: 0 });
    t.like(stage.connectionBack.calls, { handled: 4, handlerErrors: 3, sent: 0 });
  });

  own(
    'what both sides do not take part in is refused before it is sent, on either side',
    { n2: { capabilities: { consensus: false, dataTransfer: false } } },
    async (t, stage) => {
      const body = { kind: 'installSnapshotResponse', term: 1 } as const;
      const refusal = { code: 'CapabilityMissing', side: 'local', maybeExecuted: false } as const;
      for (const peer of [stage.peer, stage.back]) {
        t.like(await t.throwsAsync(peer.request({ type: 'consensus', body })), refusal);
        t.like(await t.throwsAsync(peer.send({ type: 'consensus', body })), refusal);
        t.like(
          await t.throwsAsync(async () => {
            for await (const _ of peer.stream({ transferId: 't' }));
          }),
          refusal,
        );
      }
      t.true((await stage.peer.ping()) >= 0);
      t.is(stage.connectionBack.calls.handled, 1);
    },
  );
}

/** Has n2 fail the requests of that method. */
function failing(
  stage: Stage,
  method: string,
  thrown: unknown,
  isLate = false,
): () => Promise<unknown> {
  stage.serve('request', method, function thrower() {
    if (isLate) return Promise.reject(thrown);
    throw thrown;
  });
  return () => stage.peer.request({ type: 'request', method });
}
