/**
 * A process with two nodes that closes them while all sorts of calls wait, for a time that nobody waits for, and then does
 * nothing: it ends when nothing is left that keeps it alive. Prints how the calls ended. Started by `closing.test.ts`.
 */
import { createNode, MeshError, type NodeOptions, type Peer } from '../../src/index.js';
import { nodeCert } from './certs.js';

/** Longer than any test waits. */
const LONG_MS = 60_000;

const transports = [process.argv[2]] as NodeOptions['transports'];

async function start(nodeId: 'n1' | 'n2') {
  return createNode({
    nodeId,
    cluster: 'test',
    tls: await nodeCert(nodeId),
    listen: { host: '127.0.0.1', port: 0 },
    logger: 'silent',
    timeouts: { drainMs: LONG_MS },
    ...(transports === undefined ? {} : { transports }),
  });
}

const n1 = await start('n1');
const n2 = await start('n2');
n2.handle('replicationLog', () => {});
n2.handle('request', () => {
  throw new MeshError('Overloaded', 'not now');
});
n2.handle('dataTransfer', async function* () {
  for (let i = 0; i < 400; i += 1) yield new Uint8Array(64 * 1024);
});
if (n2.address === undefined) throw new Error('n2 does not listen');
const peer = await n1.connect({ nodeId: 'n2', ...n2.address });
const absent = n1.connect({ nodeId: 'n3', host: '127.0.0.1', port: 1 }, { retry: true });
const waitsFor = n1.peer('n3') as Peer;
const message = {
  type: 'replicationLog',
  term: 1,
  prevIndex: 0,
  commitIndex: 0,
  entries: [],
} as const;
const patient = { timeoutMs: 10 * LONG_MS };
const batcher = peer.batch({ maxDelayMs: LONG_MS });
const pausing = { minDelayMs: LONG_MS, maxDelayMs: LONG_MS, codes: ['Overloaded' as const] };
const outcomes = {
  batch: outcomeOf(batcher.request(message, patient)),
  batchOfAbsent: outcomeOf(waitsFor.batch({ maxDelayMs: LONG_MS }).request(message, patient)),
  pause: outcomeOf(peer.request({ type: 'request', method: 'm' }, { ...patient, retry: pausing })),
  dial: outcomeOf(absent),
  call: outcomeOf(waitsFor.request({ type: 'ping' }, patient)),
};
peer.stream({ transferId: 'unread' });
peer.stream({ transferId: 'unread and resumed' }, { resume: true });
// The handler has turned the call away, and it waits to be made again.
while (peer.connections[0]?.calls.failed !== 1)
  await new Promise((resolve) => setImmediate(resolve));
await Promise.all([n1.close(), n2.close()]);
const late = await outcomeOf(batcher.request(message, patient));
const told: Record<string, string> = { late };
for (const [name, outcome] of Object.entries(outcomes)) told[name] = await outcome;
console.log(JSON.stringify(told));

function outcomeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'done',
    (error: MeshError) => error.code,
  );
}
