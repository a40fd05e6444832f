/** Values that are of another realm, as under a test runner's sandbox, or of another copy of this package. */
import { cp, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { createContext, runInContext } from 'node:vm';
import test, { type ExecutionContext } from 'ava';
import {
  type HandlerKind,
  type HandlerResults,
  MeshError,
  type MeshNode,
  type Peer,
} from '../../src/index.js';
import { startNode, TEST_TRANSPORTS, type TestTransport, targetOf } from '../helpers/nodes.js';
import { until } from '../helpers/until.js';

const realm = createContext({ setTimeout });
/** What an expression is in the other realm. */
const foreign = (expression: string): never => runInContext(`(${expression})`, realm) as never;

test('the other realm has types of its own', (t) => {
  t.false((foreign('Promise.resolve()') as unknown) instanceof Promise);
  t.false((foreign('new Uint8Array(1)') as unknown) instanceof Uint8Array);
  t.false((foreign('new Error("e")') as unknown) instanceof Error);
});

/** What handlers answer by, and what comes of it. */
const LATER: readonly { readonly name: string; readonly value: string }[] = [
  { name: 'a promise of another realm', value: 'Promise.resolve({ body: "done" })' },
  {
    name: 'a promise of another realm, later',
    value: 'new Promise((ok) => setTimeout(() => ok({ body: "done" }), 20))',
  },
  { name: 'a thenable', value: '({ then(ok) { setTimeout(() => ok({ body: "done" }), 20); } })' },
  { name: 'a thenable that answers at once', value: '({ then(ok) { ok({ body: "done" }); } })' },
  {
    name: 'a thenable of a thenable',
    value: '({ then(ok) { ok({ then(done) { done({ body: "done" }); } }); } })',
  },
  {
    name: 'a function with then',
    value: 'Object.assign(() => {}, { then(ok) { ok({ body: "done" }); } })',
  },
  {
    name: 'a then that calls both ways, and throws after',
    value:
      '({ then(ok, no) { ok({ body: "done" }); no(new Error("no")); ok({}); throw new Error("late"); } })',
  },
];

const FAILING: readonly { readonly name: string; readonly value: string }[] = [
  { name: 'a promise of another realm', value: 'Promise.reject(new Error("disk full"))' },
  {
    name: 'a thenable',
    value: '({ then(ok, no) { setTimeout(() => no(new Error("disk full")), 20); } })',
  },
  { name: 'a then that throws', value: '({ then() { throw new Error("disk full"); } })' },
  {
    name: 'a getter of then that throws',
    value: '({ get then() { throw new Error("disk full"); } })',
  },
  {
    name: 'a then that calls both ways, the wrong one first',
    value: '({ then(ok, no) { no(new Error("disk full")); ok({ body: "done" }); } })',
  },
];

/** Of this realm, whose promises are trusted most. */
const ODD: Readonly<Record<string, () => unknown>> = {
  'a promise whose constructor throws': () =>
    Object.defineProperty(Promise.resolve({ body: 1 }), 'constructor', {
      get() {
        throw new Error('no constructor');
      },
    }),
  'a promise that rejects with a revoked proxy': () => Promise.reject(revoked()),
  'a revoked proxy that is thrown': () => {
    throw revoked();
  },
  'a revoked proxy that is answered': revoked,
  'an error whose name throws': () =>
    Promise.reject(
      Object.defineProperty(new Error('e'), 'name', {
        get() {
          throw new Error('no name');
        },
      }),
    ),
};

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

const FAILED = { instanceOf: MeshError, code: 'HandlerFailed' } as const;

for (const transport of TEST_TRANSPORTS) {
  for (const { name, value } of LATER) {
    test(`${transport}: a handler that answers by ${name} is waited for`, async (t) => {
      const { peer, n2 } = await pair(t, transport);
      handleAll(n2, value);
      t.deepEqual(await peer.request({ type: 'request', method: 'm' }), DONE);
      t.deepEqual(await peer.request({ type: 'replicationLog', ...LOG }), DONE);
      const answer = await peer.request({ type: 'queryRequest', query: 'q' });
      t.is(answer.type, 'queryResponse');
    });
  }

  for (const { name, value } of FAILING) {
    test(`${transport}: a handler that fails by ${name} fails its call`, async (t) => {
      const { peer, n2 } = await pair(t, transport);
      handleAll(n2, value);
      const failure = { code: 'HandlerFailed', message: 'disk full' };
      await t.throwsAsync(() => peer.request({ type: 'request', method: 'm' }), failure);
      await t.throwsAsync(() => peer.request({ type: 'replicationLog', ...LOG }), failure);
      await t.throwsAsync(() => bytesOf(peer.stream({ transferId: 'failing' })), failure);
    });
  }

  test(`${transport}: odd answers and what is thrown in their place end their own call, and free its place`, async (t) => {
    const callsPerPeer = 2;
    const n2 = await startNode(t, 'n2', { transports: [transport], limits: { callsPerPeer } });
    const n1 = await startNode(t, 'n1', { transports: [transport] });
    const peer = await n1.connect(targetOf(n2));
    let answer: () => unknown = () => ({});
    n2.handle('request', () => answer() as never);
    n2.handle('dataTransfer', () => answer() as never);
    for (const [name, odd] of Object.entries(ODD)) {
      answer = odd;
      for (let calls = 0; calls <= callsPerPeer; calls += 1) {
        await t.throwsAsync(peer.request({ type: 'request', method: 'm' }), FAILED, name);
        const transfer = async () => {
          for await (const _ of peer.stream({ transferId: 'x' }));
        };
        await t.throwsAsync(transfer, FAILED, name);
      }
    }
    answer = () => {
      const value = (done: (fields: object) => void) => done({ body: 'no' });
      // Nobody who waits by `await` asks it.
      return Object.defineProperty(Promise.resolve({ body: 'done' }), 'then', { value });
    };
    t.deepEqual(await peer.request({ type: 'request', method: 'm' }), DONE);
    t.is(n2.counters.refusals.calls, 0);
  });

  test(`${transport}: a transfer's bytes may come later, and from another realm`, async (t) => {
    const { peer, n2 } = await pair(t, transport);
    const received: Uint8Array[] = [];
    n2.handle('dataTransfer', async ({ transferId }, { body }) => {
      for await (const chunk of body) received.push(Buffer.from(chunk));
      return foreign(ANSWERS[transferId] as string);
    });
    for (const [transferId] of Object.entries(ANSWERS)) {
      received.length = 0;
      const body = foreign('[new Uint8Array([1, 2]), new Uint8Array(100_000).fill(3)]');
      const answer = await bytesOf(peer.stream({ transferId }, { body }));
      t.deepEqual(answer, Buffer.from([7, 8, 9]), transferId);
      t.deepEqual(
        Buffer.concat(received),
        Buffer.concat([Buffer.from([1, 2]), Buffer.alloc(100_000, 3)]),
      );
    }
    const piece = foreign('["text is no piece"]');
    await t.throwsAsync(() => bytesOf(peer.stream({ transferId: 'list' }, { body: piece })), {
      code: 'InvalidArgument',
    });
  });

  test(`${transport}: what a message holds travels the same from another realm`, async (t) => {
    const { peer, n2 } = await pair(t, transport);
    n2.handle('request', ({ body }) => ({ body }));
    n2.handle('query', () => ({ result: foreign('new Uint8Array(10_000).fill(5)') }));
    const echo = async (body: unknown) =>
      (await peer.request({ type: 'request', method: 'm', body })).body;
    t.deepEqual(await echo(foreign('new Uint8Array([1, 2, 3])')), Buffer.from([1, 2, 3]));
    t.deepEqual(await echo(foreign('new Uint8Array(10_000).fill(5)')), Buffer.alloc(10_000, 5));
    t.deepEqual(await echo(foreign('new Uint8Array([1, 2, 3]).buffer')), Buffer.from([1, 2, 3]));
    t.deepEqual(
      await echo(foreign('new DataView(new Uint8Array([1, 2]).buffer, 1)')),
      Buffer.from([2]),
    );
    t.deepEqual(await echo(foreign('({ a: [1, { b: new Uint8Array([4]) }, "é", -1.5, null] })')), {
      a: [1, { b: Buffer.from([4]) }, 'é', -1.5, null],
    });
    const { result } = await peer.request({ type: 'queryRequest', query: 'q' });
    t.deepEqual(result, Buffer.alloc(10_000, 5));
    const entries = foreign('[{ index: 1, term: 1, data: new Uint8Array([6]) }]');
    n2.handle('replicationLog', (request) => ({ body: request.entries[0]?.data }));
    const { body } = await peer.request({ type: 'replicationLog', ...LOG, entries });
    t.deepEqual(body, Buffer.from([6]));
    for (const odd of [
      'new Date(0)',
      'new Map()',
      'new Set()',
      '/a/',
      'new Error("e")',
      'Promise.resolve()',
    ]) {
      await t.throwsAsync(() => echo(foreign(odd)), { code: 'InvalidArgument' }, odd);
    }
  });

  test(`${transport}: a signal of another realm ends calls and dials`, async (t) => {
    const { peer, n1, n2 } = await pair(t, transport);
    let begun = 0;
    n2.handle('request', () => {
      begun += 1;
      return new Promise(() => {});
    });
    n2.handle('dataTransfer', (_request, { body }) => {
      begun += 1;
      return body;
    });
    const call = foreignSignal();
    const answer = peer.request({ type: 'request', method: 'm' }, { signal: call.signal });
    await until(() => begun === 1);
    call.abort();
    await t.throwsAsync(answer, { code: 'Cancelled' });
    for (const resume of [false, true]) {
      const read = foreignSignal();
      const bytes = bytesOf(
        peer.stream(
          { transferId: `t-${resume}` },
          { signal: read.signal, resume, body: resume ? never : never() },
        ),
      );
      await until(() => begun === (resume ? 3 : 2));
      read.abort();
      await t.throwsAsync(bytes, { code: 'Cancelled' });
    }
    const gone = await startNode(t, 'n3', { transports: [transport] });
    const target = targetOf(gone);
    await gone.close();
    const dial = foreignSignal();
    const dialed = n1.connect(target, { retry: true, signal: dial.signal });
    await new Promise((resolve) => setImmediate(resolve));
    dial.abort();
    await t.throwsAsync(dialed, { code: 'Cancelled' });
    // The dial is over: no signal ends what waits for a connection but its own.
    const early = n1.connectEarly(target);
    const wait = foreignSignal();
    const waiting = bytesOf(early.stream({ transferId: 'waiting' }, { signal: wait.signal }));
    wait.abort();
    await t.throwsAsync(waiting, { code: 'Cancelled' });
  });

  test(`${transport}: options, verdicts and errors may be of another realm`, async (t) => {
    const asked: string[] = [];
    const n2 = await startNode(t, 'n2', {
      transports: [transport],
      limits: foreign('({ callsPerPeer: 10 })'),
      auth: {
        authorize: (_peer, message) => {
          asked.push(message.type);
          if (message.type === 'queryRequest') return foreign('Promise.resolve(true)');
          if (message.type === 'replicationLog')
            return foreign('({ then: 1, get code() { return 1; } })');
          return true;
        },
      },
    });
    n2.handle('query', () => ({}));
    n2.handle('replicationLog', () => undefined);
    n2.handle('request', () => {
      throw foreign('new RangeError("out of the other realm")');
    });
    n2.handle('consensus', () => {
      throw foreign('Object.create(null)');
    });
    const n1 = await startNode(t, 'n1', { transports: foreign(`["${transport}"]`) });
    const peer = await n1.connect(foreign(JSON.stringify(targetOf(n2))));
    await t.throwsAsync(() => peer.request({ type: 'queryRequest', query: 'q' }), {
      code: 'Unauthorized',
    });
    await t.throwsAsync(() => peer.request({ type: 'replicationLog', ...LOG }), {
      code: 'Unauthorized',
    });
    await t.throwsAsync(() => peer.request({ type: 'request', method: 'm' }), {
      code: 'HandlerFailed',
      message: 'out of the other realm',
    });
    const body = { kind: 'requestVoteResponse', term: 1, voteGranted: true } as const;
    await t.throwsAsync(() => peer.request({ type: 'consensus', body }), { code: 'HandlerFailed' });
    t.true(asked.length >= 4);
  });

  test(`${transport}: an error of another copy of this package keeps its code`, async (t) => {
    const copy = await otherCopy(t);
    const theirs = (code: 'Overloaded', text: string) =>
      new copy.MeshError(code, text, { retryable: true });
    t.false(theirs('Overloaded', '') instanceof MeshError);
    const { peer, n2 } = await pair(t, transport);
    n2.handle('request', () => {
      throw theirs('Overloaded', 'of the other copy');
    });
    n2.handle('query', () => Promise.reject(theirs('Overloaded', 'of the other copy')));
    const failure = {
      instanceOf: MeshError,
      code: 'Overloaded',
      message: 'of the other copy',
    } as const;
    const error = await t.throwsAsync(
      () => peer.request({ type: 'request', method: 'm' }),
      failure,
    );
    t.is(error?.side, 'remote');
    await t.throwsAsync(() => peer.request({ type: 'queryRequest', query: 'q' }), failure);
    // What a body throws reaches the reader with its code.
    n2.handle('dataTransfer', async (_request, { body }) => {
      for await (const _ of body);
    });
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield new Uint8Array(1);
      throw theirs('Overloaded', 'of the other copy');
    }
    await t.throwsAsync(
      () => bytesOf(peer.stream({ transferId: 'f' }, { body: failing() })),
      failure,
    );
  });

  test(`${transport}: an authorize of another copy of this package refuses with its code`, async (t) => {
    const copy = await otherCopy(t);
    const n2 = await startNode(t, 'n2', {
      transports: [transport],
      auth: { authorize: () => new copy.MeshError('CapabilityMissing', 'not for you') },
    });
    n2.handle('request', () => ({}));
    const n1 = await startNode(t, 'n1', { transports: [transport] });
    const peer = await n1.connect(targetOf(n2));
    await t.throwsAsync(() => peer.request({ type: 'request', method: 'm' }), {
      code: 'CapabilityMissing',
      message: 'not for you',
    });
  });
}

