/** Bulk data that goes up, comes down, or both. */
import { createHash, randomBytes } from 'node:crypto';
import { deferred } from '../../helpers/deferred.js';
import { until } from '../../helpers/until.js';
import type { CallsSuite } from '../calls-suite.js';

const CHUNK = 64 * 1024;

export function transfers({ shared, own }: CallsSuite): void {
  shared(
    'an upload arrives whole and in order, and an answer without bytes ends it',
    async (t, stage) => {
      const seen = deferred<unknown>();
      stage.serve('dataTransfer', 'up', async (_transfer, { body }) => {
        seen.resolve(await digestOf(body));
      });
      const pieces = Array.from({ length: 30 }, (_, i) => randomBytes(1 + i * 5000));
      const answer = await digestOf(stage.peer.stream({ transferId: 'up' }, { body: pieces }));
      t.is(answer.bytes, 0);
      t.deepEqual(await seen.promise, await digestOf(pieces));
    },
  );

  shared('a download arrives whole and in order', async (t, stage) => {
    const pieces = Array.from({ length: 30 }, (_, i) => randomBytes(1 + i * 5000));
    stage.serve('dataTransfer', 'down', () => pieces);
    t.deepEqual(await digestOf(stage.peer.stream({ transferId: 'down' })), await digestOf(pieces));
  });

  shared('a transfer goes up and comes down at once', async (t, stage) => {
    stage.serve('dataTransfer', 'echo', async function* (_transfer, { body }) {
      for await (const chunk of body) yield chunk;
    });
    const pieces = Array.from({ length: 40 }, () => randomBytes(100_000));
    const echoed = await digestOf(stage.peer.stream({ transferId: 'echo' }, { body: pieces }));
    t.deepEqual(echoed, await digestOf(pieces));
    t.is(echoed.bytes, 4_000_000);
  });

  shared('the acceptor opens transfers to the dialer in the same way', async (t, stage) => {
    stage.serveBack('dataTransfer', 'backwards', async function* (_transfer, { body }) {
      for await (const chunk of body) yield Buffer.from(chunk).reverse();
    });
    const body = [Buffer.from('abc'), Buffer.from('def')];
    const chunks = await listOf(stage.back.stream({ transferId: 'backwards' }, { body }));
    t.is(Buffer.concat(chunks).toString(), 'cbafed');
  });

  shared('a transfer may be empty both ways', async (t, stage) => {
    const seen: number[] = [];
    stage.serve('dataTransfer', 'empty', async (_transfer, { body }) => {
      seen.push((await listOf(body)).length);
      return [];
    });
    const { peer } = stage;
    for (const body of [undefined, [], [new Uint8Array(0)]]) {
      t.deepEqual(await listOf(peer.stream({ transferId: 'empty' }, { body })), []);
    }
    t.deepEqual(seen, [0, 0, 0]);
  });

  shared(
    'pieces above 64 KiB travel in chunks of that, smaller ones as they are',
    async (t, stage) => {
      const sizes = deferred<readonly number[]>();
      stage.serve('dataTransfer', 'chunks', async (_transfer, { body }) => {
        sizes.resolve((await listOf(body)).map(({ length }) => length));
        return [randomBytes(CHUNK + 1), randomBytes(7)];
      });
      const body = [randomBytes(2 * CHUNK + 5), randomBytes(CHUNK), randomBytes(1)];
      const answer = await listOf(stage.peer.stream({ transferId: 'chunks' }, { body }));
      t.deepEqual(await sizes.promise, [CHUNK, CHUNK, 5, CHUNK, 1]);
      t.deepEqual(
        answer.map(({ length }) => length),
        [CHUNK, 1, 7],
      );
    },
  );

  shared(
    'name, size, metadata and offset of a transfer arrive ahead of its bytes',
    async (t, stage) => {
      const seen = deferred<unknown>();
      stage.serve('dataTransfer', 'described', async (transfer, { body }) => {
        seen.resolve({ transfer, bytes: Buffer.concat(await listOf(body)).toString() });
        return [Buffer.from('rest')];
      });
      const described = {
        transferId: 'described',
        offset: 2 ** 40,
        name: 'snapshot 7',
        totalBytes: 2 ** 41,
        metadata: { term: 3, members: ['n1', null], checksum: Buffer.from('sum') },
      };
      const body = [Buffer.from('some '), Buffer.from('bytes')];
      const answer = await listOf(stage.peer.stream(described, { body }));
      t.deepEqual(await seen.promise, {
        transfer: { type: 'dataTransfer', ...described },
        bytes: 'some bytes',
      });
      t.is(Buffer.concat(answer).toString(), 'rest');
    },
  );

  shared('a body may be a list, a generator, or any other iterable', async (t, stage) => {
    stage.serve('dataTransfer', 'bodies', async (_transfer, { body }) => listOf(body));
    const word = Buffer.from('word');
    const bodies = [
      [word],
      new Set([word]),
      (function* () {
        yield word;
      })(),
      (async function* () {
        yield word;
      })(),
    ];
    for (const body of bodies) {
      t.deepEqual(await listOf(stage.peer.stream({ transferId: 'bodies' }, { body })), [word]);
    }
  });

  own('twenty transfers each way at once each get their own bytes', {}, async (t, stage) => {
    stage.serve('dataTransfer', 'twenty', (_transfer, { body }) => body);
    stage.serveBack('dataTransfer', 'twenty', (_transfer, { body }) => body);
    const all = [stage.peer, stage.back].flatMap((peer) =>
      Array.from({ length: 20 }, async (_, i) => {
        const body = [randomBytes(150_000), randomBytes(1000 * i)];
        const echoed = await digestOf(peer.stream({ transferId: 'twenty' }, { body }));
        t.deepEqual(echoed, await digestOf(body));
      }),
    );
    await Promise.all(all);
  });

  own('a reader that pauses pauses the sender, and calls go on meanwhile', {}, async (t, stage) => {
    let sent = 0;
    stage.serve('dataTransfer', 'slow reader', async function* () {
      for (; sent < 16_000_000; sent += CHUNK) yield Buffer.alloc(CHUNK);
    });
    const reader = stage.peer.stream({ transferId: 'slow reader' })[Symbol.asyncIterator]();
    await reader.next();
    await stalled(stage.peer, () => sent);
    t.true(sent <= 6_000_000, `${sent} bytes left for a reader of one chunk`);
    let read = CHUNK;
    for (;;) {
      const { done, value } = await reader.next();
      if (done) break;
      read += value.length;
    }
    t.is(read, sent);
  });

  own('a handler that pauses pauses an upload, and calls go on meanwhile', {}, async (t, stage) => {
    let sent = 0;
    const goOn = deferred();
    stage.serve('dataTransfer', 'slow handler', async (_transfer, { body }) => {
      await goOn.promise;
      const { bytes } = await digestOf(body);
      return [Buffer.from(String(bytes))];
    });
    const body = (function* () {
      for (; sent < 16_000_000; sent += CHUNK) yield Buffer.alloc(CHUNK);
    })();
    const answer = listOf(stage.peer.stream({ transferId: 'slow handler' }, { body }));
    await stalled(stage.peer, () => sent);
    t.true(sent <= 6_000_000, `${sent} bytes left for a handler that reads none`);
    goOn.resolve();
    t.is(Buffer.concat(await answer).toString(), String(sent));
  });

  shared('the bytes of a transfer have one reader, on either side', async (t, stage) => {
    const seen = deferred<unknown>();
    stage.serve('dataTransfer', 'one reader', async (_transfer, { body }) => {
      const bytes = await listOf(body);
      seen.resolve(await listOf(body).catch((error: unknown) => error));
      return bytes;
    });
    const bytes = stage.peer.stream({ transferId: 'one reader' }, { body: [Buffer.from('once')] });
    t.is(Buffer.concat(await listOf(bytes)).toString(), 'once');
    t.like(await seen.promise, { code: 'InvalidArgument' });
    t.like(await t.throwsAsync(listOf(bytes)), { code: 'InvalidArgument', side: 'local' });
  });

  shared('for calls that are no transfer a handler finds no bytes', async (t, stage) => {
    stage.serve('request', 'no body', async (_request, { body }) => ({
      body: (await listOf(body)).length,
    }));
    t.is((await stage.peer.request({ type: 'request', method: 'no body' })).body, 0);
  });
}

/** Waits until the count has not grown for fifty pings in a row, which pass although the transfer does not. */
async function stalled(peer: { ping(): Promise<number> }, count: () => number): Promise<void> {
  await until(() => count() > 0);
  let last = -1;
  for (let still = 0; still < 50; still += 1) {
    await peer.ping();
    if (count() !== last) still = 0;
    last = count();
  }
}

async function listOf(
  bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of bytes) chunks.push(chunk);
  return chunks;
}

async function digestOf(
  bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<{ readonly bytes: number; readonly digest: string }> {
  const hash = createHash('sha256');
  let length = 0;
  for await (const chunk of bytes) {
    hash.update(chunk);
    length += chunk.length;
  }
  return { bytes: length, digest: hash.digest('hex') };
}
