/** Transfers as streams of Node and of the web: end, failure and abort pass, both ways, and so does backpressure. */
import { createHash, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ReadableStream } from 'node:stream/web';
import test, { type ExecutionContext } from 'ava';
import {
  MeshError,
  type MeshNode,
  type Peer,
  toNodeDuplex,
  toNodeReadable,
  toWebDuplex,
  toWebReadable,
} from '../../src/index.js';
import { startNode, TEST_TRANSPORTS, type TestTransport, targetOf } from '../helpers/nodes.js';
import { SeededBytes } from '../helpers/seeded-bytes.js';
import { until } from '../helpers/until.js';

const TOTAL_BYTES = 3_000_000;

async function setUp(
  t: ExecutionContext,
  transport: TestTransport,
): Promise<{ n2: MeshNode; peer: Peer; bytes: SeededBytes }> {
  const transports = [transport];
  const n1 = await startNode(t, 'n1', { transports });
  const n2 = await startNode(t, 'n2', { transports });
  const seed = randomInt(2 ** 32);
  t.log(`seed ${seed}`);
  return { n2, peer: await n1.connect(targetOf(n2)), bytes: new SeededBytes(seed, TOTAL_BYTES) };
}

/** What a handler's signal says, once it fires. */
function cancellation(
  n2: MeshNode,
  answer: (body: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>,
): Promise<unknown> {
  return new Promise((resolve) => {
    n2.handle('dataTransfer', (_request, { signal, body }) => {
      signal.addEventListener('abort', () => resolve(signal.reason));
      return answer(body);
    });
  });
}

async function* endless(): AsyncGenerator<Uint8Array> {
  for (;;) yield Buffer.alloc(64 * 1024);
}

async function* broken(): AsyncGenerator<Uint8Array> {
  yield Buffer.from('some');
  throw new MeshError('Overloaded', 'disk is busy');
}

for (const transport of TEST_TRANSPORTS) {
  test(`${transport}: a Readable and a ReadableStream are bodies, and are read as either`, async (t) => {
    const { n2, peer, bytes } = await setUp(t, transport);
    n2.handle('dataTransfer', ({ name }, { body }) =>
      name === 'node' ? toNodeReadable(body) : (toWebReadable(body) as AsyncIterable<Uint8Array>),
    );
    const hash = createHash('sha256');
    const sink = new Writable({
      write: (chunk, _encoding, done) => {
        hash.update(chunk);
        done();
      },
    });
    const body = Readable.from(bytes.from(0), { objectMode: false });
    await pipeline(toNodeReadable(peer.stream({ transferId: 'a', name: 'node' }, { body })), sink);
    t.is(hash.digest('hex'), bytes.sha256);

    const web = createHash('sha256');
    const source = ReadableStream.from(bytes.from(0)) as ReadableStream<Uint8Array>;
    for await (const chunk of toWebReadable(peer.stream({ transferId: 'b' }, { body: source })))
      web.update(chunk);
    t.is(web.digest('hex'), bytes.sha256);
  });

  test(`${transport}: two-way, what is written comes back and ends with it`, async (t) => {
    const { n2, peer, bytes } = await setUp(t, transport);
    n2.handle('dataTransfer', (_request, { body }) => body);
    const node = createHash('sha256');
    const duplex = toNodeDuplex((body) => peer.stream({ transferId: 'a' }, { body }));
    await pipeline(bytes.from(0), duplex, async (echoed: AsyncIterable<Uint8Array>) => {
      for await (const chunk of echoed) node.update(chunk);
    });
    t.is(node.digest('hex'), bytes.sha256);

    const web = createHash('sha256');
    const pair = toWebDuplex((body) => peer.stream({ transferId: 'b' }, { body }));
    const writing = (ReadableStream.from(bytes.from(0)) as ReadableStream<Uint8Array>).pipeTo(
      pair.writable,
    );
    const reader = pair.readable.getReader({ mode: 'byob' });
    for (;;) {
      const { done, value } = await reader.read(new Uint8Array(10_000));
      if (done) break;
      web.update(value);
    }
    await writing;
    t.is(web.digest('hex'), bytes.sha256);
  });

  test(`${transport}: whoever stops reading cancels the transfer`, async (t) => {
    for (const stop of [
      async (bytes: AsyncIterable<Uint8Array>) => {
        const readable = toNodeReadable(bytes);
        await once(readable, 'readable');
        readable.destroy();
        await once(readable, 'close');
      },
      async (bytes: AsyncIterable<Uint8Array>) => {
        const reader = toWebReadable(bytes).getReader();
        await reader.read();
        await reader.cancel();
      },
    ]) {
      const { n2, peer } = await setUp(t, transport);
      const cancelled = cancellation(n2, endless);
      await stop(peer.stream({ transferId: 'endless' }));
      t.like(await cancelled, { code: 'Cancelled', side: 'remote' });
    }
  });

  test(`${transport}: a two-way stream that is broken off cancels the transfer for both sides`, async (t) => {
    const { n2, peer } = await setUp(t, transport);
    let cancelled = 0;
    n2.handle('dataTransfer', (_request, { signal }) => {
      signal.addEventListener('abort', () => {
        cancelled += 1;
      });
      return endless();
    });
    const open = (body: AsyncIterable<Uint8Array>) => peer.stream({ transferId: 'a' }, { body });
    const duplex = toNodeDuplex(open);
    duplex.write('begun');
    await once(duplex, 'readable');
    duplex.destroy();
    await once(duplex, 'close');

    const failing = toNodeDuplex(open);
    failing.on('error', () => {});
    await once(failing, 'readable');
    const closed = new Promise((resolve) => failing.on('close', resolve));
    failing.destroy(new Error('no space left'));
    await closed;

    const aborted = toWebDuplex(open);
    const writer = aborted.writable.getWriter();
    await writer.write(Buffer.from('begun'));
    const answers = aborted.readable.getReader();
    await answers.read();
    await writer.abort(new Error('changed my mind'));
    const error = await t.throwsAsync(async () => {
      while (!(await answers.read()).done);
    });
    t.like(error, { code: 'Cancelled', message: 'changed my mind' });

    const abandoned = toWebDuplex(open);
    const left = abandoned.writable.getWriter();
    const reading = abandoned.readable.getReader();
    await reading.read();
    await reading.cancel();
    t.like(await t.throwsAsync(left.closed), { code: 'Cancelled' });

    const wrong = toWebDuplex(open);
    const given = wrong.writable.getWriter();
    await wrong.readable.getReader().read();
    t.like(await t.throwsAsync(given.write('text' as unknown as Uint8Array)), {
      code: 'InvalidArgument',
    });
    await until(() => cancelled === 5);
  });

  test(`${transport}: a failure on the other side is the same error on every stream`, async (t) => {
    const { n2, peer } = await setUp(t, transport);
    n2.handle('dataTransfer', broken);
    const open = (body?: AsyncIterable<Uint8Array>) => peer.stream({ transferId: 'a' }, { body });
    const expected = {
      name: 'MeshError',
      code: 'Overloaded',
      side: 'remote',
      message: 'disk is busy',
    };
    const readAll = async (stream: AsyncIterable<Uint8Array>) => {
      for await (const _ of stream);
    };
    t.like(await t.throwsAsync(readAll(toNodeReadable(open()))), expected);
    t.like(await t.throwsAsync(readAll(toWebReadable(open()))), expected);
    const duplex = toNodeDuplex(open);
    t.like(
      await t.throwsAsync(
        pipeline(endless(), duplex, new Writable({ write: (_chunk, _encoding, done) => done() })),
      ),
      expected,
    );
    const { readable, writable } = toWebDuplex(open);
    const writer = writable.getWriter();
    t.like(await t.throwsAsync(readAll(readable)), expected);
    t.like(await t.throwsAsync(writer.closed), expected);
  });

  test(`${transport}: a body whose stream fails fails the transfer, and one that is not wanted is let go`, async (t) => {
    const { n2, peer } = await setUp(t, transport);
    const read = async (body: AsyncIterable<Uint8Array>) => {
      for await (const _ of peer.stream({ transferId: 'a' }, { body }));
    };
    n2.handle('dataTransfer', async ({ name }, { body }) => {
      if (name === undefined) for await (const _ of body);
    });
    const failing = new Readable({ read() {} });
    failing.push('some');
    setImmediate(() => failing.destroy(new Error('no such disk')));
    t.like(await t.throwsAsync(read(failing)), { code: 'Cancelled', message: 'no such disk' });

    // Neither has another piece to give: they are let go of all the same.
    const silent = new Readable({ read() {} });
    let isCancelled = false;
    const silentWeb = new ReadableStream<Uint8Array>({
      cancel: () => {
        isCancelled = true;
      },
    });
    for (const body of [silent, silentWeb] as AsyncIterable<Uint8Array>[]) {
      for await (const _ of peer.stream({ transferId: 'a', name: 'enough' }, { body }));
    }
    await until(() => silent.destroyed && isCancelled);

    // Nor does a transfer that never begins keep one.
    const early = AbortSignal.abort();
    const unread = new Readable({ read() {} });
    const refused = peer.stream({ transferId: 'a' }, { body: unread, signal: early });
    t.like(await t.throwsAsync(async () => refused[Symbol.asyncIterator]().next()), {
      code: 'Cancelled',
    });
    await until(() => unread.destroyed);
  });

  test(`${transport}: a stream that is not read makes the other side wait`, async (t) => {
    const { n2, peer } = await setUp(t, transport);
    let given = 0;
    n2.handle('dataTransfer', async function* () {
      for (; given < 200 * 1024 * 1024; given += 64 * 1024) yield Buffer.alloc(64 * 1024);
    });
    const readable = toNodeReadable(peer.stream({ transferId: 'a' }));
    const web = toWebReadable(peer.stream({ transferId: 'b' })).getReader();
    await once(readable, 'readable');
    await web.read();
    for (let still = 0, before = -1; still < 20; ) {
      still = given === before ? still + 1 : 0;
      before = given;
      await peer.ping();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    t.true(given < 40 * 1024 * 1024, `${given} bytes were given`);
    readable.destroy();
    await web.cancel();
  });
}
