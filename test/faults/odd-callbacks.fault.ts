/**
 * Whatever the functions that a user passes in throw, or answer, it ends no more than what asked for it: no rejection is left
 * unhandled, which would end the process (and makes this file fail), and the node serves on.
 */
import test, { type ExecutionContext } from 'ava';
import type { Logger } from 'pino';
import {
  createNode,
  type HandlerKind,
  MeshError,
  type MeshNode,
  type NodeOptions,
  type Peer,
  type TlsMaterial,
} from '../../src/index.js';
import { nodeCert } from '../helpers/certs.js';
import { startNode, TEST_TRANSPORTS, type TestTransport, targetOf } from '../helpers/nodes.js';
import { hostileProxy, ODD_VALUES, thenable } from '../helpers/odd-values.js';

/** Ways to fail with a value. */
const WAYS: Readonly<Record<string, (make: () => unknown) => unknown>> = {
  throws: (make) => {
    throw make();
  },
  'rejects at once': async (make) => {
    throw make();
  },
  'rejects later': async (make) => {
    await new Promise((resolve) => setImmediate(resolve));
    throw make();
  },
  'gives a thenable that refuses with': (make) => thenable((_ok, no) => no(make())),
  'gives a thenable that throws': (make) =>
    thenable(() => {
      throw make();
    }),
};

interface Pair {
  readonly n1: MeshNode;
  readonly n2: MeshNode;
  readonly peer: Peer;
}

async function pair(
  t: ExecutionContext,
  transport: TestTransport,
  options: Partial<NodeOptions> = {},
): Promise<Pair> {
  const n2 = await startNode(t, 'n2', { transports: [transport], ...options });
  // A silent port leaves whoever dials another node to this time.
  const n1 = await startNode(t, 'n1', { transports: [transport], timeouts: { connectMs: 3000 } });
  return { n1, n2, peer: await n1.connect(targetOf(n2)) };
}

/** Lets what was left unhandled come to light. */
const aWhile = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));

const LOG = { type: 'replicationLog', term: 1, prevIndex: 0, commitIndex: 0, entries: [] } as const;
const VOTE = {
  type: 'consensus',
  body: { kind: 'requestVote', term: 1, candidateId: 'n1', lastLogIndex: 0, lastLogTerm: 0 },
} as const;
const KINDS: readonly HandlerKind[] = ['request', 'query', 'replicationLog', 'consensus'];

function callsOf(peer: Peer): readonly (() => Promise<unknown>)[] {
  return [
    () => peer.request({ type: 'request', method: 'm' }),
    () => peer.request({ type: 'queryRequest', query: 'q' }),
    () => peer.request(LOG),
    () => peer.request(VOTE),
    () => bytesOf(peer, 'plain', false),
    () => bytesOf(peer, 'resumed', true),
  ];
}

async function bytesOf(peer: Peer, transferId: string, resume: boolean): Promise<void> {
  const bytes = [new Uint8Array(3)];
  const body = resume ? () => bytes : bytes;
  for await (const _ of peer.stream({ transferId }, { body, resume }));
}

