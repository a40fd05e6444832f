/** A caller has its message and its memory back when its call has returned, whatever the call then waits for. */
import test, { type ExecutionContext } from 'ava';
import { MessageCopies } from '../../src/calls/outgoing/message-copies.js';
import { MeshError, type MeshNode, type NodeOptions, type Peer } from '../../src/index.js';
import { MessageCodec } from '../../src/protocol/codec.js';
import { startNode, TEST_TRANSPORTS, type TestTransport, targetOf } from '../helpers/nodes.js';
import { until } from '../helpers/until.js';

const MIB = 1024 * 1024;
const PATIENT = { timeoutMs: 60_000 };
/** What is put in place of what was sent. */
const WRONG = 0xee;
const SMALL = 100;
const LARGE = 100_000;

/** Makes calls of every kind, each with the number it carries in all its bytes, and changes what was given at once. */
function callAndChange(peer: Peer, bytes: number, first: number): Promise<unknown>[] {
  const calls: Promise<unknown>[] = [];
  const data = (value: number): Buffer => Buffer.alloc(bytes, value);
  const change = (...memory: Buffer[]): void => {
    for (const buffer of memory) buffer.fill(WRONG);
  };
  const whole = data(first);
  const asWhole = { type: 'request' as const, method: 'm', body: whole as unknown };
  calls.push(peer.request(asWhole, PATIENT));
  change(whole);
  asWhole.method = 'changed';
  asWhole.body = 'changed';

  const deep = data(first + 1);
  const body = { list: [{ deep }], float: 1.5, text: 'as it was' };
  calls.push(peer.request({ type: 'request', method: 'deep', body }, PATIENT));
  change(deep);
  body.text = 'changed';
  body.list.length = 0;

  const sent = data(first + 2);
  calls.push(peer.send({ type: 'request', method: 'm', body: sent }, PATIENT));
  change(sent);

  const entry = { index: 1, term: 1, data: data(first + 3) };
  const log = { type: 'replicationLog' as const, term: 1, prevIndex: 0, commitIndex: 0 };
  const entries = [entry];
  calls.push(peer.request({ ...log, entries }, PATIENT));
  change(entry.data);
  entry.index = 99;
  entries.push(entry);

  const batcher = peer.batch({ maxDelayMs: 1 });
  for (let i = 0; i < 2; i += 1) {
    const batched = { index: i + 1, term: 1, data: data(first + 4 + i) };
    const its = [batched];
    calls.push(batcher.request({ ...log, prevIndex: i, entries: its }, PATIENT));
    change(batched.data);
    batched.term = 99;
    its.length = 0;
  }

  const parameters = { key: data(first + 6) };
  calls.push(peer.request({ type: 'queryRequest', query: 'q', parameters }, PATIENT));
  change(parameters.key);

  for (const resume of [false, true]) {
    const metadata = { tag: Buffer.alloc(SMALL, first + 7), name: 'as it was' };
    const bytes = peer.stream({ transferId: `t-${first}-${resume}`, metadata }, { resume });
    change(metadata.tag);
    metadata.name = 'changed';
    calls.push(drain(bytes));
  }
  return calls;
}

const KINDS = 8;

/** Notes by which values handlers were called, and by what was never sent. */
function watch(node: MeshNode): { readonly seen: Set<number>; readonly wrong: string[] } {
  const seen = new Set<number>();
  const wrong: string[] = [];
  const note = (what: string, bytes: unknown): void => {
    const value = (bytes as Uint8Array)[0] as number;
    seen.add(value);
    const isRight = (bytes as Uint8Array).every((byte) => byte === value) && value !== WRONG;
    if (!isRight) wrong.push(what);
  };
  node.handle('request', ({ method, body }) => {
    if (method === 'hold') return {};
    if (method === 'm') note('whole', body);
    else if (method === 'deep') {
      const { list, text } = body as { list: { deep: Uint8Array }[]; text: string };
      note('deep', list[0]?.deep);
      if (text !== 'as it was') wrong.push('text');
    } else wrong.push(method);
    return {};
  });
  node.handle('replicationLog', ({ entries }) => {
    for (const { index, term, data } of entries) {
      note('entry', data);
      if (index > 2 || term !== 1) wrong.push('entry');
    }
  });
  node.handle('query', ({ parameters }) => {
    note('parameters', (parameters as { key: Uint8Array }).key);
    return {};
  });
  node.handle('dataTransfer', ({ metadata }) => {
    const { tag, name } = metadata as { tag: Uint8Array; name: string };
    note('metadata', tag);
    if (name !== 'as it was') wrong.push('name');
    return [new Uint8Array(1)];
  });
  return { seen, wrong };
}

