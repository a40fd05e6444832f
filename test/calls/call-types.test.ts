/** What no call begins with is refused before anything leaves, by whichever way of calling. */
import test, { type ExecutionContext } from 'ava';
import { MeshError, type Peer } from '../../src/index.js';
import { startNode, TEST_TRANSPORTS, targetOf } from '../helpers/nodes.js';

const log = { term: 1, prevIndex: 0, commitIndex: 0, entries: [] };

/** Of no type at all, or of one that begins no call of any kind. */
const NO_CALLS: readonly unknown[] = [
  undefined,
  null,
  'queryRequest',
  {},
  { query: 'select 1' },
  { type: undefined },
  { type: 7 },
  { type: ['request'] },
  { type: 'queryrequest', query: 'select 1' },
  { type: 'toString' },
  { type: 'constructor' },
  { type: '__proto__' },
  { type: 'response', body: 1 },
  { type: 'pong' },
  { type: 'error', code: 'Overloaded', text: '' },
  { type: 'handshakeRequest' },
  Object.create({ type: 'request', method: 'inherited' }),
];

for (const transport of TEST_TRANSPORTS) {
  test(`${transport}: a message whose type begins no such call is refused, and nothing leaves`, async (t) => {
    const n2 = await startNode(t, 'n2', { transports: [transport] });
    let ran = 0;
    const count = () => {
      ran += 1;
      return {};
    };
    n2.handle('query', count).handle('request', count);
    n2.handle('replicationLog', count).handle('dataTransfer', () => {
      ran += 1;
    });
    const n1 = await startNode(t, 'n1', { transports: [transport] });
    const peer = await n1.connect(targetOf(n2));
    for (const message of NO_CALLS) await refusesAll(t, peer, message as never);
    // What begins a call, but not in that way.
    await t.throwsAsync(() => peer.request({ type: 'dataTransfer' } as never), INVALID);
    await t.throwsAsync(() => peer.send({ type: 'ping' } as never), INVALID);
    await t.throwsAsync(() => peer.send({ type: 'queryRequest', query: 'q' } as never), INVALID);
    t.throws(() => peer.trySend({ type: 'ping' } as never), INVALID);
    await t.throwsAsync(() => peer.batch().request({ type: 'request' } as never), INVALID);
    t.throws(() => peer.stream({ type: 'request', transferId: 'a' } as never), INVALID);
    t.throws(() => peer.stream(undefined as never), INVALID);
    const throwing = {
      get type() {
        throw new Error('no type');
      },
    } as never;
    await t.throwsAsync(peer.request(throwing), INVALID);
    await t.throwsAsync(peer.send(throwing), INVALID);
    t.is(peer.connections[0]?.calls.sent, 0);
    t.is(ran, 0);
    t.is(n2.counters.refusals.calls, 0);
    await peer.request({ type: 'replicationLog', ...log });
    t.is(ran, 1);
  });

  test(`${transport}: so it is while there is no connection`, async (t) => {
    const n2 = await startNode(t, 'n2', { transports: [transport] });
    const n1 = await startNode(t, 'n1', { transports: [transport] });
    const target = targetOf(n2);
    await n2.close();
    const peer = n1.connectEarly(target);
    for (const message of NO_CALLS) await refusesAll(t, peer, message as never);
  });
}

const INVALID = { instanceOf: MeshError, code: 'InvalidArgument' } as const;

async function refusesAll(t: ExecutionContext, peer: Peer, message: never): Promise<void> {
  const text = JSON.stringify(message);
  await t.throwsAsync(() => peer.request(message), INVALID, text);
  await t.throwsAsync(() => peer.request(message, { latestOnly: 'key' }), INVALID, text);
  await t.throwsAsync(() => peer.send(message), INVALID, text);
  t.throws(() => peer.trySend(message), INVALID, text);
  await t.throwsAsync(() => peer.batch().request(message), INVALID, text);
}
