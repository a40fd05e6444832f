/** Messages that go as one: how many calls they make, who gets which answer, and what is bounded. */
import test, { type ExecutionContext } from 'ava';
import {
  type CallContext,
  type LogEntry,
  MeshError,
  type Peer,
  type RaftBody,
  type ReplicationLog,
} from '../../src/index.js';
import { startNode, TEST_TRANSPORTS, type TestTransport, targetOf } from '../helpers/nodes.js';

/** Nothing but `flush` sends. */
const PATIENT = { maxDelayMs: 60_000 } as const;
/** Calls wait for each other here, on busy machines too. */
const LONG = { timeoutMs: 50_000 } as const;

for (const transport of TEST_TRANSPORTS) {
  test(`${transport}: what is asked in one turn goes as one, and everyone has the answer`, async (t) => {
    const { peer, served } = await setUp(t, transport);
    const batcher = peer.batch({ maxDelayMs: 0 });
    const replies = await Promise.all(logs(100).map((log) => batcher.request(log)));
    t.is(served.length, 1);
    t.deepEqual(indexesOf(served[0]), range(1, 100));
    t.is(served[0]?.commitIndex, 99);
    for (const reply of replies) t.deepEqual(reply, { type: 'response', body: 1 });
    t.deepEqual(await batcher.request(log(101)), { type: 'response', body: 2 });
  });

  test(`${transport}: a batch goes by itself when its time is up`, async (t) => {
    const { peer, served } = await setUp(t, transport);
    const batcher = peer.batch({ maxDelayMs: 5 });
    await Promise.all(logs(10).map((log) => batcher.request(log)));
    t.is(served.length, 1);
  });

  test(`${transport}: a batch has as many messages as it may, and no more`, async (t) => {
    const { peer, served } = await setUp(t, transport);
    const batcher = peer.batch({ ...PATIENT, maxMessages: 10 });
    await Promise.all(logs(100).map((log) => batcher.request(log)));
    t.deepEqual(
      served.map(({ entries }) => entries.length),
      Array.from({ length: 10 }, () => 10),
    );
    t.deepEqual([...served].sort(byIndex).flatMap(indexesOf), range(1, 100));
  });

  test(`${transport}: a batch is no larger than it may be, but for a message that is`, async (t) => {
    const { peer, served } = await setUp(t, transport);
    const batcher = peer.batch({ ...PATIENT, maxBytes: 10_000 });
    const sizes = [4000, 4000, 4000, 20_000, 100, 100];
    const calls = sizes.map((size, i) => batcher.request(log(i + 1, size)));
    batcher.flush();
    await Promise.all(calls);
    t.deepEqual([...served].sort(byIndex).map(indexesOf), [[1, 2], [3], [4], [5, 6]]);
  });

  test(`${transport}: what does not continue a batch sends it first`, async (t) => {
    const { peer, served } = await setUp(t, transport);
    const batcher = peer.batch(PATIENT);
    const messages = [log(1), log(2), log(9), log(10), { ...log(11), group: 'g2' }, log(3)];
    const calls = messages.map((message) => batcher.request(message));
    batcher.flush();
    batcher.flush();
    await Promise.all(calls);
    t.deepEqual(served.map(indexesOf).map(String).sort(), ['1,2', '11', '3', '9,10']);
  });

  test(`${transport}: Raft's entries go together, its votes at once and alone`, async (t) => {
    const { peer, bodies } = await setUp(t, transport);
    const batcher = peer.batch(PATIENT);
    const calls = range(1, 5).map((index) =>
      batcher.request({ type: 'consensus', group: 'g1', body: append(index) }),
    );
    batcher.flush();
    for (const { body } of await Promise.all(calls)) {
      t.deepEqual(body, { kind: 'appendEntriesResponse', term: 1, success: true, matchIndex: 5 });
    }
    const [merged] = bodies as [RaftBody & { kind: 'appendEntries' }];
    t.is(bodies.length, 1);
    t.deepEqual(indexesOf(merged), range(1, 5));
    t.is(merged.leaderCommit, 4);
    const ballot = { kind: 'requestVote', term: 2, candidateId: 'n1' } as const;
    const body = { ...ballot, lastLogIndex: 5, lastLogTerm: 1 };
    await batcher.request({ type: 'consensus', body });
    t.is(bodies.length, 2);
  });

  test(`${transport}: a failure reaches everyone whose message was in the batch`, async (t) => {
    const { peer, answerWith } = await setUp(t, transport);
    answerWith(() => {
      throw new MeshError('Overloaded', 'come back later');
    });
    const batcher = peer.batch(PATIENT);
    const calls = logs(5).map((log) => t.throwsAsync(batcher.request(log)));
    batcher.flush();
    for (const error of await Promise.all(calls)) {
      t.like(error, { code: 'Overloaded', side: 'remote', maybeExecuted: false });
    }
    await peer.close();
    const late = logs(2).map((log) => t.throwsAsync(batcher.request(log)));
    batcher.flush();
    for (const error of await Promise.all(late)) t.like(error, { code: 'ConnectionLost' });
  });

  test(`${transport}: whoever gives up leaves the others alone, and the longest time is the call's`, async (t) => {
    const { peer, answerWith } = await setUp(t, transport);
    const running = deferred<CallContext>();
    const answer = deferred<void>();
    answerWith(async (context) => {
      running.resolve(context);
      await answer.promise;
    });
    const batcher = peer.batch(PATIENT);
    const given = new AbortController();
    const hasty = t.throwsAsync(batcher.request(log(1), { timeoutMs: 200 }));
    const fickle = t.throwsAsync(batcher.request(log(2), { ...LONG, signal: given.signal }));
    const patient = batcher.request(log(3), { timeoutMs: Number.POSITIVE_INFINITY });
    batcher.flush();
    const context = await running.promise;
    t.is(context.deadline, undefined);
    given.abort();
    t.like(await fickle, { code: 'Cancelled', maybeExecuted: true });
    t.like(await hasty, { code: 'DeadlineExceeded', maybeExecuted: true });
    t.false(context.signal.aborted);
    answer.resolve();
    t.like(await patient, { type: 'response' });
  });

  test(`${transport}: when everyone has given up the call ends`, async (t) => {
    const { peer, answerWith } = await setUp(t, transport);
    const running = deferred<CallContext>();
    answerWith((context) => {
      running.resolve(context);
      return new Promise(() => {});
    });
    const batcher = peer.batch(PATIENT);
    const given = new AbortController();
    const options = { ...LONG, signal: given.signal };
    const calls = logs(3).map((log) => t.throwsAsync(batcher.request(log, options)));
    batcher.flush();
    const { signal } = await running.promise;
    const ended = new Promise((resolve) => signal.addEventListener('abort', resolve));
    given.abort(new Error('enough'));
    for (const error of await Promise.all(calls)) {
      t.like(error, { code: 'Cancelled', maybeExecuted: true, cause: { message: 'enough' } });
    }
    await ended;
  });

  test(`${transport}: what nobody waits for any more, and nothing continues, does not go`, async (t) => {
    const { peer, served } = await setUp(t, transport);
    const batcher = peer.batch(PATIENT);
    const given = new AbortController();
    const options = { ...LONG, signal: given.signal };
    const kept = batcher.request(log(1));
    const dropped = t.throwsAsync(batcher.request(log(2), options));
    given.abort();
    t.like(await dropped, { code: 'Cancelled', maybeExecuted: false });
    batcher.flush();
    await kept;
    const alone = new AbortController();
    const never = t.throwsAsync(batcher.request(log(2), { ...LONG, signal: alone.signal }));
    alone.abort();
    t.like(await never, { code: 'Cancelled', maybeExecuted: false });
    await batcher.close();
    t.deepEqual(served.map(indexesOf), [[1]]);
  });

  test(`${transport}: no more is unanswered than may be`, async (t) => {
    const { peer, answerWith } = await setUp(t, transport);
    const answer = deferred<void>();
    answerWith(() => answer.promise);
    const batchers = [
      peer.batch({ ...PATIENT, maxPendingMessages: 3 }),
      peer.batch({ ...PATIENT, maxPendingBytes: 4000 }),
    ];
    for (const batcher of batchers) {
      const calls = [1, 2].map((index) => batcher.request(log(index, 1000), LONG));
      batcher.flush();
      calls.push(batcher.request(log(3, 1000), LONG));
      const full = { code: 'Overloaded', side: 'local', maybeExecuted: false } as const;
      t.like(await t.throwsAsync(batcher.request(log(4, 1000))), full);
      answer.resolve();
      batcher.flush();
      await Promise.all(calls);
      const more = batcher.request(log(5, 1000));
      batcher.flush();
      t.like(await more, { type: 'response' });
    }
  });

  test(`${transport}: closing sends what is there, waits for it, and takes no more`, async (t) => {
    const { peer, served } = await setUp(t, transport);
    const batcher = peer.batch(PATIENT);
    const calls = logs(3).map((log) => batcher.request(log));
    await batcher.close();
    t.is(served.length, 1);
    await Promise.all(calls);
    t.like(await t.throwsAsync(batcher.request(log(4))), { code: 'InvalidArgument' });
  });
}