for (const transport of TEST_TRANSPORTS) {
  test(`${transport}: a handler may fail in any way with anything`, async (t) => {
    const { n2, peer } = await pair(t, transport);
    let fail: () => unknown = () => undefined;
    for (const kind of [...KINDS, 'dataTransfer'] as const) n2.handle(kind, () => fail() as never);
    for (const [way, failing] of Object.entries(WAYS)) {
      for (const [name, make] of Object.entries(ODD_VALUES)) {
        fail = () => failing(make);
        for (const call of callsOf(peer)) {
          const error = await t.throwsAsync<MeshError>(call, { instanceOf: MeshError });
          t.is(error.code, 'HandlerFailed', `${way} ${name}`);
          t.true(error.message.length < 1024);
        }
        // Nobody hears of these.
        await peer.send(LOG);
      }
    }
    await aWhile();
    t.is(peer.statistics.open, 1);
    t.is(n2.counters.refusals.calls, 0);
  });

  test(`${transport}: bytes of either side may fail in any way with anything`, async (t) => {
    const { n2, peer } = await pair(t, transport);
    let answer: () => unknown = () => [];
    n2.handle('dataTransfer', async (_message, { body }) => {
      for await (const _ of body);
      return answer() as never;
    });
    const download = async (resume: boolean, body?: unknown) => {
      const options = { body: body as never, resume };
      for await (const _ of peer.stream({ transferId: `${resume}` }, options));
    };
    for (const [name, make] of Object.entries(ODD_VALUES)) {
      for (const source of sourcesOf(make)) {
        answer = source;
        await t.throwsAsync(() => download(false), { instanceOf: MeshError }, name);
        answer = () => [];
        await t.throwsAsync(() => download(false, source()), undefined, name).catch(() => {});
      }
    }
    await aWhile();
    await t.notThrowsAsync(download(false, [new Uint8Array(1)]));
    t.is(peer.statistics.open, 1);
  });

  test(`${transport}: auth may fail in any way with anything, and that is a no`, async (t) => {
    let fail: (() => unknown) | undefined;
    const check = () => (fail === undefined ? true : fail()) as boolean;
    const auth = { verify: check, authorize: check };
    const { n1, n2, peer } = await pair(t, transport, { auth });
    n2.handle('request', () => ({ body: 1 }));
    const n3 = await startNode(t, 'n3', { transports: [transport] });
    for (const [way, failing] of Object.entries(WAYS)) {
      for (const [name, make] of Object.entries(ODD_VALUES)) {
        fail = () => failing(make);
        const error = await t.throwsAsync(peer.request({ type: 'request', method: 'm' }));
        t.like(error, { code: 'Unauthorized' }, `${way} ${name}`);
      }
      fail = () => failing(ODD_VALUES['a proxy of an error that refuses all'] as () => unknown);
      await t.throwsAsync(n3.connect(targetOf(n2)), { code: 'AuthTokenRejected' });
    }
    for (const [name, make] of Object.entries(ODD_VALUES)) {
      fail = make;
      const error = await t.throwsAsync(peer.request({ type: 'request', method: 'm' }));
      t.like(error, { code: 'Unauthorized' }, name);
    }
    fail = undefined;
    await aWhile();
    t.is((await peer.request({ type: 'request', method: 'm' })).body, 1);
    t.is(n1.peers.length, 1);
  });

  test(`${transport}: a logger may fail in any way with anything`, async (t) => {
    let fail: () => unknown = () => undefined;
    const log = () => fail();
    const logger = { child: () => ({ debug: log, info: log, warn: log, error: log }) };
    const failing = logger as unknown as Logger;
    const { n1, n2, peer } = await pair(t, transport, {
      logger: failing,
      auth: { authorize: (_peer, message) => 'method' in message && message.method !== 'no' },
    });
    n2.handle('request', async ({ method }) => {
      if (method === 'fail') throw new Error('failed');
      return { body: 1 };
    });
    for (const [way, fails] of Object.entries(WAYS)) {
      for (const [name, make] of Object.entries(ODD_VALUES)) {
        fail = () => fails(make);
        const failed = peer.request({ type: 'request', method: 'fail' });
        await t.throwsAsync(failed, { code: 'HandlerFailed' }, `${way} ${name}`);
        const refused = peer.request({ type: 'request', method: 'no' });
        await t.throwsAsync(refused, { code: 'Unauthorized' });
      }
      // Peers that come, are refused and go.
      const n3 = await startNode(t, 'n3', { transports: [transport] });
      await n3.connect(targetOf(n2));
      await n3.close();
      await t.throwsAsync(n1.connect({ ...targetOf(n2), nodeId: 'n5' }));
    }
    await aWhile();
    t.is((await peer.request({ type: 'request', method: 'm' })).body, 1);
    await t.notThrowsAsync(n2.close());
  });

  test(`${transport}: discovery may fail in any way with anything, and answer anything`, async (t) => {
    let resolve: () => unknown = () => [];
    const discovery = { resolve: () => resolve() as never };
    const n2 = await startNode(t, 'n2', { transports: [transport] });
    const n1 = await startNode(t, 'n1', { transports: [transport], discovery });
    const target = { nodeId: 'n2', host: 'n2.example', port: 1 };
    const failed = { instanceOf: MeshError, code: 'ConnectFailed' } as const;
    for (const [name, make] of Object.entries(ODD_VALUES)) {
      for (const [way, failing] of Object.entries(WAYS)) {
        resolve = () => failing(make);
        await t.throwsAsync(n1.connect(target), failed, `${way} ${name}`);
      }
      for (const answer of [make, async () => [make()], () => [{ host: make(), port: make() }]]) {
        resolve = answer;
        await t.throwsAsync(n1.connect(target), failed, name);
      }
    }
    await aWhile();
    for (const answer of [async () => [hostileProxy({}), n2.address], () => [n2.address]]) {
      resolve = answer;
      await t.notThrowsAsync(n1.connect({ ...target, nodeId: undefined }));
    }
  });

  test(`${transport}: what a signal was aborted with may be anything`, async (t) => {
    const { n1, n2, peer } = await pair(t, transport);
    n2.handle('request', () => new Promise(() => {}));
    const gone = await startNode(t, 'n3', { transports: [transport] });
    const target = targetOf(gone);
    await gone.close();
    for (const [name, make] of Object.entries(ODD_VALUES)) {
      const controller = new AbortController();
      const { signal } = controller;
      const call = peer.request({ type: 'request', method: 'm' }, { signal });
      const dial = n1.connect(target, { signal, retry: true });
      controller.abort(make());
      await t.throwsAsync(call, { code: 'Cancelled' }, name);
      await t.throwsAsync(dial, { code: 'Cancelled' }, name);
    }
    await aWhile();
    t.is(peer.statistics.open, 1);
  });
}

