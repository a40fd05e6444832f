/** Calls of which only the latest matters: which ones a newer one replaces, and which ones have left. */
import test, { type ExecutionContext } from 'ava';
import type { MeshNode, NodeOptions, Peer } from '../../src/index.js';
import { ChaosProxy } from '../helpers/chaos-proxy/proxy.js';
import { startNode, TEST_TRANSPORTS, targetOf } from '../helpers/nodes.js';
import { until } from '../helpers/until.js';

const SUPERSEDED = {
  code: 'Superseded',
  side: 'local',
  maybeExecuted: false,
  retryable: false,
} as const;
/** Calls wait for each other here, on busy machines too. */
const PATIENT = { timeoutMs: 50_000 } as const;
const LATEST = { ...PATIENT, latestOnly: 'beat' } as const;

for (const transport of TEST_TRANSPORTS) {
  const transports = [transport] as const;

  test(`${transport}: while there is no connection the newest call of a key waits, and those of other keys`, async (t) => {
    const { n2, served } = await server(t, { transports });
    const proxy = await ChaosProxy.start({ target: targetOf(n2) });
    t.teardown(() => proxy.close());
    const hole = (blackHole: boolean): void =>
      proxy.change({ udp: { blackHole }, tcp: { blackHole } });
    hole(true);
    const n1 = await startNode(t, 'n1', {
      transports,
      listen: undefined,
      timeouts: { connectMs: 500 },
    });
    const connected = n1.connect({ nodeId: 'n2', ...proxy.address }, { retry: true });
    const peer = n1.peer('n2') as Peer;
    const older = [ask(peer, 'a', LATEST), beat(peer, 'b', LATEST)];
    const kept = [ask(peer, 'c', LATEST), ask(peer, 'd', { ...PATIENT, latestOnly: 'other' })];
    for (const call of older) t.like(await t.throwsAsync(call), SUPERSEDED);
    t.is(peer.statistics.waiting, 2 + 1, 'and whoever waits to be connected');
    hole(false);
    await Promise.all([...kept, connected]);
    t.deepEqual([...served].sort(), ['c', 'd']);
  });

  test(`${transport}: at the peer's stream limit a newer call takes the older one's place in line`, async (t) => {
    const { n2, served, release } = await server(t, { transports, limits: { streams: 2 } });
    const n1 = await startNode(t, 'n1', { transports, listen: undefined });
    const peer = await n1.connect(targetOf(n2));
    const hanging = [ask(peer, 'hang1', PATIENT), ask(peer, 'hang2', PATIENT)];
    await until(() => served.length === 2);
    const older = ask(peer, 'a', LATEST);
    const between = ask(peer, 'hang3', PATIENT);
    // A one-way call that has not left has not settled.
    const beats = ['b', 'c', 'd'].map((name) => beat(peer, name, LATEST));
    const newest = beats.pop();
    for (const call of [older, ...beats]) t.like(await t.throwsAsync(call), SUPERSEDED);
    release('hang1');
    await newest;
    await until(() => served.length === 4);
    t.deepEqual(served, ['hang1', 'hang2', 'd', 'hang3']);
    release('hang2');
    release('hang3');
    await Promise.all([...hanging, between]);
    t.like(peer.connections[0]?.calls, { succeeded: 4, failed: 3 });
  });

  test(`${transport}: under backpressure a newer call takes the place of one that has no byte sent`, async (t) => {
    const options = { transports, compression: { algorithms: [] } };
    const { n2, served, release } = await server(t, options);
    const limits = { connectionBytes: 16 * 1024 * 1024 };
    const n1 = await startNode(t, 'n1', { ...options, limits, listen: undefined });
    const peer = await n1.connect(targetOf(n2));
    const hanging = Array.from({ length: 16 }, () =>
      ask(peer, 'hang', PATIENT, 'x'.repeat(1024 * 1024)),
    );
    await until(() => served.length === 16);
    const older = [ask(peer, 'a', LATEST), beat(peer, 'b', LATEST), ask(peer, 'c', LATEST)];
    const newest = ask(peer, 'd', LATEST);
    for (const call of older) t.like(await t.throwsAsync(call), SUPERSEDED);
    t.is(served.length, 16);
    release('hang');
    await Promise.all([...hanging, newest]);
    t.deepEqual(served.slice(16), ['d']);
  });

  test(`${transport}: a call that has left is not superseded`, async (t) => {
    const { n2, served, release } = await server(t, { transports });
    const n1 = await startNode(t, 'n1', { transports, listen: undefined });
    const peer = await n1.connect(targetOf(n2));
    const names = ['hang1', 'hang2', 'hang3'];
    const calls = names.map((name) => ask(peer, name, LATEST));
    await until(() => served.length === 3);
    await beat(peer, 'beat', LATEST);
    await until(() => served.length === 4);
    for (const name of names) release(name);
    await Promise.all(calls);
    t.deepEqual([...served].sort(), ['beat', ...names]);
  });

  test(`${transport}: whoever gives up a call that waits is told so, and a newer one still goes`, async (t) => {
    const { n2, served, release } = await server(t, { transports, limits: { streams: 2 } });
    const n1 = await startNode(t, 'n1', { transports, listen: undefined });
    const peer = await n1.connect(targetOf(n2));
    const hanging = [ask(peer, 'hang1', PATIENT), ask(peer, 'hang2', PATIENT)];
    await until(() => served.length === 2);
    const given = new AbortController();
    const older = ask(peer, 'a', { ...LATEST, signal: given.signal });
    given.abort();
    const newer = ask(peer, 'b', LATEST);
    t.like(await t.throwsAsync(older), { code: 'Cancelled', maybeExecuted: false });
    release('hang1');
    release('hang2');
    await Promise.all([...hanging, newer]);
    t.deepEqual(served, ['hang1', 'hang2', 'b']);
  });

  test(`${transport}: a newer call that cannot be sent has superseded, and leaves nothing behind`, async (t) => {
    const { n2, served, release } = await server(t, { transports, limits: { streams: 2 } });
    const n1 = await startNode(t, 'n1', {
      transports,
      listen: undefined,
      limits: { messageBytes: 128 * 1024 },
    });
    const peer = await n1.connect(targetOf(n2));
    const hanging = [ask(peer, 'hang1', PATIENT), ask(peer, 'hang2', PATIENT)];
    await until(() => served.length === 2);
    const older = ask(peer, 'a', LATEST);
    // What stands in line is not compressed yet, and what fails to be encoded takes no stream.
    const compressed = ask(peer, 'b', LATEST, 'x'.repeat(100_000));
    const tooLarge = ask(peer, 'e', LATEST, 'x'.repeat(200_000));
    for (const call of [older, compressed]) t.like(await t.throwsAsync(call), SUPERSEDED);
    t.like(await t.throwsAsync(tooLarge), { code: 'MessageTooLarge' });
    const large = ask(peer, 'c', LATEST, 'x'.repeat(100_000));
    release('hang1');
    release('hang2');
    await Promise.all([...hanging, large]);
    t.deepEqual(served, ['hang1', 'hang2', 'c']);
    t.is(peer.statistics.calls, 0);
  });
}

