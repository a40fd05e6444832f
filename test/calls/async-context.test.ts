/** Whose AsyncLocalStorage context code runs in: handlers in that of their node's creation, callers in their own. */
import { AsyncLocalStorage } from 'node:async_hooks';
import test, { type ExecutionContext } from 'ava';
import type { MeshNode, NodeOptions, Peer } from '../../src/index.js';
import { collectGarbage } from '../helpers/collect-garbage.js';
import { startNode, TEST_TRANSPORTS, type TestTransport, targetOf } from '../helpers/nodes.js';
import { until } from '../helpers/until.js';

const storage = new AsyncLocalStorage<{ readonly name: string }>();
const here = (): string | undefined => storage.getStore()?.name;
const within = <T>(name: string, run: () => T): T => storage.run({ name }, run);

const LOG = { type: 'replicationLog', term: 1, prevIndex: 0, commitIndex: 0, entries: [] } as const;
const LISTENS = { host: '127.0.0.1', port: 0 };

for (const transport of TEST_TRANSPORTS) {
  for (const listen of [LISTENS, undefined]) {
    const kind = listen === undefined ? 'only dials' : 'listens';

    test(`${transport}: handlers of a node that ${kind} run in the context of its creation`, async (t) => {
      const { n1, n2, seen } = await makeNodes(t, transport, { listen });
      const target = targetOf(n2);
      const call = async (): Promise<void> => {
        // An early call is answered before its connection takes calls of the acceptor.
        await until(() => n2.peer('n1')?.isConnected === true);
        await callAll(n2.peer('n1') as Peer);
      };
      // Whoever connects, and however.
      const peer = await within('connects', () => n1.connect(target));
      await call();
      await within('closes', () => peer.close());
      await within('calls early', () =>
        n1.connectEarly(target).request({ type: 'request', method: 'm' }, { replaySafe: true }),
      );
      await call();
      if (transport === 'quic') {
        await within('migrates', () => peer.migrate());
        await within('uses the new path', () => peer.request({ type: 'request', method: 'm' }));
        await call();
      }
      // Whoever waits for the next connection, once the one there is has gone.
      const again = { retry: { attempts: 100 }, replaySafe: true, timeoutMs: 30_000 };
      for (const { role } of n2.peer('n1')?.connections ?? []) t.is(role, 'acceptor');
      await within('reloads', () => n1.reloadTls());
      const dials = within('waits', () => peer.request({ type: 'request', method: 'm' }, again));
      await dials;
      await call();
      // A transfer that stops and goes on, at the pace of readers in contexts of their own.
      await within('reads', () => readSlowly(peer));
      await call();
      t.true(seen.n1.length >= 20);
      t.deepEqual([...new Set(seen.n1)], ['n1']);
      t.deepEqual([...new Set(seen.n2)], ['n2']);
    });
  }

  test(`${transport}: callers go on in their own contexts`, async (t) => {
    const { n1, n2 } = await makeNodes(t, transport, { listen: undefined });
    const events = within('status', async () => {
      for await (const { kind } of n1.status()) {
        t.is(here(), 'status');
        if (kind === 'peerDown') return;
      }
    });
    const peer = await within('a', async () => {
      const connected = await n1.connect(targetOf(n2));
      t.is(here(), 'a');
      return connected;
    });
    const batcher = within('batcher', () => peer.batch());
    const call = (name: string): Promise<void> =>
      within(name, async () => {
        await peer.request({ type: 'request', method: 'm' });
        t.is(here(), name);
        await peer.send({ type: 'request', method: 'm' });
        t.is(here(), name);
        await peer.send(LOG, { latestOnly: 'key' }).catch(() => {});
        t.is(here(), name);
        await peer.ping();
        t.is(here(), name);
        await batcher.request(LOG);
        t.is(here(), name);
        for await (const _ of peer.stream({ transferId: name }, { body: pieces(t, name) }))
          t.is(here(), name);
        const again = { resume: true, body: () => pieces(t, name) };
        for await (const _ of peer.stream({ transferId: `${name}-2` }, again)) t.is(here(), name);
        t.is(here(), name);
        await t.throwsAsync(() => peer.request({ type: 'queryRequest', query: 'fails' }));
        t.is(here(), name);
      });
    await Promise.all(Array.from({ length: 8 }, (_, i) => call(`caller ${i}`)));
    await within('closes', () => n2.close());
    await events;
  });

  test(`${transport}: a body is pulled in the context of its caller, also where the call waits for its connection`, async (t) => {
    const { n1, n2 } = await makeNodes(t, transport, { listen: undefined });
    const peer = n1.connectEarly(targetOf(n2));
    const upload = (name: string, resume: boolean): Promise<void> =>
      within(name, async () => {
        const body = resume ? () => pieces(t, name) : pieces(t, name);
        for await (const _ of peer.stream({ transferId: name }, { resume, body }))
          t.is(here(), name);
      });
    await Promise.all([upload('a', false), upload('b', true), upload('c', false)]);
  });

  test(`${transport}: what decides for a node runs in the context of its creation`, async (t) => {
    const asked = new Set<string>();
    const note = <T>(what: string, answer: T): T => {
      asked.add(`${what} in ${here()}`);
      return answer;
    };
    const n2 = await within('n2', () =>
      startNode(t, 'n2', {
        transports: [transport],
        auth: {
          authorize: () => note('authorize', true),
          token: 'secret',
          verify: () => note('verify', true),
        },
      }),
    );
    n2.handle('request', () => ({}));
    const { port } = targetOf(n2);
    const discovery = {
      resolve: async () => note('resolve', [{ host: '127.0.0.1', port }]),
    };
    const n1 = await within('n1', () =>
      startNode(t, 'n1', { transports: [transport], discovery, auth: { token: 'secret' } }),
    );
    await within('caller', async () => {
      const peer = await n1.connect({ nodeId: 'n2', host: 'n2.somewhere', port });
      await peer.request({ type: 'request', method: 'm' });
    });
    t.deepEqual([...asked].sort(), ['authorize in n2', 'resolve in n1', 'verify in n2']);
  });

  test(`${transport}: a connection does not keep alive what its callers' contexts hold`, async (t) => {
    const { n1, n2 } = await makeNodes(t, transport, { listen: undefined });
    const held = await use(n1, n2);
    await until(() => {
      collectGarbage();
      return held.every((store) => store.deref() === undefined);
    });
    t.true(n1.peer('n2')?.isConnected);
  });
}

