/** Calls that are made again: which ones, how often, and how many by all calls together. */
import { setTimeout as delay } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import {
  type CallOptions,
  MeshError,
  type MeshNode,
  type NodeOptions,
  type Peer,
} from '../../src/index.js';
import { ChaosProxy } from '../helpers/chaos-proxy/proxy.js';
import { startNode, TEST_TRANSPORTS, targetOf } from '../helpers/nodes.js';

const QUERY = { type: 'queryRequest', query: 'q' } as const;
const OVERLOADED = { code: 'Overloaded', side: 'remote' } as const;
const SOON = { minDelayMs: 1, maxDelayMs: 2, codes: ['Overloaded'] } as const;

for (const transport of TEST_TRANSPORTS) {
  test(`${transport}: an answer is asked for again only if its code is among those to be`, async (t) => {
    const { peer, served } = await overloaded(t, { transports: [transport] }, 3);
    t.like(await t.throwsAsync(peer.request(QUERY)), OVERLOADED);
    t.is(served(), 1);
    const other = { retry: { ...SOON, codes: ['DeadlineExceeded'] } } as const;
    t.like(await t.throwsAsync(peer.request(QUERY, other)), OVERLOADED);
    t.is(served(), 2);
    t.deepEqual(peer.retries, { attempts: 0, denied: 0 });
    t.like(await peer.request(QUERY, { retry: SOON }), { result: 'q' });
    t.is(served(), 4);
    t.deepEqual(peer.retries, { attempts: 1, denied: 0 });
  });

  test(`${transport}: attempts are counted with the first`, async (t) => {
    const { peer, served } = await overloaded(t, { transports: [transport] });
    for (const attempts of [1, 2, 5]) {
      const before = served();
      const call = peer.request(QUERY, { retry: { ...SOON, attempts } });
      t.like(await t.throwsAsync(call), { ...OVERLOADED, maybeExecuted: false });
      t.is(served() - before, attempts);
    }
  });

  test(`${transport}: what the node says holds for calls that say nothing`, async (t) => {
    const options = { transports: [transport], retry: { ...SOON, attempts: 4 } };
    const { peer, served } = await overloaded(t, options);
    t.like(await t.throwsAsync(peer.request(QUERY)), OVERLOADED);
    t.is(served(), 4);
    t.like(await t.throwsAsync(peer.request(QUERY, { retry: { attempts: 2 } })), OVERLOADED);
    t.is(served(), 6);
    t.like(await t.throwsAsync(peer.request(QUERY, { retry: false })), OVERLOADED);
    t.is(served(), 7);
  });

  test(`${transport}: a storm of failures is bounded by the budget`, async (t) => {
    const limits = { budget: 20, budgetRatio: 0.1 };
    const options = {
      transports: [transport],
      retry: { ...SOON, attempts: 6, ...limits },
    };
    const { peer, served } = await overloaded(t, options);
    const calls = 200;
    const failures = await Promise.all(
      Array.from({ length: calls }, () => t.throwsAsync<MeshError>(peer.request(QUERY))),
    );
    for (const failure of failures) t.like(failure, { ...OVERLOADED, maybeExecuted: false });
    const { attempts, denied } = peer.retries;
    t.is(served(), calls + attempts);
    t.true(served() <= calls * (1 + limits.budgetRatio) + limits.budget, `${served()}`);
    t.true(attempts >= limits.budget);
    t.is(
      failures.filter(({ cause }) => (cause as MeshError)?.code === 'Overloaded').length,
      denied,
    );
    t.true(denied > 0);
  });

  test(`${transport}: no attempt begins past the deadline`, async (t) => {
    const { peer, served } = await overloaded(t, { transports: [transport] });
    const retry = { attempts: 1000, minDelayMs: 0x7fff_ffff, maxDelayMs: 0x7fff_ffff };
    const options = { timeoutMs: 20_000, retry: { ...retry, codes: SOON.codes } };
    t.like(await t.throwsAsync(peer.request(QUERY, options)), OVERLOADED);
    t.is(served(), 1);
  });

  test(`${transport}: a signal ends the pause between two attempts`, async (t) => {
    const { peer, served, answered } = await overloaded(t, { transports: [transport] });
    const given = new AbortController();
    const retry = { ...SOON, minDelayMs: 3_600_000, maxDelayMs: 3_600_000 };
    const call = peer.request(QUERY, {
      timeoutMs: Number.POSITIVE_INFINITY,
      signal: given.signal,
      retry,
    });
    await answered;
    // The answer is here once another one is.
    await t.throwsAsync(peer.request(QUERY, { retry: false }));
    given.abort(new Error('not needed any more'));
    const error = await t.throwsAsync(call);
    t.like(error, { code: 'Cancelled', maybeExecuted: false });
    t.is((error?.cause as Error | undefined)?.message, 'not needed any more');
    t.is(served(), 2);
  });

  test(`${transport}: what may have run is made again only if it is replay-safe`, async (t) => {
    let runs = 0;
    const { peer } = await setUp(t, { transports: [transport] }, () => {
      runs += 1;
      throw new MeshError('DeadlineExceeded', 'ran, and was too slow');
    });
    const retry = { ...SOON, attempts: 3, codes: ['DeadlineExceeded'] } as const;
    const late = { code: 'DeadlineExceeded', side: 'remote', maybeExecuted: true } as const;
    t.like(await t.throwsAsync(peer.request(QUERY, { retry })), late);
    t.is(runs, 1);
    t.like(await t.throwsAsync(peer.request(QUERY, { retry, replaySafe: true })), late);
    t.is(runs, 4);
  });

  test(`${transport}: a lost call goes on only where it may, and takes from the budget`, async (t) => {
    const started: (() => void)[] = [];
    let runs = 0;
    const n2 = await startNode(t, 'n2', {
      transports: [transport],
      quic: { migration: false },
      timeouts: { drainMs: 1 },
    });
    n2.handle('query', () => {
      runs += 1;
      started.shift()?.();
      return new Promise(() => {});
    });
    const proxy = await ChaosProxy.start({ target: targetOf(n2), keepOldPorts: false });
    t.teardown(() => proxy.close());
    const n1 = await startNode(t, 'n1', {
      transports: [transport],
      listen: undefined,
      timeouts: { drainMs: 1 },
      quic: { migration: false },
      health: { intervalMs: 100 },
      retry: { budget: 1, budgetRatio: 0 },
    });
    const peer = await n1.connect({ nodeId: 'n2', ...proxy.address });
    const lose = async (): Promise<void> => {
      // Before its handshake is done a connection that fails was none, and calls wait for another.
      while (!peer.isConnected) await delay(5);
      await (transport === 'tcp' ? proxy.reset() : proxy.rebind());
    };
    const call = (options: CallOptions): { begun: Promise<void>; call: Promise<unknown> } => {
      const begun = new Promise<void>((resolve) => started.push(resolve));
      return { begun, call: peer.request(QUERY, { timeoutMs: 60_000, ...options }) };
    };
    for (const options of [{}, { replaySafe: true, retry: false }] as const) {
      const once = call(options);
      await once.begun;
      await lose();
      t.like(await t.throwsAsync(once.call), { maybeExecuted: true });
    }
    t.is(runs, 2);
    t.deepEqual(peer.retries, { attempts: 0, denied: 0 });
    const twice = call({ replaySafe: true });
    await twice.begun;
    const again = new Promise<void>((resolve) => started.push(resolve));
    await lose();
    await again;
    t.deepEqual(peer.retries, { attempts: 1, denied: 0 });
    await lose();
    const error = await t.throwsAsync<MeshError>(twice.call);
    t.true(error?.maybeExecuted);
    t.is((error?.cause as MeshError | undefined)?.code, error?.code);
    t.is(runs, 4);
    t.deepEqual(peer.retries, { attempts: 1, denied: 1 });
  });

  test(`${transport}: calls that never left go by the next connection without the budget's leave`, async (t) => {
    const options = {
      transports: [transport],
      quic: { migration: false },
      timeouts: { drainMs: 1 },
    };
    const n2 = await startNode(t, 'n2', { ...options, limits: { streams: 2 } });
    let hanging = 0;
    n2.handle('request', ({ method }) => {
      if (method !== 'hang') return {};
      hanging += 1;
      return new Promise(() => {});
    });
    const proxy = await ChaosProxy.start({ target: targetOf(n2), keepOldPorts: false });
    t.teardown(() => proxy.close());
    const n1 = await startNode(t, 'n1', {
      ...options,
      listen: undefined,
      // Where it is sooner, a busy machine may be dialing again when the path goes, and that dial goes with it.
      health: { intervalMs: 500 },
      retry: { budget: 0, budgetRatio: 0 },
    });
    const peer = await n1.connect({ nodeId: 'n2', ...proxy.address });
    const ask = (method: string, replaySafe: boolean) =>
      peer.request({ type: 'request', method }, { timeoutMs: 60_000, replaySafe });
    const lost = [ask('hang', true), ask('hang', false)];
    while (hanging < 2) await delay(5);
    const waiting = Array.from({ length: 10 }, () => ask('answer', false));
    await (transport === 'tcp' ? proxy.reset() : proxy.rebind());
    for (const call of lost) t.like(await t.throwsAsync(call), { maybeExecuted: true });
    await Promise.all(waiting);
    t.is(peer.retries.denied, 1);
    t.true(peer.retries.attempts >= waiting.length);
  });
}

