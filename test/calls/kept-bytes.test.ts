/** What a byte string that somebody keeps holds of the memory that it arrived in. */
import test from 'ava';
import { startNode, TEST_TRANSPORTS, targetOf } from '../helpers/nodes.js';

const VALUES = 512;
const VALUE_BYTES = 32;
/** One of so many is kept. */
const KEPT = 32;
/** A block that small byte strings are copied into. */
const BLOCK_BYTES = 8192;

for (const transport of TEST_TRANSPORTS) {
  test(`${transport}: small byte strings that are kept hold little besides themselves`, async (t) => {
    const n2 = await startNode(t, 'n2', { transports: [transport] });
    const kept: Uint8Array[] = [];
    const pad = Buffer.alloc(2000, 1);
    n2.handle('request', ({ body }) => {
      const { i, value } = body as { i: number; value: Uint8Array };
      if (i % KEPT === 0) kept.push(value);
      return { body: { value: Buffer.alloc(VALUE_BYTES, i), pad } };
    });
    n2.handle('replicationLog', ({ entries }) => {
      kept.push(...entries.map(({ data }) => data));
    });
    const n1 = await startNode(t, 'n1', { transports: [transport] });
    const peer = await n1.connect(targetOf(n2));
    const ask = async (i: number): Promise<void> => {
      const asked = { i, value: Buffer.alloc(VALUE_BYTES, i), pad };
      const { body } = await peer.request({ type: 'request', method: 'get', body: asked });
      const { value } = body as { value: Uint8Array };
      t.deepEqual(value, Buffer.alloc(VALUE_BYTES, i));
      if (i % KEPT === 0) kept.push(value);
    };
    await Promise.all(Array.from({ length: VALUES }, (_, i) => ask(i)));
    const entries = Array.from({ length: 100 }, (_, i) => ({
      index: i + 1,
      term: 1,
      data: Buffer.alloc(100, i),
    }));
    await peer.request({ type: 'replicationLog', term: 1, prevIndex: 0, commitIndex: 0, entries });
    t.is(kept.length, (2 * VALUES) / KEPT + entries.length);
    for (const value of kept) {
      const { byteLength } = value.buffer;
      t.true(byteLength <= BLOCK_BYTES, `${value.length} bytes keep ${byteLength}`);
    }
    // Together they hold what was copied, and not a block each.
    const blocks = new Set(kept.map(({ buffer }) => buffer));
    t.true(blocks.size <= kept.length / 4, `${blocks.size} blocks behind ${kept.length} values`);
  });
}