/** Calls in contexts that nobody else holds. */
async function use(n1: MeshNode, n2: MeshNode): Promise<WeakRef<object>[]> {
  const stores = Array.from({ length: 3 }, (_, i) => ({ name: `${i}` }));
  const held = stores.map((store) => new WeakRef(store));
  for (const store of stores.splice(0)) {
    await storage.run(store, async () => {
      const peer = await n1.connect(targetOf(n2));
      await callAll(peer);
    });
  }
  return held;
}

async function makeNodes(
  t: ExecutionContext,
  transport: TestTransport,
  options: Partial<NodeOptions>,
): Promise<{ n1: MeshNode; n2: MeshNode; seen: Record<'n1' | 'n2', (string | undefined)[]> }> {
  const seen = { n1: [], n2: [] } as Record<'n1' | 'n2', (string | undefined)[]>;
  const start = async (id: 'n1' | 'n2', its: Partial<NodeOptions>): Promise<MeshNode> => {
    const node = await within(id, () => startNode(t, id, { transports: [transport], ...its }));
    // Handlers are registered wherever that suits.
    within('registers', () => {
      const note = (): void => void seen[id].push(here());
      node.handle('request', () => {
        note();
        return {};
      });
      node.handle('query', async () => {
        note();
        throw new Error('fails');
      });
      node.handle('replicationLog', note);
      node.handle('dataTransfer', async function* (_request, { body }) {
        note();
        for await (const chunk of body) {
          note();
          yield chunk;
        }
        note();
      });
    });
    return node;
  };
  return { n1: await start('n1', options), n2: await start('n2', {}), seen };
}

async function callAll(peer: Peer): Promise<void> {
  await peer.request({ type: 'request', method: 'm' });
  await peer.request({ type: 'queryRequest', query: 'fails' }).catch(() => {});
  await peer.request(LOG);
  const body = [Buffer.alloc(100), Buffer.alloc(100)];
  for await (const _ of peer.stream({ transferId: 'all' }, { body }));
}

/** More than is held on the way, and so waited for, told where it is pulled. */
async function* pieces(t: ExecutionContext, name: string): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < 40; i += 1) {
    t.is(here(), name);
    yield Buffer.alloc(100_000);
    t.is(here(), name);
  }
}

async function readSlowly(peer: Peer): Promise<void> {
  const body = Array.from({ length: 40 }, () => Buffer.alloc(100_000));
  for await (const _ of peer.stream({ transferId: 'slow' }, { body }))
    await new Promise((resolve) => setTimeout(resolve, 1));
}