interface Server {
  readonly n2: MeshNode;
  /** Methods of the calls that reached the handler, in order. */
  readonly served: string[];
  /** Lets the handler of such a call answer. */
  readonly release: (method: string) => void;
}

/** A node whose handlers of `hang…` wait to be released. */
async function server(t: ExecutionContext, options: Partial<NodeOptions>): Promise<Server> {
  const served: string[] = [];
  const gates = new Map<string, () => void>();
  const gate = (name: string): Promise<void> =>
    new Promise((resolve) => {
      const before = gates.get(name);
      gates.set(name, () => {
        before?.();
        resolve();
      });
    });
  const n2 = await startNode(t, 'n2', options);
  n2.handle('request', async ({ method }) => {
    served.push(method);
    if (method.startsWith('hang')) await gate(method);
    return {};
  });
  return { n2, served, release: (method) => gates.get(method)?.() };
}

async function ask(
  peer: Peer,
  method: string,
  options: Parameters<Peer['request']>[1],
  body?: string,
): Promise<undefined> {
  await peer.request({ type: 'request', method, ...(body === undefined ? {} : { body }) }, options);
}

function beat(peer: Peer, method: string, options: Parameters<Peer['send']>[1]): Promise<void> {
  return peer.send({ type: 'request', method }, options);
}
