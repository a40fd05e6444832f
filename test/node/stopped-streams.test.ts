/** Clients of another stack that give calls up by QUIC's own means, as the handlers of a node see it. */
import test, { type ExecutionContext } from 'ava';
import { wireCodeOf } from '../../src/errors.js';
import type { MeshNode } from '../../src/index.js';
import { nodeCert } from '../helpers/certs.js';
import { deferred } from '../helpers/deferred.js';
import { startNode, targetOf } from '../helpers/nodes.js';
import { PlainClient, type PlainStream } from '../helpers/quic/plain-client.js';
import { until } from '../helpers/until.js';

const CANCELLED = wireCodeOf('Cancelled');
const MAX_STREAMS = 16;
/** So often each: many more than there are streams, so that none of them may stay behind. */
const ROUNDS = 40;

for (const side of ['receiving', 'sending'] as const) {
  const frame = side === 'receiving' ? 'STOP_SENDING' : 'RESET_STREAM';

  test(`a handler that is at work learns of ${frame} at once, and the stream's place comes back`, async (t) => {
    const { node, client } = await setUp(t);
    let begun = 0;
    const reasons: unknown[] = [];
    node.handle('query', async (_, { signal }) => {
      begun += 1;
      await aborted(signal);
      reasons.push(signal.reason);
      return { result: 'too late' };
    });
    for (let round = 1; round <= ROUNDS; round += 1) {
      const call = client.call({ type: 'queryRequest', query: 'x' }, { end: side === 'receiving' });
      await until(() => begun === round);
      client.shut(call, side, CANCELLED);
      await until(() => reasons.length === round);
      if (side === 'sending') client.shut(call, 'receiving', CANCELLED);
    }
    for (const reason of reasons) t.like(reason, { code: 'Cancelled', side: 'remote' });
    await assertServes(t, node, client);
  });

  test(`an upload whose answer has not begun learns of ${frame}`, async (t) => {
    const { node, client } = await setUp(t);
    let begun = 0;
    const errors: unknown[] = [];
    node.handle('dataTransfer', async (_, { body }) => {
      begun += 1;
      try {
        for await (const _chunk of body);
      } catch (error) {
        errors.push(error);
      }
    });
    for (let round = 1; round <= ROUNDS; round += 1) {
      const call = client.call(transfer(`up${round}`), { end: false });
      await until(() => begun === round);
      client.shut(call, side, CANCELLED);
      await until(() => errors.length === round);
      giveUpRest(client, call, side);
    }
    for (const error of errors) t.like(error, { code: 'Cancelled' });
    await assertServes(t, node, client);
  });
}

test('a download that waits for its window learns of STOP_SENDING', async (t) => {
  const { node, client } = await setUp(t);
  const chunk = Buffer.alloc(64 * 1024);
  let sent = 0;
  const ended = deferred<void>();
  node.handle('dataTransfer', async function* () {
    try {
      for (;;) {
        yield chunk;
        sent += 1;
      }
    } finally {
      ended.resolve();
    }
  });
  client.isPaused = true;
  const call = client.call(transfer('down'));
  let before = -1;
  let still = 0;
  // As much as the window takes, and no more.
  await until(() => {
    still = sent > 4 && sent === before ? still + 1 : 0;
    before = sent;
    return still === 30;
  });
  client.shut(call, 'receiving', CANCELLED);
  await ended.promise;
  client.isPaused = false;
  await assertServes(t, node, client);
});

async function setUp(t: ExecutionContext): Promise<{ node: MeshNode; client: PlainClient }> {
  const options = { transports: ['quic'] as const, limits: { streams: MAX_STREAMS } };
  const node = await startNode(t, 'n2', options);
  const client = await PlainClient.connect(t, targetOf(node), await nodeCert('n1'));
  return { node, client };
}

function transfer(transferId: string) {
  return { type: 'dataTransfer', transferId, offset: 0 } as const;
}

/** The other direction of a stream. */
function giveUpRest(client: PlainClient, call: PlainStream, side: 'sending' | 'receiving'): void {
  client.shut(call, side === 'sending' ? 'receiving' : 'sending', CANCELLED);
}

/** As many calls at once as there are streams. */
async function assertServes(t: ExecutionContext, node: MeshNode, client: PlainClient) {
  node.handle('request', () => ({ body: 'still here' }));
  const calls = Array.from({ length: MAX_STREAMS }, () =>
    client.call({ type: 'request', method: 'm' }),
  );
  await until(() => calls.every(({ ended }) => ended));
  for (const call of calls) t.like(client.messages(call)[0], { body: 'still here' });
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