test('options and times that are none are refused', async (t) => {
  const { peer } = await setUp(t, 'tcp');
  for (const wrong of [
    { maxBytes: 0 },
    { maxMessages: 1.5 },
    { maxDelayMs: -1 },
    { maxDelayMs: Number.NaN },
    { maxPendingMessages: 0 },
    { maxPendingBytes: Number.POSITIVE_INFINITY },
  ]) {
    t.throws(() => peer.batch(wrong), { code: 'InvalidArgument' }, JSON.stringify(wrong));
  }
  const batcher = peer.batch();
  const late = batcher.request(log(1), { timeoutMs: 0 });
  t.like(await t.throwsAsync(late), { code: 'DeadlineExceeded', maybeExecuted: false });
  const given = batcher.request(log(1), { signal: AbortSignal.abort() });
  t.like(await t.throwsAsync(given), { code: 'Cancelled', maybeExecuted: false });
});

interface SetUp {
  readonly peer: Peer;
  /** What reached the handlers. */
  readonly served: ReplicationLog[];
  readonly bodies: RaftBody[];
  /** What the handler of logs does from now on, instead of counting. */
  readonly answerWith: (handler: (context: CallContext) => Promise<void> | void) => void;
}

async function setUp(t: ExecutionContext, transport: TestTransport): Promise<SetUp> {
  const served: ReplicationLog[] = [];
  const bodies: RaftBody[] = [];
  let answer: ((context: CallContext) => Promise<void> | void) | undefined;
  const n2 = await startNode(t, 'n2', { transports: [transport] });
  n2.handle('replicationLog', (message, context) => {
    served.push(message);
    return answer?.(context) ?? { body: served.length };
  });
  n2.handle('consensus', ({ body }) => {
    bodies.push(body);
    if (body.kind !== 'appendEntries') {
      return { body: { kind: 'requestVoteResponse', term: 2, voteGranted: true } };
    }
    const matchIndex = body.entries.at(-1)?.index ?? 0;
    return { body: { kind: 'appendEntriesResponse', term: body.term, success: true, matchIndex } };
  });
  const n1 = await startNode(t, 'n1', { transports: [transport], listen: undefined });
  const peer = await n1.connect(targetOf(n2));
  return {
    peer,
    served,
    bodies,
    answerWith: (handler) => {
      answer = handler;
    },
  };
}

/** A message with one entry. */
function log(index: number, bytes = 10): ReplicationLog {
  const entries = [{ index, term: 1, data: Buffer.alloc(bytes) }];
  return {
    type: 'replicationLog',
    group: 'g1',
    term: 1,
    prevIndex: index - 1,
    commitIndex: index - 1,
    entries,
  };
}

function logs(count: number): ReplicationLog[] {
  return range(1, count).map((index) => log(index));
}

function append(index: number): RaftBody {
  return {
    kind: 'appendEntries',
    term: 1,
    leaderId: 'n1',
    prevLogIndex: index - 1,
    prevLogTerm: 1,
    entries: [{ index, term: 1, data: Buffer.of(index) }],
    leaderCommit: index - 1,
  };
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

function indexesOf(message: { readonly entries: readonly LogEntry[] } | undefined): number[] {
  return message?.entries.map(({ index }) => index) ?? [];
}

function byIndex(a: ReplicationLog, b: ReplicationLog): number {
  return a.prevIndex - b.prevIndex;
}

interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
}

function deferred<T>(): Deferred<T> {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>((fulfil) => {
    resolve = fulfil;
  });
  return { promise, resolve };
}
