/** Many calls of one peer, over many connections: others get their turn meanwhile. */
import test from 'ava';
import { startNode, TEST_TRANSPORTS, targetOf } from '../helpers/nodes.js';

const CALLS = 200;
const WORK_MS = 1;

for (const transport of TEST_TRANSPORTS) {
  test(`${transport}: a peer is answered long before all that another one has sent is read`, async (t) => {
    const transports = [transport];
    const n2 = await startNode(t, 'n2', { transports });
    let ran = 0;
    n2.handle('request', ({ method }) => {
      ran += 1;
      // A handler that computes.
      for (const endMs = performance.now() + WORK_MS; performance.now() < endMs; );
      return { body: method };
    });
    const pool = { min: 4, max: 4 };
    const busy = await startNode(t, 'n1', { transports, pool });
    const quiet = await startNode(t, 'n3', { transports });
    const peers = await Promise.all([busy, quiet].map((node) => node.connect(targetOf(n2))));
    const [many, one] = peers as [(typeof peers)[0], (typeof peers)[0]];
    const calls = Array.from({ length: CALLS }, (_, i) =>
      many.request({ type: 'request', method: `m${i}` }, { timeoutMs: 50_000 }),
    );
    // All of them have left, and some are here.
    while (ran === 0) await new Promise((resolve) => setImmediate(resolve));
    await one.ping();
    const ranBefore = ran;
    t.true(ranBefore < CALLS / 2, `${ranBefore} calls ran before`);
    // In their own turns all of them are answered, and each stream gets its own answer.
    t.deepEqual(
      (await Promise.all(calls)).map(({ body }) => body),
      Array.from({ length: CALLS }, (_, i) => `m${i}`),
    );
    t.log(`${ranBefore} calls ran before`);
  });
}
