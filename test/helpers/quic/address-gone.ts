/**
 * For a network namespace of its own: two nodes, each at an address of its own, of which the dialer's is taken away in
 * the middle of a transfer and of a call. Prints what became of them as one line of JSON.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createNode } from '../../../src/index.js';
import { nodeCert } from '../certs.js';

const BYTES = 3_000_000;

for (const host of ['10.9.0.1', '10.9.0.2']) ip('addr', 'add', `${host}/32`, 'dev', 'lo');
const n1 = await start('n1', '10.9.0.1');
const n2 = await start('n2', '10.9.0.2');
const [sent, received] = [createHash('sha256'), createHash('sha256')];
n2.handle('query', async ({ query }) => {
  await new Promise((resolve) => setTimeout(resolve, 300));
  return { result: query };
});
n2.handle('dataTransfer', async (_request, { body }) => {
  for await (const chunk of body) received.update(chunk);
});
const peer = await n1.connect({ nodeId: 'n2', host: '10.9.0.2', port: n2.address?.port ?? 0 });
const call = peer.request({ type: 'queryRequest', query: 'x' });
for await (const _chunk of peer.stream({ transferId: 't' }, { body: body() }));
const { result } = await call;
const { dialed, migrations } = n1.counters.transports.quic ?? {};
const isWhole = sent.digest('hex') === received.digest('hex');
console.log(JSON.stringify({ result, isWhole, dialed, migrations }));
await Promise.all([n1.close(), n2.close()]);

async function* body(): AsyncIterable<Buffer> {
  for (let done = 0; done < BYTES; done += 100_000) {
    if (done === BYTES / 3) ip('addr', 'del', '10.9.0.1/32', 'dev', 'lo');
    const chunk = Buffer.alloc(100_000, done / 100_000);
    sent.update(chunk);
    yield chunk;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function start(nodeId: 'n1' | 'n2', host: string) {
  const tls = await nodeCert(nodeId);
  const listen = { host, port: 0 };
  // The transfer shares the connection that moves.
  const bulk = { transport: 'same' } as const;
  return createNode({
    nodeId,
    cluster: 't',
    tls,
    listen,
    transports: ['quic'],
    bulk,
    logger: 'silent',
  });
}

function ip(...args: string[]): void {
  execFileSync('ip', args);
}
