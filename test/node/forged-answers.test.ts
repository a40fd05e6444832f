/** Answers that anybody can forge stop no node from dialing; those of a peer that has proved itself do. */
import { X509Certificate } from 'node:crypto';
import { createServer } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import type { MeshErrorCode, MeshNode, NodeEvent, NodeOptions } from '../../src/index.js';
import { nodeCert } from '../helpers/certs.js';
import { startNode, TEST_TRANSPORTS, targetOf } from '../helpers/nodes.js';
import { PathAttacker } from '../helpers/path-attacker.js';
import { forgedInitial, idsOf, isInitial } from '../helpers/quic/forged-answers.js';
import { connectionCloseFrame } from '../helpers/quic/frames.js';
import { until } from '../helpers/until.js';

const ALERTS = [45, 46, 48, 120];
/** A refusal by the peer is left alone for longer than that. */
const SHORT_MS = 25_000;

for (const alert of ALERTS) {
  test(`a forged alert ${alert} over QUIC leads to TCP, and stops nothing where there is none`, async (t) => {
    const n2 = await startNode(t, 'n2');
    const attacker = await PathAttacker.start(t, targetOf(n2));
    let left = 1;
    attacker.tamper = (direction, datagram) => {
      if (direction === 'toClient' || !isInitial(datagram) || left === 0) return [datagram];
      left -= 1;
      attacker.inject(forgedInitial(idsOf(datagram), connectionCloseFrame(0x100 + alert)));
      return [];
    };
    const target = { nodeId: 'n2', ...attacker.address };
    const n1 = await startNode(t, 'n1', { listen: undefined });
    t.is((await n1.connect(target, { retry: true })).transport, 'tcp');
    t.is(left, 0);

    left = 1;
    const n3 = await startNode(t, 'n3', {
      listen: undefined,
      transports: ['quic'],
      reconnect: { minDelayMs: 10, maxDelayMs: 20 },
    });
    const failures = failuresOf(n3);
    t.is((await n3.connect(target, { retry: true })).transport, 'quic');
    t.is(left, 0);
    t.is(failures.length, 1);
    assertUnreached(t, failures);
  });
}

test('an alert forged over TCP leads to QUIC, and stops nothing where there is none', async (t) => {
  const n2 = await startNode(t, 'n2', { transports: ['quic'] });
  const { host, port } = targetOf(n2);
  let forged = 0;
  const server = createServer((socket) => {
    socket.on('error', () => {});
    forged += 1;
    socket.once('data', () => socket.end(Buffer.from([0x15, 3, 3, 0, 2, 2, 48])));
  });
  t.teardown(() => server.close());
  await new Promise<void>((resolve) => server.listen(port, host, resolve));
  const n1 = await startNode(t, 'n1', { listen: undefined, transports: ['tcp', 'quic'] });
  t.is((await n1.connect(targetOf(n2), { retry: true })).transport, 'quic');
  t.is(forged, 1);

  const n3 = await startNode(t, 'n3', {
    listen: undefined,
    transports: ['tcp'],
    reconnect: { minDelayMs: 10, maxDelayMs: 20 },
  });
  const failures = failuresOf(n3);
  const giveUp = new AbortController();
  const dial = n3.connect(targetOf(n2), { retry: true, signal: giveUp.signal });
  dial.catch(() => {});
  await until(() => failures.length >= 2);
  giveUp.abort();
  await t.throwsAsync(dial);
  assertUnreached(t, failures);
});

for (const transport of TEST_TRANSPORTS) {
  test(`${transport}: what a peer says that has proved itself stays a refusal, and stops dialing`, async (t) => {
    const revoked = [new X509Certificate((await nodeCert('n1')).cert).fingerprint256];
    const refusals: readonly (readonly [MeshErrorCode, Partial<NodeOptions>])[] = [
      // A silent node answers nobody of another cluster over QUIC.
      ['ClusterMismatch', { cluster: 'another', admission: { silent: 'off' } }],
      ['CertificateRevoked', { tls: { ...(await nodeCert('n2')), revoked } }],
    ];
    for (const [code, options] of refusals) {
      const n2 = await startNode(t, 'n2', options);
      const n1 = await startNode(t, 'n1', { listen: undefined, transports: [transport] });
      const failures = failuresOf(n1);
      const dial = n1.connect(targetOf(n2), { retry: true });
      t.like(await t.throwsAsync(dial), { code, side: 'remote' });
      await until(() => failures.length > 0);
      t.like(failures[0]?.error, { code, side: 'remote' });
      t.true((failures[0]?.retryInMs ?? 0) > SHORT_MS);
    }
  });
}

type Failure = Extract<NodeEvent, { kind: 'dialFailed' }>;

function failuresOf(node: MeshNode): Failure[] {
  const failures: Failure[] = [];
  void (async () => {
    for await (const event of node.status()) if (event.kind === 'dialFailed') failures.push(event);
  })();
  return failures;
}

function assertUnreached(t: ExecutionContext, failures: readonly Failure[]): void {
  for (const { error, retryInMs } of failures) {
    t.is(error.code, 'ConnectFailed');
    t.regex(error.message, /not reached: somebody answered/);
    t.true(retryInMs === undefined || retryInMs < SHORT_MS);
  }
}
