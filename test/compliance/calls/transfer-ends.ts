/** Transfers that end before they are whole, from either side. */
import { randomBytes } from 'node:crypto';
import { MeshError } from '../../../src/index.js';
import { deferred } from '../../helpers/deferred.js';
import { until } from '../../helpers/until.js';
import type { CallsSuite } from '../calls-suite.js';
import { untilBegun } from './stage.js';

const CHUNK = 64 * 1024;

export function transferEnds({ shared, own }: CallsSuite): void {
  shared('leaving a transfer’s loop early cancels it on the other side', async (t, stage) => {
    const cancelled = deferred<unknown>();
    const stopped = deferred();
    stage.serve('dataTransfer', 'left', async function* (_transfer, { signal }) {
      signal.addEventListener('abort', () => cancelled.resolve(signal.reason));
      try {
        for (;;) yield randomBytes(CHUNK);
      } finally {
        stopped.resolve();
      }
    });
    let bytes = 0;
    for await (const chunk of stage.peer.stream({ transferId: 'left' })) {
      bytes += chunk.length;
      if (bytes > 1_000_000) break;
    }
    t.like(await cancelled.promise, { code: 'Cancelled', side: 'remote' });
    await stopped.promise;
  });

  own(
    'an answer that does not wait for the upload ends it, and costs no stream',
    { n2: { limits: { streams: 4 } } },
    async (t, stage) => {
      stage.serve('dataTransfer', 'endless', async () => [Buffer.from('enough')]);
      for (let round = 0; round < 8; round += 1) {
        const { body, stopped } = endless();
        const bytes = await read(stage.peer.stream({ transferId: 'endless' }, { body }));
        t.is(Buffer.concat(bytes).toString(), 'enough');
        await stopped;
      }
      t.true((await stage.peer.ping()) >= 0);
    },
  );

  shared(
    'a handler that throws midway fails the reader after what it had sent',
    async (t, stage) => {
      stage.serve('dataTransfer', 'midway', async function* () {
        yield Buffer.from('first');
        yield Buffer.from('second');
        throw new MeshError('Overloaded', 'no more', { retryable: false });
      });
      const chunks: string[] = [];
      const error = await t.throwsAsync(async () => {
        for await (const chunk of stage.peer.stream({ transferId: 'midway' })) {
          chunks.push(Buffer.from(chunk).toString());
        }
      });
      t.like(error, { code: 'Overloaded', message: 'no more', side: 'remote', retryable: false });
      t.deepEqual(chunks, ['first', 'second']);
    },
  );

  shared('a handler that throws at once ends an upload', async (t, stage) => {
    stage.serve('dataTransfer', 'throws', () => {
      throw new TypeError('not me');
    });
    const { body, stopped } = endless();
    t.like(await t.throwsAsync(read(stage.peer.stream({ transferId: 'throws' }, { body }))), {
      code: 'HandlerFailed',
      message: 'not me',
      side: 'remote',
      maybeExecuted: true,
    });
    await stopped;
  });

  shared('a body that throws midway fails the transfer on both sides', async (t, stage) => {
    const begun = deferred();
    const seen = deferred<unknown>();
    stage.serve('dataTransfer', 'on fire', async (_transfer, { body }) => {
      try {
        for await (const _ of body) begun.resolve();
        seen.resolve('the end');
      } catch (error) {
        seen.resolve(error);
      }
    });
    const body = (async function* () {
      yield randomBytes(1000);
      await begun.promise;
      throw new Error('disk on fire');
    })();
    t.like(await t.throwsAsync(read(stage.peer.stream({ transferId: 'on fire' }, { body }))), {
      code: 'Cancelled',
      message: 'disk on fire',
      side: 'local',
    });
    t.like(await seen.promise, { code: 'Cancelled', side: 'remote' });
  });

  shared(
    'a body that yields anything but bytes is InvalidArgument, and the handler does not take it for whole',
    async (t, stage) => {
      const begun = deferred();
      const seen = deferred<unknown>();
      stage.serve('dataTransfer', 'no bytes', async (_transfer, { body }) => {
        begun.resolve();
        seen.resolve(await read(body).catch((error: unknown) => error));
      });
      const body = (async function* () {
        yield Buffer.from('good');
        await begun.promise;
        yield 'bad' as unknown as Uint8Array;
      })();
      t.like(await t.throwsAsync(read(stage.peer.stream({ transferId: 'no bytes' }, { body }))), {
        code: 'InvalidArgument',
        side: 'local',
      });
      t.like(await seen.promise, { side: 'remote' });
    },
  );

  shared('a handler that yields anything but bytes has failed', async (t, stage) => {
    stage.serve('dataTransfer', 'yields text', async function* () {
      yield 'text' as unknown as Uint8Array;
    });
    t.like(await t.throwsAsync(read(stage.peer.stream({ transferId: 'yields text' }))), {
      code: 'HandlerFailed',
      side: 'remote',
    });
  });

  shared('a transfer ends at its deadline, on both sides', async (t, stage) => {
    const seen = deferred<unknown>();
    const bodySeen = deferred<unknown>();
    let hasBegun = false;
    stage.serve('dataTransfer', 'timed', async (_transfer, { signal, body }) => {
      hasBegun = true;
      signal.addEventListener('abort', () => seen.resolve(signal.reason));
      bodySeen.resolve(await read(body).catch((error: unknown) => error));
    });
    await untilBegun(
      () => hasBegun,
      async (timeoutMs) => {
        const { body, stopped } = waiting();
        const bytes = stage.peer.stream({ transferId: 'timed' }, { timeoutMs, body });
        t.like(await t.throwsAsync(read(bytes)), { code: 'DeadlineExceeded', side: 'local' });
        stopped();
      },
    );
    t.like(await seen.promise, { code: 'DeadlineExceeded' });
    t.like(await bodySeen.promise, { code: 'DeadlineExceeded' });
  });

  shared('a transfer without time left never leaves', async (t, stage) => {
    let runs = 0;
    stage.serve('dataTransfer', 'no time', () => {
      runs += 1;
    });
    for (const timeoutMs of [0, -1, Number.NaN]) {
      const bytes = stage.peer.stream({ transferId: 'no time' }, { timeoutMs });
      t.like(await t.throwsAsync(read(bytes)), { code: 'DeadlineExceeded', maybeExecuted: false });
    }
    await read(stage.peer.stream({ transferId: 'no time' }));
    t.is(runs, 1);
  });

  shared('a transfer’s signal ends it, on both sides', async (t, stage) => {
    const begun = deferred();
    const seen = deferred<unknown>();
    stage.serve('dataTransfer', 'signalled', async function* (_transfer, { signal }) {
      signal.addEventListener('abort', () => seen.resolve(signal.reason));
      yield Buffer.from('first');
      begun.resolve();
      await seen.promise;
    });
    const controller = new AbortController();
    const bytes = read(
      stage.peer.stream({ transferId: 'signalled' }, { signal: controller.signal }),
    );
    await begun.promise;
    const reason = new Error('changed my mind');
    controller.abort(reason);
    t.like(await t.throwsAsync(bytes), { code: 'Cancelled', side: 'local', cause: reason });
    t.like(await seen.promise, { code: 'Cancelled', side: 'remote' });
  });

  shared('a transfer with a signal that has fired already never leaves', async (t, stage) => {
    let runs = 0;
    stage.serve('dataTransfer', 'fired', () => {
      runs += 1;
    });
    const signal = AbortSignal.abort();
    t.like(await t.throwsAsync(read(stage.peer.stream({ transferId: 'fired' }, { signal }))), {
      code: 'Cancelled',
      maybeExecuted: false,
    });
    await read(stage.peer.stream({ transferId: 'fired' }));
    t.is(runs, 1);
  });

  own('transfers are counted as calls, whole ones and others', {}, async (t, stage) => {
    stage.serve('dataTransfer', 'whole', () => [Buffer.from('all')]);
    stage.serve('dataTransfer', 'failing', () => {
      throw new Error('none');
    });
    await read(stage.peer.stream({ transferId: 'whole' }));
    await t.throwsAsync(read(stage.peer.stream({ transferId: 'failing' })));
    t.like(stage.connection.calls, { sent: 2, succeeded: 1, failed: 1 });
    await until(() => stage.connectionBack.calls.handled === 2);
    t.like(stage.connectionBack.calls, { handled: 2, handlerErrors: 1 });
  });
}

/** A body without an end; tells when it was left. */
function endless(): { readonly body: AsyncIterable<Uint8Array>; readonly stopped: Promise<void> } {
  const { promise: stopped, resolve } = deferred();
  const body = (async function* () {
    try {
      for (;;) yield randomBytes(CHUNK);
    } finally {
      resolve();
    }
  })();
  return { body, stopped };
}

/** A body of one piece that then waits until it is told to end. */
function waiting(): { readonly body: AsyncIterable<Uint8Array>; readonly stopped: () => void } {
  const { promise, resolve: stopped } = deferred();
  const body = (async function* () {
    yield Buffer.from('first');
    await promise;
  })();
  return { body, stopped };
}

async function read(bytes: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of bytes) chunks.push(chunk);
  return chunks;
}
