import { createHash, randomBytes } from 'node:crypto';
import test from 'ava';
import { MeshError, type NodeEvent } from '../src/index.js';
import { startNode, TEST_TRANSPORTS, targetOf } from './helpers/nodes.js';

for (const transport of TEST_TRANSPORTS) {
  const transports = [transport];

  test(`${transport}: a query is answered by the peer's handler, which knows who asks`, async (t) => {
    const n1 = await startNode(t, 'n1', { transports });
    const n2 = await startNode(t, 'n2', { transports });
    n2.handle('query', (request, context) => ({
      result: {
        query: request.query,
        from: context.peer.nodeId,
        transport: context.transport,
        early: context.early,
        timed: typeof context.deadline,
      },
    }));
    const peer = await n1.connect(targetOf(n2));
    const reply = await peer.request({ type: 'queryRequest', query: 'select 1' });
    t.deepEqual(reply, {
      type: 'queryResponse',
      result: { query: 'select 1', from: 'n1', transport, early: false, timed: 'number' },
    });
    t.is(peer.transport, transport);
  });

  test.serial(`${transport}: many dials at once are nothing to warn of`, async (t) => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error): void => void warnings.push(warning);
    process.on('warning', onWarning);
    const n1 = await startNode(t, 'n1', { transports });
    const n2 = await startNode(t, 'n2', { transports });
    const { host, port } = targetOf(n2);
    await Promise.all(Array.from({ length: 30 }, () => n1.connect({ host, port })));
    // Warnings are told of in a later turn.
    await new Promise((resolve) => setImmediate(resolve));
    process.off('warning', onWarning);
    t.deepEqual(warnings, []);
  });

  test(`${transport}: every kind of call works in both directions over the one connection`, async (t) => {
    const n1 = await startNode(t, 'n1', { transports });
    const n2 = await startNode(t, 'n2', { transports });
    for (const node of [n1, n2]) {
      node
        .handle('query', async ({ parameters }) => ({ result: parameters }))
        .handle('replicationLog', () => ({ body: { applied: 1 } }))
        .handle('consensus', ({ body }) => ({
          body: { kind: 'requestVoteResponse', term: body.term, voteGranted: true },
        }))
        .handle('request', ({ method, body }) => ({ body: { method, body } }));
    }
    const forward = await n1.connect(targetOf(n2));
    const backward = n2.peer('n1');
    t.truthy(backward);
    for (const peer of [forward, backward ?? forward]) {
      t.true((await peer.ping()) >= 0);
      t.deepEqual(
        await peer.request({ type: 'queryRequest', query: 'q', parameters: [1, 'two', null] }),
        {
          type: 'queryResponse',
          result: [1, 'two', null],
        },
      );
      const entries = [{ index: 2 ** 40, term: 3, data: Buffer.from('entry') }];
      t.deepEqual(
        await peer.request({
          type: 'replicationLog',
          term: 3,
          prevIndex: 6,
          commitIndex: 5,
          entries,
        }),
        { type: 'response', body: { applied: 1 } },
      );
      const vote = {
        kind: 'requestVote',
        term: 9,
        candidateId: 'n1',
        lastLogIndex: 8,
        lastLogTerm: 7,
      } as const;
      t.deepEqual(await peer.request({ type: 'consensus', body: vote }), {
        type: 'consensus',
        body: { kind: 'requestVoteResponse', term: 9, voteGranted: true },
      });
      t.deepEqual(await peer.request({ type: 'request', method: 'm', body: { a: 1 } }), {
        type: 'response',
        body: { method: 'm', body: { a: 1 } },
      });
    }
  });

  test(`${transport}: a one-way message arrives and needs no answer`, async (t) => {
    const n1 = await startNode(t, 'n1', { transports });
    const n2 = await startNode(t, 'n2', { transports });
    const arrived = new Promise<number>((resolve) => {
      n2.handle('consensus', ({ body }) => {
        resolve(body.term);
      });
    });
    const peer = await n1.connect(targetOf(n2));
    await peer.send({ type: 'consensus', body: { kind: 'installSnapshotResponse', term: 77 } });
    t.is(await arrived, 77);
  });

  test(`${transport}: a transfer goes up and comes down, paced by its reader, and arrives whole`, async (t) => {
    const n1 = await startNode(t, 'n1', { transports });
    const n2 = await startNode(t, 'n2', { transports });
    n2.handle('dataTransfer', async function* (_request, context) {
      for await (const chunk of context.body) yield chunk;
    });
    const peer = await n1.connect(targetOf(n2));
    const pieces = Array.from({ length: 40 }, () => randomBytes(100_000));
    const received = createHash('sha256');
    let bytes = 0;
    for await (const chunk of peer.stream(
      { transferId: 'echo', totalBytes: 4_000_000 },
      { body: pieces },
    )) {
      received.update(chunk);
      bytes += chunk.length;
    }
    const sent = createHash('sha256');
    for (const piece of pieces) sent.update(piece);
    t.is(bytes, 4_000_000);
    t.is(received.digest('hex'), sent.digest('hex'));
  });

  test(`${transport}: leaving a transfer's loop early cancels it on the other side`, async (t) => {
    const n1 = await startNode(t, 'n1', { transports });
    const n2 = await startNode(t, 'n2', { transports });
    const cancelled = new Promise<unknown>((resolve) => {
      n2.handle('dataTransfer', async function* (_request, context) {
        context.signal.addEventListener('abort', () => resolve(context.signal.reason));
        for (;;) yield randomBytes(64 * 1024);
      });
    });
    const peer = await n1.connect(targetOf(n2));
    let bytes = 0;
    for await (const chunk of peer.stream({ transferId: 'endless' })) {
      bytes += chunk.length;
      if (bytes > 1_000_000) break;
    }
    t.like(await cancelled, { code: 'Cancelled' });
    t.true((await peer.ping()) >= 0);
  });

  test(`${transport}: an answer that does not wait for the upload ends it, and costs no stream`, async (t) => {
    const n1 = await startNode(t, 'n1', { transports });
    const n2 = await startNode(t, 'n2', { transports, maxStreams: 4 });
    n2.handle('dataTransfer', async () => [Buffer.from('enough')]);
    const peer = await n1.connect(targetOf(n2));
    for (let round = 0; round < 8; round += 1) {
      const stopped = withResolvers<void>();
      const body = (async function* () {
        try {
          for (;;) yield randomBytes(64 * 1024);
        } finally {
          stopped.resolve();
        }
      })();
      const received: Uint8Array[] = [];
      for await (const chunk of peer.stream({ transferId: 'endless' }, { body }))
        received.push(chunk);
      t.is(Buffer.concat(received).toString(), 'enough');
      await stopped.promise;
    }
    t.true((await peer.ping()) >= 0);
  });

  test(`${transport}: a transfer whose source fails, fails on both sides`, async (t) => {
    const n1 = await startNode(t, 'n1', { transports });
    const n2 = await startNode(t, 'n2', { transports });
    const begun = withResolvers<void>();
    const seen = new Promise<unknown>((resolve) => {
      n2.handle('dataTransfer', async (_request, context) => {
        try {
          for await (const _ of context.body) begun.resolve();
        } catch (error) {
          resolve(error);
        }
      });
    });
    const peer = await n1.connect(targetOf(n2));
    const body = (async function* () {
      yield randomBytes(1000);
      await begun.promise;
      throw new Error('disk on fire');
    })();
    const error = await t.throwsAsync(async () => {
      for await (const _ of peer.stream({ transferId: 'broken' }, { body }));
    });
    t.like(error, { code: 'Cancelled', message: 'disk on fire' });
    t.like(await seen, { code: 'Cancelled', side: 'remote' });
  });

  test(`${transport}: a handler's errors reach the caller as codes and text, without a stack`, async (t) => {
    const n1 = await startNode(t, 'n1', { transports });
    const n2 = await startNode(t, 'n2', { transports });
    n2.handle('query', ({ query }) => {
      if (query === 'typed') throw new MeshError('Overloaded', 'come back later');
      if (query === 'late') return Promise.reject(new TypeError('rejected'));
      throw new TypeError('thrown');
    });
    const peer = await n1.connect(targetOf(n2));
    const ask = (query: string) => peer.request({ type: 'queryRequest', query });
    t.like(await t.throwsAsync(ask('typed')), {
      code: 'Overloaded',
      side: 'remote',
      retryable: true,
    });
    t.like(await t.throwsAsync(ask('late')), {
      code: 'HandlerFailed',
      message: 'rejected',
      maybeExecuted: true,
    });
    const thrown = await t.throwsAsync(ask('plain'));
    t.like(thrown, { code: 'HandlerFailed', message: 'thrown', side: 'remote' });
    t.false(String(thrown?.stack).includes('node.test.ts:handler'));
    t.like(await t.throwsAsync(peer.request({ type: 'request', method: 'x' })), {
      code: 'NoHandler',
      maybeExecuted: false,
    });
  });

  test(`${transport}: a call ends at its deadline, and its handler hears of it`, async (t) => {
    const n1 = await startNode(t, 'n1', { transports });
    const n2 = await startNode(t, 'n2', { transports });
    const aborted = new Promise<unknown>((resolve) => {
      n2.handle('query', (_request, { signal }) => {
        return new Promise((answer) => {
          signal.addEventListener('abort', () => {
            resolve(signal.reason);
            answer({ result: 'too late' });
          });
        });
      });
    });
    const peer = await n1.connect(targetOf(n2));
    const error = await t.throwsAsync(
      peer.request({ type: 'queryRequest', query: 'q' }, { timeoutMs: 50 }),
    );
    t.like(error, { code: 'DeadlineExceeded', maybeExecuted: true });
    t.like(await aborted, { code: 'DeadlineExceeded' });
  });

  test(`${transport}: a cancelled call settles at once and stops its handler`, async (t) => {
    const n1 = await startNode(t, 'n1', { transports });
    const n2 = await startNode(t, 'n2', { transports });
    const begun = withResolvers<void>();
    const stopped = withResolvers<unknown>();
    n2.handle('query', (_request, { signal }) => {
      begun.resolve();
      return new Promise((answer) => {
        signal.addEventListener('abort', () => {
          stopped.resolve(signal.reason);
          answer({});
        });
      });
    });
    const peer = await n1.connect(targetOf(n2));
    const controller = new AbortController();
    const call = peer.request({ type: 'queryRequest', query: 'q' }, { signal: controller.signal });
    await begun.promise;
    controller.abort();
    t.like(await t.throwsAsync(call), { code: 'Cancelled', side: 'local', maybeExecuted: true });
    t.like(await stopped.promise, { code: 'Cancelled', side: 'remote' });
    const late = peer.request({ type: 'queryRequest', query: 'q' }, { signal: controller.signal });
    t.like(await t.throwsAsync(late), { code: 'Cancelled', maybeExecuted: false });
  });

  test(`${transport}: calls under way fail when the peer is gone, and say that they may have run`, async (t) => {
    const n1 = await startNode(t, 'n1', { transports });
    const n2 = await startNode(t, 'n2', { transports, drainTimeoutMs: 1 });
    let begun = 0;
    const allBegun = withResolvers<void>();
    n2.handle('query', () => {
      begun += 1;
      if (begun === 20) allBegun.resolve();
      return new Promise(() => {});
    });
    const peer = await n1.connect(targetOf(n2));
    const calls = Array.from({ length: 20 }, () =>
      peer.request({ type: 'queryRequest', query: 'q' }),
    );
    const outcomes = Promise.allSettled(calls);
    await allBegun.promise;
    await n2.close();
    for (const outcome of await outcomes) {
      t.is(outcome.status, 'rejected');
      if (outcome.status === 'rejected') {
        t.like(outcome.reason, { code: 'GoingAway', side: 'remote', maybeExecuted: true });
      }
    }
    t.false(peer.isConnected);
    // The peer may come back: a call waits for it as long as it has time.
    t.like(await t.throwsAsync(peer.ping({ timeoutMs: 200 })), { code: 'DeadlineExceeded' });
  });

  test(`${transport}: close lets calls under way finish, those on their way too, and then there are no new ones`, async (t) => {
    const n1 = await startNode(t, 'n1', { transports });
    const n2 = await startNode(t, 'n2', { transports, drainTimeoutMs: 30_000 });
    const begun = withResolvers<void>();
    const answer = withResolvers<void>();
    n2.handle('query', async () => {
      begun.resolve();
      await answer.promise;
      return { result: 'finished' };
    });
    const peer = await n1.connect(targetOf(n2));
    const call = peer.request({ type: 'queryRequest', query: 'q' });
    await begun.promise;
    const closing = n2.close();
    const onItsWay = peer.request({ type: 'queryRequest', query: 'q' });
    while (peer.isConnected) await new Promise(setImmediate);
    const late = peer.request({ type: 'queryRequest', query: 'q' }, { timeoutMs: 200 });
    t.like(await t.throwsAsync(late), { maybeExecuted: false });
    const back = n2.peer('n1')?.request({ type: 'queryRequest', query: 'q' });
    t.like(await t.throwsAsync(async () => back), { code: 'NodeClosed', maybeExecuted: false });
    answer.resolve();
    t.deepEqual(await call, { type: 'queryResponse', result: 'finished' });
    t.deepEqual(await onItsWay, { type: 'queryResponse', result: 'finished' });
    await closing;
    await n2.close();
  });

  test(`${transport}: status tells of links going up and down`, async (t) => {
    const n1 = await startNode(t, 'n1', { transports });
    const n2 = await startNode(t, 'n2', { transports });
    const events = n1.status();
    const peer = await n1.connect(targetOf(n2));
    t.is(await n1.connect(targetOf(n2)), peer);
    t.like((await events.next()).value as NodeEvent, {
      kind: 'peerUp',
      nodeId: 'n2',
      transport,
      role: 'dialer',
    });
    await n2.close();
    t.like((await events.next()).value as NodeEvent, {
      kind: 'peerDown',
      nodeId: 'n2',
      error: { code: 'GoingAway', side: 'remote' },
    });
    await n1.close();
    // Meanwhile n1 has tried to come back to n2; then its status ends.
    for await (const event of events) t.is(event.kind, 'dialFailed');
  });

  test(`${transport}: without a node id, the peer is whoever its certificate names`, async (t) => {
    const n1 = await startNode(t, 'n1', { transports });
    const n2 = await startNode(t, 'n2', { transports });
    const { host, port } = targetOf(n2);
    const peer = await n1.connect({ host, port });
    t.is(peer.nodeId, 'n2');
  });

  test(`${transport}: a message over the peer's limit is refused here, and the connection serves on`, async (t) => {
    const n1 = await startNode(t, 'n1', { transports });
    const n2 = await startNode(t, 'n2', { transports, maxMessageBytes: 256 * 1024 });
    n2.handle('request', ({ body }) => ({ body: (body as Uint8Array).length }));
    const peer = await n1.connect(targetOf(n2));
    const call = (bytes: number) =>
      peer.request({ type: 'request', method: 'size', body: randomBytes(bytes) });
    t.like(await t.throwsAsync(call(300_000)), { code: 'MessageTooLarge', maybeExecuted: false });
    t.is((await call(200_000)).body, 200_000);
  });

  test(`${transport}: what both sides do not take part in is refused before it is sent`, async (t) => {
    const n1 = await startNode(t, 'n1', { transports });
    const n2 = await startNode(t, 'n2', { transports, capabilities: { consensus: false } });
    const peer = await n1.connect(targetOf(n2));
    const body = { kind: 'installSnapshotResponse', term: 1 } as const;
    t.like(await t.throwsAsync(peer.request({ type: 'consensus', body })), {
      code: 'CapabilityMissing',
      side: 'local',
    });
    t.like(await t.throwsAsync(peer.send({ type: 'consensus', body })), {
      code: 'CapabilityMissing',
    });
  });

  test(`${transport}: an auth token is demanded where it is set`, async (t) => {
    const n1 = await startNode(t, 'n1', { transports, authToken: 'open sesame' });
    const n2 = await startNode(t, 'n2', { transports });
    const n3 = await startNode(t, 'n3', { transports, authToken: 'open sesame' });
    t.like(await t.throwsAsync(n2.connect(targetOf(n1))), {
      code: 'AuthTokenRejected',
      side: 'remote',
    });
    t.is((await n3.connect(targetOf(n1))).nodeId, 'n1');
  });

  for (const compression of ['lz4', 'zstd'] as const) {
    test(`${transport}: what ${compression} makes smaller travels smaller, both ways, in order`, async (t) => {
      const compressions = [compression];
      const n1 = await startNode(t, 'n1', { transports, compressions });
      const n2 = await startNode(t, 'n2', { transports, compressions });
      n2.handle('request', ({ body }) => ({ body }));
      const peer = await n1.connect(targetOf(n2));
      const bytes = () => {
        const { connections } = peer;
        return (connections[0]?.bytes.sent ?? 0) + (connections[0]?.bytes.received ?? 0);
      };
      for (const body of [
        'x'.repeat(100),
        'compress me '.repeat(1000),
        'and me '.repeat(100_000),
      ]) {
        const before = bytes();
        const calls = Array.from({ length: 5 }, () =>
          peer.request({ type: 'request', method: 'm', body }),
        );
        for (const reply of await Promise.all(calls)) t.is(reply.body, body);
        const onWire = bytes() - before;
        if (body.length > 4096)
          t.true(onWire < body.length, `${onWire} bytes for 10 times ${body.length}`);
        else t.true(onWire > 10 * body.length);
      }
      const noise = randomBytes(50_000);
      const before = bytes();
      t.deepEqual((await peer.request({ type: 'request', method: 'm', body: noise })).body, noise);
      t.true(bytes() - before > 2 * noise.length);
    });
  }

  test(`${transport}: nodes without a compression in common send plain`, async (t) => {
    const n1 = await startNode(t, 'n1', { transports, compressions: ['lz4'] });
    const n2 = await startNode(t, 'n2', { transports, compressions: ['zstd'] });
    n2.handle('request', ({ body }) => ({ body }));
    const peer = await n1.connect(targetOf(n2));
    const body = 'plain '.repeat(10_000);
    t.is((await peer.request({ type: 'request', method: 'm', body })).body, body);
    t.true((peer.connections[0]?.bytes.sent ?? 0) > body.length);
  });

  test(`${transport}: 500 calls at once over a limit of 16 streams are all answered`, async (t) => {
    const n1 = await startNode(t, 'n1', { transports });
    const n2 = await startNode(t, 'n2', { transports, maxStreams: 16 });
    n2.handle('request', async ({ body }) => ({ body }));
    const peer = await n1.connect(targetOf(n2));
    const calls = Array.from({ length: 500 }, (_, i) =>
      peer.request({ type: 'request', method: 'm', body: i }, { timeoutMs: 60_000 }),
    );
    const replies = await Promise.all(calls);
    t.deepEqual(
      replies.map(({ body }) => body),
      Array.from({ length: 500 }, (_, i) => i),
    );
    t.like(peer.connections[0], { calls: { sent: 500, succeeded: 500, failed: 0 } });
  });
}

function withResolvers<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
