/** Two nodes that call each other, and call back from their handlers, while both have all under way that they may. */
import test, { type ExecutionContext } from 'ava';
import type { MeshNode, NodeOptions, Peer } from '../../src/index.js';
import { startNode, TEST_TRANSPORTS, type TestTransport, targetOf } from '../helpers/nodes.js';
import { until } from '../helpers/until.js';

const MIB = 1024 * 1024;
const PATIENT = { timeoutMs: 50_000 };
const LIMITS = { limits: { connectionBytes: 16 * MIB } };
/** Two of them are more than a connection may have under way. */
const BODY = Buffer.alloc(9 * MIB, 1);
const BACK = Buffer.alloc(2 * MIB, 2);

for (const transport of TEST_TRANSPORTS) {
  test(`${transport}: handlers call back while both sides have as much under way as they may`, async (t) => {
    const { near, far } = await makePair(t, transport);
    const together = gather(2 * 2);
    for (const { node, peer } of [near, far]) {
      node.handle('request', async ({ body }) => {
        if ((body as Uint8Array).length === BACK.length) return { body: 'back' };
        await together();
        const answer = await peer().request({ type: 'request', method: 'm', body: BACK }, PATIENT);
        await peer().send({ type: 'request', method: 'm', body: BACK }, PATIENT);
        return { body: answer.body };
      });
    }
    const calls = [near, far].flatMap(({ peer }) =>
      // The last one waits for the others.
      [1, 2, 3].map(() => peer().request({ type: 'request', method: 'm', body: BODY }, PATIENT)),
    );
    for (const { body } of await Promise.all(calls)) t.is(body, 'back');
  });

  test(`${transport}: transfers go on in both directions while both sides have as much under way as they may`, async (t) => {
    const { near, far } = await makePair(t, transport);
    const together = gather(2 * 2);
    const piece = Buffer.alloc(100_000, 3);
    for (const { node, peer } of [near, far]) {
      node.handle('dataTransfer', async function* (_request, { body }) {
        for await (const chunk of body) yield chunk;
      });
      node.handle('request', async () => {
        await together();
        let bytes = 0;
        const body = Array.from({ length: 50 }, () => piece);
        for await (const chunk of peer().stream(
          { transferId: `${node.nodeId}-${bytes}` },
          { body },
        ))
          bytes += chunk.length;
        return { body: bytes };
      });
    }
    const calls = [near, far].flatMap(({ peer }) =>
      [1, 2].map(() => peer().request({ type: 'request', method: 'm', body: BODY }, PATIENT)),
    );
    for (const { body } of await Promise.all(calls)) t.is(body, 50 * piece.length);
  });

  test(`${transport}: handlers call back while both sides run as many calls as they may`, async (t) => {
    const limits = { limits: { callsPerPeer: 4 } };
    const { near, far } = await makePair(t, transport, limits);
    const together = gather(2 * 4);
    for (const { node, peer } of [near, far]) {
      node.handle('query', () => ({ result: node.nodeId }));
      node.handle('request', async () => {
        await together();
        const { result } = await peer().request({ type: 'queryRequest', query: 'q' }, PATIENT);
        return { body: result };
      });
    }
    const calls = [near, far].flatMap(({ node, peer }) =>
      [1, 2, 3, 4].map(async () => {
        const { body } = await peer().request({ type: 'request', method: 'm' }, PATIENT);
        t.is(body, node.nodeId);
      }),
    );
    await Promise.all(calls);
  });

  test(`${transport}: a handler that calls with more than may be under way has its calls wait`, async (t) => {
    const { near, far } = await makePair(t, transport);
    near.node.handle('request', ({ body }) => ({ body: (body as Uint8Array).length }));
    far.node.handle('query', async () => {
      const call = () => far.peer().request({ type: 'request', method: 'm', body: BODY }, PATIENT);
      const answers = await Promise.all([call(), call(), call(), call()]);
      return { result: answers.map(({ body }) => body) };
    });
    const ask = () => near.peer().request({ type: 'queryRequest', query: 'q' }, PATIENT);
    // Two such handlers, whose calls wait for each other's.
    for (const { result } of await Promise.all([ask(), ask()])) {
      t.deepEqual(result, Array(4).fill(BODY.length));
    }
  });

  test(`${transport}: a waiting call of a handler ends with its connection`, async (t) => {
    const { near, far } = await makePair(t, transport);
    let held = 0;
    near.node.handle('request', async (_request, { signal }) => {
      held += 1;
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      return {};
    });
    let codes: unknown[] = [];
    far.node.handle('query', async () => {
      const call = () =>
        far
          .peer()
          .request({ type: 'request', method: 'm', body: BODY }, { ...PATIENT, retry: false })
          .catch(({ code }) => code);
      codes = await Promise.all([call(), call(), call()]);
      return {};
    });
    const asked = near.peer().request({ type: 'queryRequest', query: 'q' }, PATIENT);
    await until(() => held === 2);
    await near.peer().close();
    await t.throwsAsync(asked);
    await until(() => codes.length === 3);
    t.deepEqual(codes, Array(3).fill('ConnectionClosed'));
  });

  test(`${transport}: calls of a handler whose own call a handler made are refused where they would wait`, async (t) => {
    const { near, far } = await makePair(t, transport);
    let held = 0;
    let release = (): void => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    far.node.handle('request', async () => {
      held += 1;
      await released;
      return {};
    });
    far.node.handle('query', async () => {
      const { result } = await far.peer().request({ type: 'queryRequest', query: 'q' }, PATIENT);
      return { result };
    });
    near.node.handle('query', async () => {
      const call = () => near.peer().request({ type: 'request', method: 'm', body: BODY }, PATIENT);
      const calls = [call(), call()];
      await until(() => held === 2);
      const refused = await call().catch((error) => error);
      release();
      await Promise.all(calls);
      // There is room again.
      await call();
      return { result: `${refused.code} ${refused.side} ${refused.maybeExecuted}` };
    });
    const { result } = await near.peer().request({ type: 'queryRequest', query: 'q' }, PATIENT);
    t.is(result, 'Overloaded local false');
  });

  test(`${transport}: what a handler leaves behind calls as everybody does`, async (t) => {
    const { near, far } = await makePair(t, transport);
    let release = (): void => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    let left: Promise<unknown> | undefined;
    let held = 0;
    near.node.handle('request', async () => {
      held += 1;
      await released;
      return {};
    });
    const call = () => far.peer().request({ type: 'request', method: 'm', body: BODY }, PATIENT);
    far.node.handle('query', () => {
      left = new Promise((resolve) => setTimeout(resolve, 50)).then(() =>
        // The third waits, and is not refused.
        Promise.all([call(), call(), call()]),
      );
      return {};
    });
    await near.peer().request({ type: 'queryRequest', query: 'q' }, PATIENT);
    await until(() => held === 2);
    release();
    await t.notThrowsAsync(left as Promise<unknown>);
    t.is(held, 3);
  });
}

interface Side {
  readonly node: MeshNode;
  readonly peer: () => Peer;
}

async function makePair(
  t: ExecutionContext,
  transport: TestTransport,
  limits = LIMITS as Partial<NodeOptions>,
): Promise<{ near: Side; far: Side }> {
  const n2 = await startNode(t, 'n2', { transports: [transport], ...limits });
  const n1 = await startNode(t, 'n1', { transports: [transport], ...limits });
  const peer = await n1.connect(targetOf(n2));
  await peer.ping();
  return {
    near: { node: n1, peer: () => peer },
    far: { node: n2, peer: () => n2.peer('n1') as Peer },
  };
}

/** Fulfils for all once so many wait: then both sides have all under way that they may. */
function gather(count: number): () => Promise<void> {
  let waiting = 0;
  let go = (): void => {};
  const gone = new Promise<void>((resolve) => {
    go = resolve;
  });
  return () => {
    waiting += 1;
    if (waiting >= count) go();
    return gone;
  };
}