test('quic: a session store may fail in any way with anything', async (t) => {
  let fail: () => unknown = () => undefined;
  const store = { put: () => fail() as never, take: () => fail() as never };
  const n2 = await startNode(t, 'n2', { transports: ['quic'] });
  n2.handle('request', () => ({ body: 1 }));
  const n1 = await startNode(t, 'n1', { transports: ['quic'], quic: { sessionStore: store } });
  for (const [name, make] of Object.entries(ODD_VALUES)) {
    for (const failing of [WAYS.throws, WAYS['rejects at once'], (odd: () => unknown) => odd()]) {
      fail = () => failing?.(make);
      const peer = await n1.connect(targetOf(n2));
      t.is((await peer.request({ type: 'request', method: 'm' })).body, 1, name);
      await peer.close();
    }
  }
  await aWhile();
});

test('the function tls may fail in any way with anything, and nothing changes', async (t) => {
  let fail: (() => unknown) | undefined;
  const material = await nodeCert('n2');
  const tls = () => (fail === undefined ? material : fail()) as TlsMaterial;
  const n2 = await startNode(t, 'n2', { tls });
  n2.handle('request', () => ({ body: 1 }));
  const n1 = await startNode(t, 'n1');
  const peer = await n1.connect(targetOf(n2));
  for (const make of Object.values(ODD_VALUES)) {
    for (const failing of [...Object.values(WAYS), (odd: () => unknown) => odd()]) {
      fail = () => failing(make);
      const [reloaded] = await Promise.allSettled([n2.reloadTls()]);
      t.is(reloaded.status, 'rejected');
      const own = createNode({ nodeId: 'n2', cluster: 'test', tls, logger: 'silent' });
      const [created] = await Promise.allSettled([own]);
      t.is(created.status, 'rejected');
    }
  }
  await aWhile();
  t.is((await peer.request({ type: 'request', method: 'm' })).body, 1);
});

test('who follows the status may leave by throwing anything', async (t) => {
  const n2 = await startNode(t, 'n2');
  const n1 = await startNode(t, 'n1');
  for (const [name, make] of Object.entries(ODD_VALUES)) {
    // This loop is the test's own, and so is such a promise.
    if (name.startsWith('a promise')) continue;
    const followed = (async () => {
      for await (const _ of n2.status()) throw make();
    })();
    const peer = await n1.connect(targetOf(n2));
    const [left] = await Promise.allSettled([followed]);
    t.is(left.status, 'rejected', name);
    await peer.close();
  }
  await aWhile();
  t.is(n2.peers.length, 1);
});

/** Sources of bytes that fail: as they are opened, at a piece, and as they are closed. */
function* sourcesOf(make: () => unknown): Generator<() => unknown> {
  const fail = () => {
    throw make();
  };
  const reject = async () => fail();
  for (const failing of [fail, reject]) {
    yield () => ({ [Symbol.asyncIterator]: failing });
    yield () => ({ [Symbol.iterator]: failing });
    yield () => ({ [Symbol.asyncIterator]: () => ({ next: failing, return: failing }) });
    yield () => ({
      [Symbol.asyncIterator]: () => ({ next: () => ({ done: false, value: 1 }), return: failing }),
    });
    yield () => ({ getReader: () => ({ read: failing, cancel: failing }) });
    yield () => ({
      destroy: failing,
      [Symbol.asyncIterator]: () => ({ next: failing, return: failing }),
    });
  }
}
