/** Transfers on the wire: the checksum of the whole, in both directions, and how far their readers pace them. */
import { createHash, randomInt } from 'node:crypto';
import test from 'ava';
import { CHUNK_BYTES } from '../../src/calls/transfers/chunk-sender.js';
import { crc32 } from '../../src/calls/transfers/transfer-checksum.js';
import type { CallContext, DataTransfer, MeshError } from '../../src/index.js';
import { startNode, TEST_TRANSPORTS, targetOf } from '../helpers/nodes.js';
import { SeededBytes } from '../helpers/seeded-bytes.js';
import { until } from '../helpers/until.js';
import { dialWire, listenWire, type WireStream } from '../helpers/wire-peer.js';

const HELLO = Buffer.from('hello ');
const WORLD = Buffer.from('world');
const WHOLE = Buffer.concat([HELLO, WORLD]);
const OPEN: DataTransfer = { type: 'dataTransfer', transferId: 't1', offset: 0 };
/** Of a transfer that has many chunks. */
const LENT_BYTES = 64 * CHUNK_BYTES;
const LAST = { ...OPEN, offset: WHOLE.length, checksum: crc32(WHOLE) };

for (const transport of TEST_TRANSPORTS) {
  const transports = [transport];

  test(`${transport}: both directions end with the checksum of all their bytes`, async (t) => {
    const n2 = await startNode(t, 'n2', { transports });
    n2.handle('dataTransfer', (_request, { body }) => body);
    const open = await dialWire(t, transport, targetOf(n2));
    const stream = open();
    stream.send({ ...OPEN, data: HELLO });
    stream.send({ ...OPEN, offset: HELLO.length, data: WORLD });
    stream.send(LAST, { end: true });
    const echoed = (await stream.ended()) as DataTransfer[];
    t.deepEqual(Buffer.concat(echoed.map(({ data }) => data ?? Buffer.alloc(0))), WHOLE);
    t.deepEqual(echoed.at(-1), LAST);
    t.true(echoed.slice(0, -1).every(({ checksum }) => checksum === undefined));

    const streams: WireStream[] = [];
    const target = await listenWire(t, transport, (opened) => streams.push(opened));
    const n1 = await startNode(t, 'n1', { transports });
    const peer = await n1.connect(target);
    const reader = peer.stream({ transferId: 't1' }, { body: [HELLO, WORLD] });
    const upload = reader[Symbol.asyncIterator]().next();
    await until(() => streams.length === 1);
    const received = (await streams[0]?.ended()) as DataTransfer[];
    t.deepEqual(received[0], OPEN);
    t.deepEqual(received.at(-1), LAST);
    // An answer may do without.
    streams[0]?.end();
    t.true((await upload).done);
  });

  test(`${transport}: chunks are their reader's for good, or are read in memory that is used again`, async (t) => {
    const n1 = await startNode(t, 'n1', { transports });
    const n2 = await startNode(t, 'n2', { transports });
    const peer = await n1.connect(targetOf(n2));
    const handlers = new Map<string, (context: CallContext) => AsyncIterable<Uint8Array>>();
    n2.handle('dataTransfer', ({ transferId }, context) => handlers.get(transferId)?.(context));
    const whole = Buffer.alloc(LENT_BYTES);
    for (let at = 0; at < whole.length; at += 4) whole.writeUInt32LE(at, at);
    const read = async (bytes: AsyncIterable<Uint8Array>, lends: boolean) => {
      const memories = new Set<ArrayBufferLike>();
      const chunks: Uint8Array[] = [];
      for await (const chunk of bytes) {
        memories.add(chunk.buffer);
        chunks.push(lends ? Buffer.from(chunk) : chunk);
      }
      return { isWhole: Buffer.concat(chunks).equals(whole), memories: memories.size };
    };
    for (const lendChunks of [false, true]) {
      const name = `lent: ${lendChunks}`;
      const uploads: Awaited<ReturnType<typeof read>>[] = [];
      handlers.set(name, async function* (context) {
        if (lendChunks) context.lendChunks();
        uploads.push(await read(context.body, lendChunks));
        yield whole;
      });
      const answer = peer.stream({ transferId: name }, { body: [whole], lendChunks });
      for (const { isWhole, memories } of [await read(answer, lendChunks), ...uploads]) {
        t.true(isWhole);
        t.log(`${transport}, ${name}: ${memories} pieces of memory`);
        // That of a chunk that is read, of those that wait, and of frames that did not come in parts.
        if (lendChunks) t.true(memories < LENT_BYTES / CHUNK_BYTES / 2);
      }
      t.is(uploads.length, 1);
    }
  });

  test(`${transport}: an upload that is not what was sent fails for the handler and for the opener`, async (t) => {
    const n2 = await startNode(t, 'n2', { transports });
    const met: unknown[] = [];
    n2.handle('dataTransfer', async (_request, { body }) => {
      try {
        for await (const _ of body);
      } catch (thrown) {
        met.push((thrown as MeshError).code);
        throw thrown;
      }
    });
    const open = await dialWire(t, transport, targetOf(n2));
    const wrong = damaged(LAST.checksum);
    for (const send of [
      (stream: WireStream) => {
        stream.send({ ...OPEN, data: WHOLE });
        stream.send({ ...LAST, checksum: wrong }, { end: true });
      },
      // The last message may have data, and be the first.
      (stream: WireStream) => {
        stream.send(OPEN);
        stream.send({ ...OPEN, data: WHOLE, checksum: wrong });
      },
      (stream: WireStream) => stream.send({ ...OPEN, data: WHOLE, checksum: wrong }),
    ]) {
      const stream = open();
      send(stream);
      t.like(await stream.ended(), [{ type: 'error', code: 'ChecksumMismatch' }]);
    }
    t.deepEqual(met, ['ChecksumMismatch', 'ChecksumMismatch']);
    const late = open();
    late.send({ ...OPEN, data: WHOLE, checksum: LAST.checksum });
    late.send({ ...OPEN, offset: WHOLE.length, data: HELLO });
    t.like(await late.ended(), [{ type: 'error', code: 'UnexpectedMessage' }]);
  });

  test(`${transport}: an answer that is not what was sent fails for its reader, behind the bytes that came`, async (t) => {
    const target = await listenWire(t, transport, (stream) => {
      stream.send({ ...OPEN, data: WHOLE });
      stream.send({ ...LAST, checksum: damaged(LAST.checksum) }, { end: true });
    });
    const n1 = await startNode(t, 'n1', { transports });
    const peer = await n1.connect(target);
    const bytes: Uint8Array[] = [];
    const error = await t.throwsAsync(async () => {
      for await (const chunk of peer.stream({ transferId: 't1' })) bytes.push(chunk);
    });
    t.like(error, { code: 'ChecksumMismatch', side: 'local', maybeExecuted: true });
    t.deepEqual(Buffer.concat(bytes), WHOLE);
  });

  test(`${transport}: from the middle on the whole is checked where the checksum of what is before is given`, async (t) => {
    const n1 = await startNode(t, 'n1', { transports });
    const n2 = await startNode(t, 'n2', { transports });
    n2.handle('dataTransfer', ({ offset }) => [WHOLE.subarray(offset)]);
    const peer = await n1.connect(targetOf(n2));
    const rest = async (priorChecksum?: number) => {
      const from = { transferId: 't1', offset: HELLO.length };
      const stream = peer.stream(priorChecksum === undefined ? from : { ...from, priorChecksum });
      const bytes: Uint8Array[] = [];
      for await (const chunk of stream) bytes.push(chunk);
      return Buffer.concat(bytes);
    };
    t.deepEqual(await rest(), WORLD);
    t.deepEqual(await rest(crc32(HELLO)), WORLD);
    t.throws(() => peer.stream({ transferId: 't1', priorChecksum: 2 ** 32 }), {
      code: 'InvalidArgument',
    });
    const open = await dialWire(t, transport, targetOf(n2));
    const from = { ...OPEN, offset: HELLO.length };
    const last = async (first: DataTransfer) => {
      const stream = open();
      stream.send(first, { end: true });
      return (await stream.ended()).at(-1);
    };
    t.deepEqual(await last({ ...from, priorChecksum: crc32(HELLO) }), LAST);
    t.deepEqual(await last(from), { ...from, data: WORLD });
    t.like(await last({ ...from, priorChecksum: 2 ** 32 }), { code: 'UnexpectedMessage' });
  });

  test(`${transport}: a reader that stops makes the sender's source wait, in both directions`, async (t) => {
    const seed = randomInt(2 ** 32);
    t.log(`seed ${seed}`);
    const n1 = await startNode(t, 'n1', { transports });
    const n2 = await startNode(t, 'n2', { transports });
    const totalBytes = 24 * 1024 * 1024;
    const [up, down] = [new SeededBytes(seed, totalBytes), new SeededBytes(seed + 1, totalBytes)];
    let go: () => void = () => {};
    const gone = new Promise<void>((resolve) => {
      go = resolve;
    });
    const uploaded = createHash('sha256');
    n2.handle('dataTransfer', (_request, { body }) => {
      const reading = (async () => {
        await gone;
        for await (const chunk of body) uploaded.update(chunk);
      })();
      return (async function* () {
        yield* down.from(0);
        await reading;
      })();
    });
    const peer = await n1.connect(targetOf(n2));
    const reader = peer.stream({ transferId: 't1' }, { body: up.from(0) });
    const iterator = reader[Symbol.asyncIterator]();
    const downloaded = createHash('sha256');
    downloaded.update((await iterator.next()).value as Uint8Array);
    // Both come to rest: nothing is read for ten round trips and more.
    for (let still = 0, before = -1; still < 20; ) {
      const now = up.readBytes + down.readBytes;
      still = now === before ? still + 1 : 0;
      before = now;
      await peer.ping();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    t.true(up.readBytes < totalBytes / 2, `${up.readBytes} bytes were read for the upload`);
    t.true(down.readBytes < totalBytes / 2, `${down.readBytes} bytes were read for the answer`);
    go();
    for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) {
      downloaded.update(next.value);
    }
    t.is(downloaded.digest('hex'), down.sha256);
    t.is(uploaded.digest('hex'), up.sha256);
  });
}

function damaged(checksum: number): number {
  return (checksum ^ 1) >>> 0;
}
