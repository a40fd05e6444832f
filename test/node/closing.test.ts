/** What a node that closes waits for, and what it ends at once. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import test, { type ExecutionContext } from 'ava';
import { TYPESCRIPT } from '../../scripts/children/typescript.js';
import type { MeshNode } from '../../src/index.js';
import { startNode, TEST_TRANSPORTS, type TestTransport, targetOf } from '../helpers/nodes.js';
import { until } from '../helpers/until.js';

/** Longer than any test takes. */
const LONG_MS = 3_600_000;
const MIB = 1024 * 1024;

const LOG = { type: 'replicationLog', term: 1, prevIndex: 0, commitIndex: 0, entries: [] } as const;

async function setUp(t: ExecutionContext, transport: TestTransport, drainMs = LONG_MS) {
  const timeouts = { connectMs: 60_000, handshakeMs: 60_000, drainMs };
  const options = { transports: [transport], timeouts };
  const n2 = await startNode(t, 'n2', options);
  const n1 = await startNode(t, 'n1', options);
  n2.handle('dataTransfer', async function* () {
    for (let sent = 0; sent < 20 * MIB; sent += MIB) yield new Uint8Array(MIB);
  });
  return { n1, n2, peer: await n1.connect(targetOf(n2)) };
}

/** Until nothing comes any more, because what has come is not read. */
async function untilStalled(node: MeshNode): Promise<void> {
  const bytes = () =>
    (node.peer('n2')?.connections ?? []).reduce((sum, { bytes: its }) => sum + its.received, 0);
  await until(() => bytes() > 256 * 1024);
  for (let last = -1; last !== bytes(); ) {
    last = bytes();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

for (const transport of TEST_TRANSPORTS) {
  test(`${transport}: a process whose nodes are closed ends, whatever waited on them`, async (t) => {
    const program = [...TYPESCRIPT, 'test/helpers/closing-process.ts', transport];
    const child = spawn(process.execPath, program, { stdio: ['ignore', 'pipe', 'inherit'] });
    t.teardown(() => child.kill('SIGKILL'));
    const [told, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')]);
    t.is(code, 0);
    t.deepEqual(JSON.parse(told), {
      late: 'NodeClosed',
      batch: 'done',
      batchOfAbsent: 'NodeClosed',
      pause: 'Overloaded',
      dial: 'NodeClosed',
      call: 'NodeClosed',
    });
  });

  test(`${transport}: a message that waits in a batch leaves when its node closes`, async (t) => {
    const { n1, n2, peer } = await setUp(t, transport);
    let handled = 0;
    n2.handle('replicationLog', () => {
      handled += 1;
    });
    const batcher = peer.batch({ maxDelayMs: 60_000 });
    const reply = batcher.request(LOG, { timeoutMs: LONG_MS });
    await n1.close();
    await reply;
    t.is(handled, 1);
    t.like(await t.throwsAsync(batcher.request(LOG)), { code: 'NodeClosed' });
  });

  test(`${transport}: a message that waits in a batch fails when its peer is closed`, async (t) => {
    const { n2, peer } = await setUp(t, transport);
    n2.handle('replicationLog', () => {});
    const batcher = peer.batch({ maxDelayMs: 60_000 });
    const reply = batcher.request(LOG, { timeoutMs: LONG_MS });
    await peer.close();
    t.like(await t.throwsAsync(reply), { code: 'ConnectionLost', maybeExecuted: false });
  });

  for (const resume of [false, true]) {
    const kind = resume ? 'a transfer that may be resumed' : 'a transfer';

    test(`${transport}: a node that closes does not wait for ${kind} that nobody has begun to read`, async (t) => {
      const { n1, peer } = await setUp(t, transport);
      const bytes = peer.stream({ transferId: 'unread' }, { resume });
      await untilStalled(n1);
      await n1.close();
      const error = await t.throwsAsync(async () => {
        for await (const _ of bytes);
      });
      t.like(error, {
        code: 'ConnectionClosed',
        message: 'nobody takes the bytes of the transfer',
      });
    });

    test(`${transport}: nor for ${kind} whose reader has stopped`, async (t) => {
      const { n1, peer } = await setUp(t, transport, 30_000);
      const reader = peer.stream({ transferId: 'left' }, { resume })[Symbol.asyncIterator]();
      await reader.next();
      await untilStalled(n1);
      await n1.close();
      const error = await t.throwsAsync(async () => {
        while ((await reader.next()).done !== true);
      });
      t.like(error, {
        code: 'ConnectionClosed',
        message: 'nobody takes the bytes of the transfer',
      });
    });
  }

  test(`${transport}: nor for one of its own handlers' whose bytes the peer does not take`, async (t) => {
    const { n1, n2, peer } = await setUp(t, transport, 30_000);
    const reader = peer.stream({ transferId: 'left' })[Symbol.asyncIterator]();
    await reader.next();
    await untilStalled(n1);
    await n2.close();
    const error = await t.throwsAsync(async () => {
      while ((await reader.next()).done !== true);
    });
    t.like(error, { code: 'GoingAway', message: 'nobody takes the bytes of the transfer' });
  });

  test(`${transport}: a transfer that is read goes on to its end while either node closes`, async (t) => {
    for (const closing of ['n1', 'n2']) {
      const { n1, n2, peer } = await setUp(t, transport);
      const reader = peer.stream({ transferId: 'read' })[Symbol.asyncIterator]();
      await reader.next();
      await untilStalled(n1);
      const rest = (async () => {
        let bytes = 0;
        for (let next = await reader.next(); next.done !== true; next = await reader.next()) {
          bytes += next.value.length;
          await new Promise((resolve) => setImmediate(resolve));
        }
        return bytes;
      })();
      await (closing === 'n1' ? n1 : n2).close();
      t.true((await rest) > 19 * MIB, closing);
      await Promise.all([n1.close(), n2.close()]);
    }
  });
}