const DONE = { type: 'response', body: 'done' };
const LOG = { term: 1, prevIndex: 0, commitIndex: 0, entries: [] };
const ANSWERS: Readonly<Record<string, string>> = {
  list: '[new Uint8Array([7, 8, 9])]',
  generator: '(function* () { yield new Uint8Array([7]); yield new Uint8Array([8, 9]); })()',
  asyncGenerator:
    '(async function* () { yield new Uint8Array([7, 8]); yield new Uint8Array([9]); })()',
  promise: 'Promise.resolve([new Uint8Array([7, 8, 9])])',
};

async function pair(
  t: ExecutionContext,
  transport: TestTransport,
): Promise<{ n1: MeshNode; n2: MeshNode; peer: Peer }> {
  const n2 = await startNode(t, 'n2', { transports: [transport] });
  const n1 = await startNode(t, 'n1', { transports: [transport] });
  return { n1, n2, peer: await n1.connect(targetOf(n2)) };
}

/** Every kind of call answers by the same value, made anew. */
function handleAll(node: MeshNode, value: string): void {
  const handler = <K extends HandlerKind>(): HandlerResults[K] => foreign(value);
  node.handle('request', handler<'request'>).handle('query', handler<'query'>);
  node.handle('replicationLog', handler<'replicationLog'>);
  node.handle('dataTransfer', handler<'dataTransfer'>);
}

