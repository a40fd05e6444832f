/** A call that goes on with a transfer ends the one before it at once, whatever that one waits for. */
import test, { type ExecutionContext } from 'ava';
import type { DataTransfer, MeshNode, Peer } from '../../src/index.js';
import { startNode, TEST_TRANSPORTS, targetOf } from '../helpers/nodes.js';
import { until } from '../helpers/until.js';

const MIB = 1024 * 1024;
const PIECE = Buffer.alloc(64 * 1024, 7);
/** Beyond what buffers and windows hold, so that what is not read stands still. */
const TOTAL_BYTES = 24 * MIB;

/** How a handler comes to stand still while its peer does not read, or does not write. */
const STANDSTILLS: Readonly<Record<string, Handle>> = {
  'in a yield': async function* (request, noteEnd) {
    try {
      for (let at = request.offset; at < TOTAL_BYTES; at += PIECE.length) yield PIECE;
    } finally {
      noteEnd();
    }
  },
  reading: async function* (request, noteEnd, body) {
    try {
      if (request.offset === 0) for await (const _ of body);
      for (let at = request.offset; at < TOTAL_BYTES; at += PIECE.length) yield PIECE;
    } finally {
      noteEnd();
    }
  },
  'in a yield while it reads': async function* (request, noteEnd, body) {
    try {
      const reader = body[Symbol.asyncIterator]();
      if (request.offset === 0) void reader.next().catch(() => {});
      for (let at = request.offset; at < TOTAL_BYTES; at += PIECE.length) yield PIECE;
    } finally {
      noteEnd();
    }
  },
};

type Handle = (
  request: DataTransfer,
  noteEnd: () => void,
  body: AsyncIterable<Uint8Array>,
) => AsyncIterable<Uint8Array>;

for (const transport of TEST_TRANSPORTS) {
  for (const [where, handle] of Object.entries(STANDSTILLS)) {
    for (const isSame of [true, false]) {
      const over = isSame ? 'the same connection' : 'another connection';
      test(`${transport}: a handler that stands still ${where} makes way for a call over ${over}`, async (t) => {
        const n2 = await startNode(t, 'n2', { transports: [transport] });
        const started: number[] = [];
        let ended = 0;
        let pulled = 0;
        n2.handle('dataTransfer', async function* (request, { body }) {
          started.push(request.offset);
          for await (const piece of handle(request, () => (ended += 1), body)) {
            pulled += 1;
            yield piece;
          }
        });
        const first = await connect(t, transport, n2);
        // Reads nothing but the beginning, or nothing at all, and asks for nothing to be ended.
        const older = first.stream({ transferId: 't' }, { resume: true, body: () => silence() });
        const reader = older[Symbol.asyncIterator]();
        if (where === 'reading') void reader.next().catch(() => {});
        else await reader.next();
        await until(() => started.length === 1);
        await standstill(() => pulled);
        const second = isSame ? first : await connect(t, transport, n2);
        const offset = PIECE.length;
        const newer = second.stream({ transferId: 't', offset }, { resume: true });
        let bytes = offset;
        for await (const chunk of newer) bytes += chunk.length;
        t.is(bytes, TOTAL_BYTES);
        t.deepEqual(started, [0, offset]);
        t.is(ended, 2);
        // What had come is still read; then it is told.
        const drain = async () => {
          while ((await reader.next()).done !== true);
        };
        const error = await t.throwsAsync(drain, { code: 'Cancelled' });
        t.is((error as { side?: string }).side, 'remote');
        // Neither connection was harmed.
        await first.ping();
        const { connections = [] } = n2.peer('n1') ?? {};
        const forCalls = connections.filter(({ connectionClass }) => connectionClass === 'calls');
        t.is(forCalls.length, isSame ? 1 : 2);
      });
    }
  }
}

async function connect(
  t: ExecutionContext,
  transport: 'quic' | 'tcp',
  to: MeshNode,
): Promise<Peer> {
  const n1 = await startNode(t, 'n1', { transports: [transport], listen: undefined });
  return n1.connect(targetOf(to));
}

/** Waits until a count has stood still for a while: then what is sent waits for its reader. */
async function standstill(count: () => number): Promise<void> {
  for (let before = -1; before !== count(); ) {
    before = count();
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

/** Bytes that do not come, and a process that does not wait for them. */
async function* silence(): AsyncGenerator<Uint8Array> {
  await new Promise((resolve) => setTimeout(resolve, 60_000).unref());
}