test('a policy that is none is refused, and nothing is sent', async (t) => {
  const { peer, served } = await overloaded(t, {});
  for (const wrong of [
    { attempts: 0 },
    { attempts: 1.5 },
    { attempts: 1001 },
    { minDelayMs: -1 },
    { minDelayMs: 10, maxDelayMs: 9 },
    { maxDelayMs: Number.POSITIVE_INFINITY },
    { codes: ['InvalidOptions'] as const },
    { codes: ['Nonsense'] as never },
    { codes: 'Overloaded' as never },
  ]) {
    const call = peer.request(QUERY, { retry: wrong });
    t.like(await t.throwsAsync(call), { code: 'InvalidArgument' }, JSON.stringify(wrong));
  }
  t.is(served(), 0);
});

interface Overloaded {
  readonly peer: Peer;
  /** Calls that reached the handler. */
  readonly served: () => number;
  /** Fulfils when the first one has. */
  readonly answered: Promise<void>;
}

/** A peer that answers Overloaded, the first so many times or always. */
async function overloaded(
  t: ExecutionContext,
  options: Partial<NodeOptions>,
  times = Number.POSITIVE_INFINITY,
): Promise<Overloaded> {
  let served = 0;
  let first: () => void = () => {};
  const answered = new Promise<void>((resolve) => {
    first = resolve;
  });
  const { peer } = await setUp(t, options, () => {
    served += 1;
    first();
    if (served <= times) throw new MeshError('Overloaded', 'come back later');
    return { result: 'q' };
  });
  return { peer, served: () => served, answered };
}

async function setUp(
  t: ExecutionContext,
  options: Partial<NodeOptions>,
  handler: () => { result: string },
): Promise<{ n1: MeshNode; peer: Peer }> {
  const { transports } = options;
  const n2 = await startNode(t, 'n2', { transports });
  n2.handle('query', handler);
  const n1 = await startNode(t, 'n1', { ...options, listen: undefined });
  return { n1, peer: await n1.connect(targetOf(n2)) };
}
