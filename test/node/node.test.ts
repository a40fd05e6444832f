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
}
