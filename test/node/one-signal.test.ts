/** One AbortSignal for everything that a program does: no warning of a leak, and no leak. */
import { getEventListeners } from 'node:events';
import test, { type ExecutionContext } from 'ava';
import { freePort } from '../../scripts/mesh/ports.js';
import type { Peer } from '../../src/index.js';
import { startNode, TEST_TRANSPORTS, targetOf } from '../helpers/nodes.js';
import { until } from '../helpers/until.js';

const CALLS = 1000;

function noteWarnings(t: ExecutionContext): Error[] {
  const warnings: Error[] = [];
  const note = (warning: Error) => warnings.push(warning);
  process.on('warning', note);
  t.teardown(() => process.off('warning', note));
  return warnings;
}

/** Calls of every kind. */
function callAll(peer: Peer, signal: AbortSignal): Promise<unknown>[] {
  const options = { signal, timeoutMs: 60_000 };
  const batch = peer.batch({ maxMessages: 1 });
  return Array.from({ length: CALLS / 5 }, (_, i): Promise<unknown>[] => {
    const entry = { type: 'replicationLog', term: 1, prevIndex: i, commitIndex: 0 } as const;
    return [
      peer.request({ type: 'queryRequest', query: 'q' }, options),
      peer.request({ type: 'queryRequest', query: 'q' }, { ...options, latestOnly: `${i}` }),
      peer.request({ type: 'queryRequest', query: 'q' }, { ...options, replaySafe: true }),
      batch.request({ ...entry, entries: [] }, options),
      ...(i < 20 ? [drain(peer, `plain${i}`, signal, false)] : []),
      ...(i < 20 ? [drain(peer, `resumed${i}`, signal, true)] : []),
    ];
  }).flat();
}

async function drain(peer: Peer, transferId: string, signal: AbortSignal, resume: boolean) {
  for await (const _ of peer.stream({ transferId }, { signal, resume }));
}

for (const transport of TEST_TRANSPORTS) {
  const transports = [transport];

  async function connect(t: ExecutionContext) {
    const n2 = await startNode(t, 'n2', { transports });
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    n2.handle('query', async ({ query }) => {
      await held;
      return { result: query };
    });
    n2.handle('replicationLog', () => held);
    n2.handle('dataTransfer', async function* () {
      await held;
      yield new Uint8Array(10);
    });
    const n1 = await startNode(t, 'n1', { transports });
    return { n1, n2, release };
  }

  test(`${transport}: a thousand calls under way share a signal without a warning, and leave nothing at it`, async (t) => {
    const warnings = noteWarnings(t);
    const { n1, n2, release } = await connect(t);
    const { signal } = new AbortController();
    const peer = await n1.connect(targetOf(n2), { signal });
    const calls = callAll(peer, signal);
    // A turn of the event loop: warnings are told in the next one.
    await new Promise((resolve) => setImmediate(resolve));
    t.true(getEventListeners(signal, 'abort').length <= 1);
    release();
    await Promise.all(calls);
    await until(() => getEventListeners(signal, 'abort').length === 0);
    t.deepEqual(warnings, []);
  });

  test(`${transport}: a thousand calls that wait for a peer, or are under way, end with one signal`, async (t) => {
    const warnings = noteWarnings(t);
    const { n1, n2, release } = await connect(t);
    const peer = await n1.connect(targetOf(n2));
    const controller = new AbortController();
    const { signal } = controller;
    const underWay = callAll(peer, signal);
    const silent = { nodeId: 'n3', host: '127.0.0.1', port: await freePort() };
    const dialing = n1.connect(silent, { signal, retry: true });
    const absent = n1.peer('n3');
    if (absent === undefined) throw new Error('a peer that is dialed is known');
    const waiting = callAll(absent, signal);
    await new Promise((resolve) => setImmediate(resolve));
    controller.abort();
    const outcomes = await Promise.allSettled([...underWay, ...waiting, dialing]);
    for (const outcome of outcomes) {
      t.is(outcome.status === 'rejected' ? outcome.reason.code : 'done', 'Cancelled');
    }
    await until(() => getEventListeners(signal, 'abort').length === 0);
    t.deepEqual(warnings, []);
    release();
  });

  test(`${transport}: a dial of many addresses brings no warning, and leaves nothing at its signal`, async (t) => {
    const warnings = noteWarnings(t);
    const { n1, n2 } = await connect(t);
    const port = await freePort();
    // All of 127.0.0.0/8 is loopback: nobody else listens there on a port of these tests.
    const dead = Array.from({ length: 15 }, (_, i) => ({ host: `127.78.0.${i + 1}`, port }));
    const { signal } = new AbortController();
    const fast = await startNode(t, 'n4', { transports, timeouts: { fallbackDelayMs: 1 } });
    const addresses = [...dead, targetOf(n2)];
    const peers = await Promise.all(
      [n1, fast].map((node) => node.connect({ nodeId: 'n2', addresses }, { signal })),
    );
    t.true(peers.every(({ isConnected }) => isConnected));
    await until(() => getEventListeners(signal, 'abort').length === 0);
    t.deepEqual(warnings, []);
  });
}
