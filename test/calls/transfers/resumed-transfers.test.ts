/** Transfers that outlive their connections: they go on where they were interrupted, and verify. */
import { createHash, randomInt } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { crc32 } from '../../../src/calls/transfers/transfer-checksum.js';
import type { CallContext, DataTransfer, MeshError } from '../../../src/index.js';
import { startBreakable, startBreakableTo } from '../../helpers/interruptions.js';
import { lastingAddress, startNode, TEST_TRANSPORTS, targetOf } from '../../helpers/nodes.js';
import { SeededBytes } from '../../helpers/seeded-bytes.js';
import { until } from '../../helpers/until.js';
import { dialWire, listenWire, type WireStream } from '../../helpers/wire-peer.js';

const MIB = 1024 * 1024;
/** Beyond what buffers and windows hold, so that an interruption has something to interrupt. */
const TOTAL_BYTES = 24 * MIB;
/** What may be on its way, or unread, when a connection is lost. */
const WINDOW_BYTES = 8 * MIB;
const OPEN: DataTransfer = { type: 'dataTransfer', transferId: 't1', offset: 0, resume: true };

function seeded(t: ExecutionContext): SeededBytes {
  const seed = randomInt(2 ** 32);
  t.log(`seed ${seed}`);
  return new SeededBytes(seed, TOTAL_BYTES);
}