for (const transport of TEST_TRANSPORTS) {
  for (const bytes of [SMALL, LARGE]) {
    test(`${transport}: ${bytes} bytes may be changed while their calls wait for a connection`, async (t) => {
      const n2 = await startNode(t, 'n2', { transports: [transport] });
      const { seen, wrong } = watch(n2);
      const n1 = await startNode(t, 'n1', { transports: [transport] });
      const peer = n1.connectEarly(targetOf(n2));
      t.false(peer.isConnected);
      await Promise.all(callAndChange(peer, bytes, 10));
      await until(() => seen.size === KINDS);
      t.deepEqual(wrong, []);
    });

    test(`${transport}: ${bytes} bytes may be changed while their calls wait for others`, async (t) => {
      const { peer, n2, held, release } = await startHeld(t, transport, {
        limits: { connectionBytes: 16 * MIB },
      });
      const { seen, wrong } = watch(n2);
      const full = Buffer.alloc(9 * MIB);
      const hold = { type: 'queryRequest', query: 'hold', parameters: full } as const;
      const waits = Promise.all([peer.request(hold, PATIENT), peer.request(hold, PATIENT)]);
      await until(() => held() === 2);
      const calls = callAndChange(peer, bytes, 10);
      t.false(peer.trySend({ type: 'request', method: 'm', body: Buffer.alloc(10) }));
      release();
      await Promise.all([waits, ...calls]);
      await until(() => seen.size === KINDS);
      t.deepEqual(wrong, []);
    });

    test(`${transport}: ${bytes} bytes may be changed while their calls wait for a stream`, async (t) => {
      const { peer, n2, held, release } = await startHeld(
        t,
        transport,
        {},
        { limits: { streams: 2 } },
      );
      const { seen, wrong } = watch(n2);
      const hold = { type: 'queryRequest', query: 'hold' } as const;
      const waits = Promise.all([peer.request(hold, PATIENT), peer.request(hold, PATIENT)]);
      await until(() => held() === 2);
      const calls = callAndChange(peer, bytes, 10);
      release();
      await Promise.all([waits, ...calls]);
      await until(() => seen.size === KINDS);
      t.deepEqual(wrong, []);
    });

    test(`${transport}: ${bytes} bytes may be changed once a call has left, and before it is made again`, async (t) => {
      const n2 = await startNode(t, 'n2', { transports: [transport] });
      const n1 = await startNode(t, 'n1', { transports: [transport] });
      const seen: number[] = [];
      n2.handle('request', ({ body }) => {
        const { value } = body as { value: Uint8Array };
        seen.push(value[0] as number);
        if (seen.length < 3) throw new MeshError('Overloaded', 'later');
        return {};
      });
      const peer = await n1.connect(targetOf(n2));
      const value = Buffer.alloc(bytes, 1);
      const body = { value, text: 'x' };
      const again = { ...PATIENT, retry: { codes: ['Overloaded'] } } as const;
      const call = peer.request({ type: 'request', method: 'm', body }, again);
      value.fill(WRONG);
      body.text = 'changed';
      await call;
      t.deepEqual(seen, [1, 1, 1]);
    });
  }

  test(`${transport}: megabytes may be changed while their pieces wait for the network`, async (t) => {
    const n2 = await startNode(t, 'n2', { transports: [transport] });
    const n1 = await startNode(t, 'n1', { transports: [transport] });
    n2.handle('request', ({ body }) => {
      const bytes = body as Uint8Array;
      return { body: bytes.every((byte) => byte === bytes[0]) ? bytes[0] : 'mixed' };
    });
    const peer = await n1.connect(targetOf(n2));
    const calls = Array.from({ length: 12 }, (_, i) => {
      const body = Buffer.alloc(5_000_000, i + 1);
      const call = peer.request({ type: 'request', method: 'm', body }, PATIENT);
      body.fill(WRONG);
      return call;
    });
    const answers = await Promise.all(calls);
    t.deepEqual(
      answers.map(({ body }) => body),
      calls.map((_, i) => i + 1),
    );
  });

  test(`${transport}: a large byte string that was changed is never sent in place of what was asked`, async (t) => {
    const n2 = await startNode(t, 'n2', { transports: [transport] });
    const n1 = await startNode(t, 'n1', { transports: [transport] });
    const seen: number[] = [];
    n2.handle('request', ({ method, body }) => {
      seen.push((body as Uint8Array)[0] as number);
      if (method === 'once') return {};
      if (seen.length === 1) throw new MeshError('Overloaded', 'later');
      return {};
    });
    const peer = await n1.connect(targetOf(n2));
    const retry = { ...PATIENT, retry: { codes: ['Overloaded'] } } as const;
    for (const bytes of [LARGE, 3_000_000]) {
      for (const isChanged of [true, false]) {
        seen.length = 0;
        const body = Buffer.alloc(bytes, 1);
        const call = peer.request({ type: 'request', method: 'm', body }, retry);
        if (isChanged) {
          body[bytes - 1] = WRONG;
          await t.throwsAsync(call, { code: 'Overloaded', message: 'later' });
          t.deepEqual(seen, [1]);
        } else {
          await call;
          t.deepEqual(seen, [1, 1]);
        }
      }
    }
  });

  test(`${transport}: a piece of a transfer may be changed once the next one is asked for`, async (t) => {
    const n2 = await startNode(t, 'n2', { transports: [transport] });
    const n1 = await startNode(t, 'n1', { transports: [transport] });
    const PIECES = 200;
    /** Always the same memory, of more than one message. */
    async function* pieces(): AsyncGenerator<Uint8Array> {
      const memory = Buffer.alloc(100_000);
      for (let i = 0; i < PIECES; i += 1) {
        memory.fill(i & 0x7f);
        yield memory;
        memory.fill(WRONG);
      }
    }
    const check = async (bytes: AsyncIterable<Uint8Array>): Promise<number> => {
      let at = 0;
      for await (const chunk of bytes) {
        const expected = Math.floor(at / 100_000) & 0x7f;
        // Chunks end where pieces do.
        if (!chunk.every((byte) => byte === expected)) throw new Error(`wrong at ${at}`);
        at += chunk.length;
        if (at % 2_000_000 < 70_000) await new Promise((resolve) => setTimeout(resolve, 5));
      }
      return at;
    };
    let uploaded = 0;
    n2.handle('dataTransfer', async (_request, { body }) => {
      uploaded = await check(body);
      return pieces();
    });
    const peer = await n1.connect(targetOf(n2));
    t.is(await check(peer.stream({ transferId: 't' }, { body: pieces() })), PIECES * 100_000);
    t.is(uploaded, PIECES * 100_000);
  });
}

