/** Calls that come twice, sent and answered by peers that do as they like. */
import test, { type ExecutionContext } from 'ava';
import { ByteBudget } from '../../src/base/byte-budget.js';
import { ArrivedCopies } from '../../src/calls/incoming/arrived-copies.js';
import { KeptAnswers } from '../../src/calls/incoming/kept-answers.js';
import { MeshError, type MeshNode, type Peer } from '../../src/index.js';
import { COPY_WINDOW } from '../../src/protocol/copy-window.js';
import { Compression } from '../../src/protocol/frame.js';
import type { Message } from '../../src/protocol/index.js';
import { deferred } from '../helpers/deferred.js';
import { startNode, TEST_TRANSPORTS, type TestTransport, targetOf } from '../helpers/nodes.js';
import { until } from '../helpers/until.js';
import { dialWire, listenWire, type WireStream } from '../helpers/wire-peer.js';

const TWICE = { redundancy: 2, priority: 'control', retry: false } as const;

function call(copyId: number, body?: unknown, method = 'count'): Message {
  return { type: 'request', method, body, copyId, priority: 'control' };
}

/** A node, and a peer that sends it whatever the test says. */
async function served(t: ExecutionContext, transport: TestTransport) {
  const node = await startNode(t, 'n2', { transports: [transport] });
  const runs: unknown[] = [];
  const gate = deferred();
  node.handle('request', ({ method, body }) => {
    runs.push(body);
    if (method === 'large') return { body: Buffer.alloc(2000) };
    return method === 'gate' ? gate.promise.then(() => ({ body })) : { body };
  });
  const open = await dialWire(t, transport, targetOf(node));
  const send = (message: Message): WireStream => {
    const stream = open();
    stream.send(message, { end: true });
    return stream;
  };
  return { node, runs, gate, send };
}

function countersOf(node: MeshNode) {
  return node.peer('n1')?.connections[0]?.calls;
}

for (const transport of TEST_TRANSPORTS) {
  test(`${transport}: two copies are run once and answered twice, and a third is dropped`, async (t) => {
    const { node, runs, send } = await served(t, transport);
    const both = [send(call(0, 'a')), send(call(0, 'a'))] as const;
    for (const copy of both) t.like(await copy.ended(), [{ type: 'response', body: 'a' }]);
    t.deepEqual(await send(call(0, 'a')).ended(), []);
    t.like(await send(call(1, 'b')).ended(), [{ body: 'b' }]);
    t.like(await send(call(1, 'b')).ended(), [{ body: 'b' }], 'the answer was kept');
    t.deepEqual(runs, ['a', 'b']);
    t.like(countersOf(node), { handled: 2, copiesDropped: 3, refused: 0 });
  });

  test(`${transport}: copies that come while the call runs wait for its answer`, async (t) => {
    const { runs, gate, send } = await served(t, transport);
    const first = send(call(5, 'a', 'gate'));
    await until(() => runs.length === 1);
    const second = send(call(5, 'a', 'gate'));
    // Only one stream waits: whoever sends more of them gets nothing for it.
    t.deepEqual(await send(call(5, 'a', 'gate')).ended(), []);
    gate.resolve();
    t.like(await first.ended(), [{ body: 'a' }]);
    t.like(await second.ended(), [{ body: 'a' }]);
    t.is(runs.length, 1);
  });

  test(`${transport}: what is refused is refused for both copies, and a large answer comes once`, async (t) => {
    const { node, runs, send } = await served(t, transport);
    const query: Message = { type: 'queryRequest', query: 'q', copyId: 0, priority: 'control' };
    for (const copy of [send(query), send(query)]) {
      t.like(await copy.ended(), [{ type: 'error', code: 'NoHandler' }]);
    }
    t.is(countersOf(node)?.refused, 1);
    const [large, again] = [send(call(1, 'a', 'large')), send(call(1, 'a', 'large'))] as const;
    t.is((await large.ended()).length + (await again.ended()).length, 1);
    t.is(runs.length, 1);
  });

  test(`${transport}: a number that is too old to be known is not run`, async (t) => {
    const { runs, send } = await served(t, transport);
    await send(call(COPY_WINDOW + 3, 'new')).ended();
    t.deepEqual(await send(call(3, 'old')).ended(), []);
    t.like(await send(call(4, 'just')).ended(), [{ body: 'just' }]);
    t.deepEqual(runs, ['new', 'just']);
  });

  test(`${transport}: numbers of one connection mean nothing on another`, async (t) => {
    const node = await startNode(t, 'n2', { transports: [transport] });
    let runs = 0;
    node.handle('request', () => ({ body: ++runs }));
    for (let i = 1; i <= 2; i += 1) {
      const stream = (await dialWire(t, transport, targetOf(node)))();
      stream.send(call(0), { end: true });
      t.like(await stream.ended(), [{ body: i }]);
    }
  });
}

/** A node that calls a peer which answers as the test says. */
async function calling(
  t: ExecutionContext,
  transport: TestTransport,
  onStream: (stream: WireStream) => void,
  capabilities: { redundancy?: boolean } = { redundancy: true },
): Promise<Peer> {
  const target = await listenWire(t, transport, onStream, capabilities);
  const node = await startNode(t, 'n1', { transports: [transport] });
  return node.connect(target);
}

const MESSAGE = { type: 'request', method: 'm' } as const;