for (const transport of TEST_TRANSPORTS) {
  test(`${transport}: a download goes on where it was interrupted`, async (t) => {
    const { n1, n2, target, interrupt } = await startBreakable(t, transport);
    const bytes = seeded(t);
    const offsets: number[] = [];
    n2.handle('dataTransfer', ({ offset }) => {
      offsets.push(offset);
      return bytes.from(offset);
    });
    const peer = await n1.connect(target);
    const hash = createHash('sha256');
    let received = 0;
    for await (const chunk of peer.stream({ transferId: 't1' }, { resume: true })) {
      hash.update(chunk);
      const before = received;
      received += chunk.length;
      if (
        Math.floor(before / (8 * MIB)) < Math.floor(received / (8 * MIB)) &&
        received < TOTAL_BYTES
      )
        await interrupt();
    }
    t.is(hash.digest('hex'), bytes.sha256);
    t.true(offsets.length >= 3, `handler was called for ${offsets}`);
    t.deepEqual(
      [...offsets],
      [...offsets].sort((a, b) => a - b),
    );
    const tooMuch = TOTAL_BYTES + offsets.length * WINDOW_BYTES;
    t.true(bytes.readBytes < tooMuch, `${bytes.readBytes} bytes were read`);
  });

  test(`${transport}: an upload goes on from what the handler has, which the node remembers`, async (t) => {
    const { n1, n2, target, interrupt } = await startBreakable(t, transport);
    const bytes = seeded(t);
    const asked: number[] = [];
    const hash = createHash('sha256');
    let have = 0;
    n2.handle('dataTransfer', async (_request, context) => {
      context.resumeAt(have);
      for await (const chunk of context.body) {
        hash.update(chunk);
        const before = have;
        have += chunk.length;
        if (Math.floor(before / (8 * MIB)) < Math.floor(have / (8 * MIB)) && have < TOTAL_BYTES)
          await interrupt();
      }
      return [Buffer.from(String(have))];
    });
    const peer = await n1.connect(target);
    const body = (offset: number) => {
      asked.push(offset);
      return bytes.from(offset);
    };
    const answer: Uint8Array[] = [];
    for await (const chunk of peer.stream({ transferId: 't1' }, { resume: true, body }))
      answer.push(chunk);
    t.is(Buffer.concat(answer).toString(), String(TOTAL_BYTES));
    t.is(hash.digest('hex'), bytes.sha256);
    t.true(asked.length >= 3, `the body was asked for from ${asked}`);
    const tooMuch = TOTAL_BYTES + asked.length * WINDOW_BYTES;
    t.true(bytes.readBytes < tooMuch, `${bytes.readBytes} bytes were read`);
  });

  test(`${transport}: both directions go on at once`, async (t) => {
    const { n1, n2, target, interrupt } = await startBreakable(t, transport);
    const [up, down] = [seeded(t), seeded(t)];
    const uploaded = createHash('sha256');
    let have = 0;
    const attempts: number[] = [];
    n2.handle('dataTransfer', async function* ({ offset }, context) {
      attempts.push(offset);
      context.resumeAt(have);
      const reading = (async () => {
        for await (const chunk of context.body) {
          uploaded.update(chunk);
          have += chunk.length;
        }
      })();
      reading.catch(() => {});
      yield* down.from(offset);
      await reading;
    });
    const peer = await n1.connect(target);
    const downloaded = createHash('sha256');
    let received = 0;
    let cuts = 0;
    const body = (offset: number) => up.from(offset);
    for await (const chunk of peer.stream({ transferId: 't1' }, { resume: true, body })) {
      downloaded.update(chunk);
      received += chunk.length;
      if (received < (cuts + 1) * 7 * MIB || cuts === 2) continue;
      cuts += 1;
      await interrupt();
    }
    t.is(downloaded.digest('hex'), down.sha256);
    t.is(uploaded.digest('hex'), up.sha256);
    t.true(attempts.length >= 3);
  });

  test(`${transport}: a transfer of the side that was dialed goes on when the other has dialed again`, async (t) => {
    const { n1, n2, target, interrupt } = await startBreakable(t, transport);
    const bytes = seeded(t);
    n1.handle('dataTransfer', ({ offset }) => bytes.from(offset));
    await n1.connect(target);
    await until(() => n2.peer('n1')?.isConnected === true);
    const hash = createHash('sha256');
    let received = 0;
    let cuts = 0;
    const stream = n2.peer('n1')?.stream({ transferId: 't1' }, { resume: true });
    for await (const chunk of stream as AsyncIterable<Uint8Array>) {
      hash.update(chunk);
      received += chunk.length;
      if (received < (cuts + 1) * 7 * MIB || cuts === 2) continue;
      cuts += 1;
      await interrupt();
    }
    t.is(cuts, 2);
    t.is(hash.digest('hex'), bytes.sha256);
  });

  test(`${transport}: a node that shuts down and comes back takes up where the handler was`, async (t) => {
    const transports = [transport];
    const n1 = await startNode(t, 'n1', { transports });
    const bytes = seeded(t);
    let begun: () => void = () => {};
    const hasBegun = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const store = { have: 0, checksum: 0, hash: createHash('sha256') };
    const receive = async (_request: unknown, context: CallContext) => {
      context.resumeAt(store.have, store.checksum);
      for await (const chunk of context.body) {
        store.hash.update(chunk);
        store.checksum = crc32(chunk, store.checksum);
        store.have += chunk.length;
        if (store.have > 4 * MIB) begun();
        await new Promise(setImmediate);
      }
    };
    const listen = await lastingAddress();
    const first = await startNode(t, 'n2', { transports, listen, timeouts: { drainMs: 1 } });
    first.handle('dataTransfer', receive);
    const target = targetOf(first);
    const peer = await n1.connect(target);
    const body = (offset: number) => bytes.from(offset);
    const options = { resume: true, body, timeoutMs: 60_000 };
    const done = peer.stream({ transferId: 't1' }, options)[Symbol.asyncIterator]().next();
    await hasBegun;
    await first.close();
    t.true(store.have < TOTAL_BYTES);
    const second = await startNode(t, 'n2', { transports, listen });
    second.handle('dataTransfer', receive);
    t.true((await done).done);
    t.is(store.hash.digest('hex'), bytes.sha256);
  });

  test(`${transport}: what the two sides had before must be the same`, async (t) => {
    const n2 = await startNode(t, 'n2', { transports: [transport] });
    const answer = Buffer.alloc(100_000, 'a');
    n2.handle('dataTransfer', ({ offset }) => [answer.subarray(offset)]);
    const open = await dialWire(t, transport, targetOf(n2));
    const first = open();
    first.send(OPEN, { end: true });
    const [chunk] = (await first.ended()) as DataTransfer[];
    const offset = chunk?.data?.length as number;
    t.true(offset > 0 && offset < answer.length);
    const again = async (more: Partial<DataTransfer>) => {
      const stream = open();
      stream.send({ ...OPEN, offset, ...more }, { end: true });
      return (await stream.ended()).at(-1);
    };
    const prior = crc32(answer.subarray(0, offset));
    t.like(await again({ priorChecksum: damaged(prior) }), {
      type: 'error',
      code: 'ChecksumMismatch',
    });
    const last = { type: 'dataTransfer', transferId: 't1', offset: answer.length } as const;
    t.deepEqual(await again({ priorChecksum: prior }), { ...last, checksum: crc32(answer) });
    // Of another transfer nothing is known, and what the opener says is taken.
    const other = await again({ transferId: 't2', priorChecksum: damaged(prior) });
    t.like(other, { type: 'dataTransfer', offset: answer.length });
    t.not((other as DataTransfer).checksum, crc32(answer));
  });

  test(`${transport}: an opener that keeps to no rule of resumption is told so`, async (t) => {
    const n2 = await startNode(t, 'n2', { transports: [transport] });
    n2.handle('dataTransfer', () => new Promise(() => {}));
    const open = await dialWire(t, transport, targetOf(n2));
    const data = Buffer.from('early');
    const withData = open();
    withData.send({ ...OPEN, transferId: 'a', data });
    const unasked = open();
    unasked.send({ ...OPEN, transferId: 'b' });
    unasked.send({ type: 'dataTransfer', transferId: 'b', offset: 0, data });
    for (const stream of [withData, unasked]) {
      t.like((await stream.ended()).at(-1), { type: 'error', code: 'UnexpectedMessage' });
    }
  });

  test(`${transport}: an answerer that keeps to no rule of resumption ends the transfer`, async (t) => {
    const { resume: _resume, ...answer } = OPEN;
    const answers: Record<string, DataTransfer[]> = {
      unknown: [{ ...answer, resumeAt: 5 }],
      'no checksum': [{ ...answer, resumeAt: 5, priorChecksum: 2 ** 32 }],
      twice: [
        { ...answer, resumeAt: 0 },
        { ...answer, resumeAt: 0 },
      ],
    };
    const target = await listenWire(t, transport, async (stream) => {
      await until(() => stream.messages.length > 0);
      const [first] = stream.messages as [DataTransfer];
      for (const message of answers[first.name as string] ?? []) stream.send(message);
    });
    const n1 = await startNode(t, 'n1', { transports: [transport] });
    const peer = await n1.connect(target);
    const body = async function* () {
      await new Promise(() => {});
      yield Buffer.alloc(1);
    };
    for (const name of Object.keys(answers)) {
      const stream = peer.stream({ transferId: 't1', name }, { resume: true, body });
      const error = await t.throwsAsync(async () => stream[Symbol.asyncIterator]().next());
      t.like(error, { code: 'UnexpectedMessage', side: 'remote' }, name);
    }
    const plain = peer.stream({ transferId: 't1', name: 'unknown' }, { body: body() });
    const error = await t.throwsAsync(async () => plain[Symbol.asyncIterator]().next());
    t.like(error, { code: 'UnexpectedMessage', side: 'remote' });
  });

  test(`${transport}: an answerer that has other bytes than were sent ends the upload`, async (t) => {
    const streams: WireStream[] = [];
    const target = await listenWire(t, transport, (stream) => streams.push(stream));
    const { n1, interrupt, target: proxied } = await startBreakableTo(t, transport, target);
    const peer = await n1.connect(proxied);
    const sent = Buffer.alloc(1000, 'b');
    const body = async function* (offset: number) {
      yield sent.subarray(offset);
      await new Promise(() => {});
    };
    const stream = peer.stream({ transferId: 't1' }, { resume: true, body });
    const outcome = t.throwsAsync(async () => stream[Symbol.asyncIterator]().next());
    const answer = { type: 'dataTransfer', transferId: 't1', offset: 0 } as const;
    await until(() => streams[0]?.messages.length === 1);
    t.deepEqual(streams[0]?.messages, [OPEN]);
    streams[0]?.send({ ...answer, resumeAt: 0 });
    await until(() => streams[0]?.messages.length === 2);
    await interrupt();
    await until(() => streams[1]?.messages.length === 1);
    streams[1]?.send({ ...answer, resumeAt: 1000, priorChecksum: damaged(crc32(sent)) });
    t.like(await outcome, { code: 'ChecksumMismatch', side: 'local' });
  });

  test(`${transport}: one handler at a time serves a transfer`, async (t) => {
    const n2 = await startNode(t, 'n2', { transports: [transport] });
    const n1 = await startNode(t, 'n1', { transports: [transport] });
    const log: string[] = [];
    const settle: (() => void)[] = [];
    let handlers = 0;
    n2.handle('dataTransfer', async (_request, context) => {
      const me = ++handlers;
      log.push(`${me} begins`);
      context.signal.addEventListener('abort', () => {
        log.push(`${me} hears ${(context.signal.reason as MeshError).code}`);
      });
      try {
        for await (const _ of context.body);
      } catch (thrown) {
        log.push(`${me} meets ${(thrown as MeshError).code}`);
      }
      await new Promise<void>((resolve) => settle.push(resolve));
      log.push(`${me} ends`);
      return [Buffer.from(String(me))];
    });
    const peer = await n1.connect(targetOf(n2));
    const never = async function* () {
      yield Buffer.alloc(10);
      await new Promise(() => {});
    };
    const ask = async (transferId: string, body: () => AsyncIterable<Uint8Array>) => {
      const answer: Uint8Array[] = [];
      for await (const chunk of peer.stream({ transferId }, { resume: true, body }))
        answer.push(chunk);
      return Buffer.concat(answer).toString();
    };
    const first = ask('t1', never);
    await until(() => log.length === 1);
    const second = ask('t1', never);
    t.like(await t.throwsAsync(first), { code: 'Cancelled', side: 'remote' });
    // It waits, and its place is taken before it has begun.
    const third = ask('t1', async function* () {});
    t.like(await t.throwsAsync(second), { code: 'Cancelled', side: 'remote' });
    await until(() => settle.length === 1);
    t.deepEqual(log.splice(0).sort(), ['1 begins', '1 hears Cancelled', '1 meets Cancelled']);
    // Another transfer has a handler of its own.
    const other = ask('t2', async function* () {});
    await until(() => settle.length === 2);
    t.deepEqual(log.splice(0), ['2 begins']);
    settle.shift()?.();
    await until(() => settle.length === 2);
    t.deepEqual(log.splice(0), ['1 ends', '3 begins']);
    for (const end of settle) end();
    t.is(await third, '3');
    t.is(await other, '2');
  });

  test(`${transport}: a handler says where to go on from once, and what is before`, async (t) => {
    const n2 = await startNode(t, 'n2', { transports: [transport] });
    const n1 = await startNode(t, 'n1', { transports: [transport] });
    const codes: string[] = [];
    const refused = (call: () => void): void => {
      try {
        call();
        codes.push('none');
      } catch (thrown) {
        codes.push((thrown as MeshError).code);
      }
    };
    n2.handle('query', (_request, context) => {
      refused(() => context.resumeAt(0));
      return {};
    });
    n2.handle('dataTransfer', async ({ name, resume }, context) => {
      if (name === 'offsets')
        for (const offset of [-1, 0.5, 5]) refused(() => context.resumeAt(offset));
      if (name === 'checksum') refused(() => context.resumeAt(5, -1));
      if (name === 'late') context.body[Symbol.asyncIterator]();
      if (resume !== true || name === 'late') refused(() => context.resumeAt(0));
    });
    const peer = await n1.connect(targetOf(n2));
    await peer.request({ type: 'queryRequest', query: 'q' });
    const body = () => [Buffer.alloc(1)];
    for (const name of ['offsets', 'checksum', 'late']) {
      for await (const _ of peer.stream({ transferId: 't1', name }, { resume: true, body }));
    }
    for await (const _ of peer.stream({ transferId: 't1' }, { body: body() }));
    t.deepEqual(codes, Array(codes.length).fill('InvalidArgument'));
    t.is(codes.length, 7);
    t.throws(() => peer.stream({ transferId: 't1' }, { resume: true, body: body() }), {
      code: 'InvalidArgument',
    });
    t.throws(() => peer.stream({ transferId: 't1' }, { body }), { code: 'InvalidArgument' });
  });

  test(`${transport}: an interrupted transfer ends with its time, its signal and its reader`, async (t) => {
    const { n1, n2, target, proxy } = await startBreakable(t, transport);
    n2.handle('dataTransfer', async function* () {
      yield Buffer.alloc(10);
      await new Promise(() => {});
    });
    const peer = await n1.connect(target);
    const cancel = new AbortController();
    const readers = [
      peer.stream({ transferId: 'a' }, { resume: true, timeoutMs: 10_000 }),
      peer.stream({ transferId: 'b' }, { resume: true, signal: cancel.signal }),
      peer.stream({ transferId: 'c' }, { resume: true }),
    ].map((stream) => stream[Symbol.asyncIterator]());
    for (const reader of readers) t.is((await reader.next()).value?.length, 10);
    const ends = readers.map((reader) => reader.next());
    for (const end of ends) end.catch(() => {});
    proxy.change({ blackHole: true });
    proxy.reset();
    await until(() => !peer.isConnected);
    cancel.abort();
    t.like(await t.throwsAsync(ends[1] as Promise<unknown>), {
      code: 'Cancelled',
      maybeExecuted: true,
    });
    await readers[2]?.return?.();
    t.true((await ends[2])?.done);
    const late = (await t.throwsAsync(ends[0] as Promise<unknown>)) as MeshError;
    t.true(
      ['DeadlineExceeded', 'ConnectTimeout', 'ConnectionLost', 'IdleTimeout'].includes(late.code),
      late.code,
    );
    t.true(late.maybeExecuted);
    await until(() => peer.statistics.waiting === 0);
  });
}

function damaged(checksum: number): number {
  return (checksum ^ 1) >>> 0;
}