test('beyond its limit a node keeps no copies of large byte strings, and tells those that were changed', (t) => {
  const copies = new MessageCopies(250_000);
  const codec = new MessageCodec();
  const memory = Array.from({ length: 4 }, (_, i) => Buffer.alloc(100_000, i));
  const waiting = memory.map((body) =>
    copies.keep('request', codec.encodeSplit({ type: 'request', method: 'm', body })),
  );
  t.is(copies.bytes, 200_000);
  for (const body of memory.slice(0, 3)) body.fill(WRONG);
  t.deepEqual(
    waiting.map(({ kept }) => kept.isIntact),
    [true, true, false, true],
  );
  t.like(waiting[0]?.kept.message, { body: Buffer.alloc(100_000) });
  for (const { release } of [...waiting, ...waiting]) release();
  t.is(copies.bytes, 0);
});

/** A pair whose n2 holds queries until it is told to let go. */
async function startHeld(
  t: ExecutionContext,
  transport: TestTransport,
  near: Partial<NodeOptions>,
  far: Partial<NodeOptions> = {},
): Promise<{ peer: Peer; n2: MeshNode; held: () => number; release: () => void }> {
  const n2 = await startNode(t, 'n2', { transports: [transport], ...far });
  const n1 = await startNode(t, 'n1', { transports: [transport], ...near });
  let held = 0;
  let release = (): void => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const handle = n2.handle.bind(n2);
  // Stands before the handler that is registered for queries later.
  n2.handle = ((kind: never, handler: (...given: unknown[]) => unknown) =>
    handle(
      kind,
      (kind === 'query'
        ? async (request: { query: string }, context: unknown) => {
            if (request.query !== 'hold') return handler(request, context);
            held += 1;
            await released;
            return {};
          }
        : handler) as never,
    )) as typeof n2.handle;
  const peer = await n1.connect(targetOf(n2));
  return { peer, n2, held: () => held, release };
}

async function drain(bytes: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const _ of bytes);
}