for (const transport of TEST_TRANSPORTS) {
  test(`${transport}: a peer that does not know of copies gets none, and no number`, async (t) => {
    const seen: Message[] = [];
    const answer = (stream: WireStream): void => {
      seen.push(...stream.messages);
      stream.send({ type: 'response' }, { end: true });
    };
    const peer = await calling(t, transport, answer, {});
    for (let i = 0; i < 5; i += 1) await peer.request(MESSAGE, TWICE);
    t.is(seen.length, 5);
    for (const message of seen) t.false('copyId' in message);
    t.is(peer.connections[0]?.calls.copiesSent, 0);
  });
}

/** Answers the two copies of each call in turn, once both are there, in the way that `wayOf` gives. */
function onBoth(wayOf: () => (first: WireStream, second: WireStream) => void) {
  let first: WireStream | undefined;
  return (stream: WireStream): void => {
    if (first !== undefined) wayOf()(first, stream);
    first = first === undefined ? stream : undefined;
  };
}

test('both copies have the same number, the next call has a higher one', async (t) => {
  const seen: Message[] = [];
  const peer = await calling(t, 'quic', (stream) => {
    seen.push(...stream.messages);
    stream.send({ type: 'response' }, { end: true });
  });
  await peer.request(MESSAGE, TWICE);
  await until(() => seen.length === 2);
  await peer.request(MESSAGE, TWICE);
  await until(() => seen.length === 4);
  const ids = seen.map((message) => ('copyId' in message ? message.copyId : undefined));
  t.deepEqual(ids, [0, 0, 1, 1]);
});

type Way = (one: WireStream, other: WireStream) => void;

test('an answer to either copy will do, whatever becomes of the other', async (t) => {
  const response = { type: 'response', body: 1 } as const;
  const ways: readonly Way[] = [
    (lost, good) => {
      lost.end();
      good.send(response, { end: true });
    },
    (lost, good) => {
      lost.reset('Overloaded');
      good.send(response, { end: true });
    },
    (_, good) => good.send(response, { end: true }),
    (lost, good) => {
      good.send(response, { end: true });
      lost.reset('Overloaded');
    },
  ];
  const all = ways.flatMap((way): Way[] => [way, (one, other) => way(other, one)]);
  let way: Way | undefined;
  const peer = await calling(
    t,
    'quic',
    onBoth(() => way as Way),
  );
  for (way of all) t.is((await peer.request(MESSAGE, TWICE)).body, 1);
  const { length } = all;
  t.like(peer.connections[0]?.calls, { succeeded: length, failed: 0, copiesSent: length });
});

test('a call both of whose streams end without an answer has failed, and may have run', async (t) => {
  const ways: readonly (readonly [code: string, way: Way])[] = [
    [
      'UnexpectedMessage',
      (one, other) => {
        one.end();
        other.end();
      },
    ],
    [
      'Overloaded',
      (one, other) => {
        one.end();
        other.reset('Overloaded');
      },
    ],
  ];
  let way: Way | undefined;
  const peer = await calling(
    t,
    'quic',
    onBoth(() => way as Way),
  );
  for (const [code, its] of ways) {
    way = its;
    const failure = { instanceOf: MeshError, code };
    t.true((await t.throwsAsync(peer.request(MESSAGE, TWICE), failure))?.maybeExecuted, code);
  }
});

test('a call that is given up resets both of its streams', async (t) => {
  const resets: Promise<MeshError>[] = [];
  const giving = new AbortController();
  const peer = await calling(
    t,
    'quic',
    onBoth(() => (...streams) => {
      resets.push(...streams.map(({ wasReset }) => wasReset));
      giving.abort();
    }),
  );
  const request = peer.request(MESSAGE, { ...TWICE, signal: giving.signal });
  await t.throwsAsync(request, { instanceOf: MeshError, code: 'Cancelled' });
  const codes = (await Promise.all(resets)).map(({ code }) => code);
  t.deepEqual(codes, ['Cancelled', 'Cancelled']);
  t.is(peer.connections[0]?.calls.failed, 1);
});

const answer = (bytes: number) => ({ payload: Buffer.alloc(bytes), compression: Compression.none });

test('kept answers are few and small, and count against their budget', (t) => {
  const budget = new ByteBudget(100_000);
  const kept = new KeptAnswers();
  kept.keep(0, answer(1025), budget);
  t.is(kept.size, 0);
  for (let id = 1; id <= 1000; id += 1) kept.keep(id, answer(1024), budget);
  t.is(kept.size, 64);
  t.is(budget.usedBytes, 64 * 1024);
  t.is(kept.take(936), undefined, 'the oldest made room');
  t.is(kept.take(937)?.payload.length, 1024);
  t.is(kept.take(937), undefined);
  t.is(budget.usedBytes, 63 * 1024);
  kept.clear();
  t.is(kept.size, 0);
  t.is(budget.usedBytes, 0);
  budget.take(100_000);
  kept.keep(2000, answer(10), budget);
  t.is(kept.size, 0, 'no room');
});

test('kept answers are dropped after some time', async (t) => {
  const budget = new ByteBudget(100_000);
  const kept = new KeptAnswers(5);
  kept.keep(1, answer(10), budget);
  t.is(kept.size, 1);
  await until(() => kept.size === 0);
  t.is(budget.usedBytes, 0);
});

test('a peer that sends no second copies holds no more than the kept answers', (t) => {
  const budget = new ByteBudget(1_000_000);
  const copies = new ArrivedCopies();
  const ignored = { repeat: () => t.fail(), endUnanswered: () => t.fail() };
  for (let id = 0; id < 100_000; id += 1) {
    t.true(copies.begin(id, ignored));
    copies.answered(id, answer(1000), budget);
    copies.ended(id);
  }
  t.true(budget.usedBytes <= 64 * 1024);
  copies.clear();
  t.is(budget.usedBytes, 0);
});
