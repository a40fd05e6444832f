/** Nodes, apart from the calls between them: those are in test/compliance. */
import test from 'ava';
import { startNode, TEST_TRANSPORTS, targetOf } from '../helpers/nodes.js';

for (const transport of TEST_TRANSPORTS) {
  const transports = [transport];

  test.serial(`${transport}: many dials at once are nothing to warn of`, async (t) => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error): void => void warnings.push(warning);
    process.on('warning', onWarning);
    const n1 = await startNode(t, 'n1', { transports });
    const n2 = await startNode(t, 'n2', { transports });
    const { host, port } = targetOf(n2);
    await Promise.all(Array.from({ length: 30 }, () => n1.connect({ host, port })));
    // Warnings are told of in a later turn.
    await new Promise((resolve) => setImmediate(resolve));
    process.off('warning', onWarning);
    t.deepEqual(warnings, []);
  });

  test(`${transport}: an auth token is demanded where it is set`, async (t) => {
    const n1 = await startNode(t, 'n1', { transports, auth: { token: 'open sesame' } });
    const n2 = await startNode(t, 'n2', { transports });
    const n3 = await startNode(t, 'n3', { transports, auth: { token: 'open sesame' } });
    t.like(await t.throwsAsync(n2.connect(targetOf(n1))), {
      code: 'AuthTokenRejected',
      side: 'remote',
    });
    t.is((await n3.connect(targetOf(n1))).nodeId, 'n1');
  });

  test(`${transport}: a call whose signal is none fails, and keeps no stream open`, async (t) => {
    const n1 = await startNode(t, 'n1', { transports, timeouts: { drainMs: 60_000 } });
    const n2 = await startNode(t, 'n2', { transports });
    n2.handle('request', () => ({ body: 'done' }));
    const peer = await n1.connect(targetOf(n2));
    const signal = {} as AbortSignal;
    for (let call = 0; call < 5; call += 1) {
      await t.throwsAsync(peer.request({ type: 'request', method: 'm' }, { signal }));
    }
    t.is((await peer.request({ type: 'request', method: 'm' })).body, 'done');
    // It would wait for streams that are open.
    await n1.close();
  });
}

test('a handler has to be a function, and a kind of call one handler', async (t) => {
  const node = await startNode(t, 'n1', { listen: undefined });
  const none = undefined as unknown as () => object;
  const INVALID = { code: 'InvalidArgument' };
  t.throws(() => node.handle('query', none), { ...INVALID, message: /must be a function/ });
  node.handle('query', () => ({ result: 1 }));
  t.throws(() => node.handle('query', () => ({ result: 2 })), INVALID);
});