async function bytesOf(bytes: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of bytes) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** A body that does not come. */
async function* never(): AsyncGenerator<Uint8Array> {
  await new Promise((resolve) => setTimeout(resolve, 60_000).unref());
}

/** As a library brings it that has events of its own: this realm's `AbortSignal` is no part of it. */
function foreignSignal(): { signal: AbortSignal; abort: () => void } {
  const listeners = new Set<(event: Event) => void>();
  const signal = {
    aborted: false,
    reason: undefined as unknown,
    addEventListener: (_type: string, listener: (event: Event) => void) => listeners.add(listener),
    removeEventListener: (_type: string, listener: (event: Event) => void) =>
      listeners.delete(listener),
  };
  const abort = () => {
    signal.aborted = true;
    signal.reason = new Error('over');
    for (const listener of [...listeners]) listener({ type: 'abort', target: signal } as never);
  };
  return { signal: signal as never, abort };
}

/** The same code, loaded from another place, as two versions of a dependency are. */
async function otherCopy(t: ExecutionContext): Promise<typeof import('../../src/index.js')> {
  const place = await mkdtemp(join(tmpdir(), 'quicmesh-copy-'));
  t.teardown(() => rm(place, { recursive: true, force: true }));
  await cp(resolve('dist'), join(place, 'dist'), { recursive: true });
  await cp(resolve('package.json'), join(place, 'package.json'));
  await symlink(resolve('node_modules'), join(place, 'node_modules'));
  return import(pathToFileURL(join(place, 'dist/index.js')).href);
}
