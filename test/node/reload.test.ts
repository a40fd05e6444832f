/** Certificates that change while nodes run: what is new goes by the new ones, what is open stays, if it still may. */
import { X509Certificate } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import type { MeshErrorCode } from '../../src/errors.js';
import type { MeshNode, NodeOptions, Peer, TlsMaterial } from '../../src/index.js';
import { QuicTransport } from '../../src/transport/quic/transport.js';
import { TcpTransport } from '../../src/transport/tcp/transport.js';
import { EventLog, keepCalling, serveEcho } from '../helpers/calling.js';
import { certNamed, devCerts, nodeCert, otherCaCert, type TestNodeId } from '../helpers/certs.js';
import { startNode, TEST_TRANSPORTS, type TestTransport, targetOf } from '../helpers/nodes.js';
import { opensslCrl } from '../helpers/openssl-crls.js';
import { until } from '../helpers/until.js';

/** A node whose certificates can be changed. */
interface Changing {
  readonly node: MeshNode;
  readonly log: EventLog;
  tls: TlsMaterial;
  /** Puts other certificates in force. */
  change(tls: TlsMaterial): Promise<void>;
}

async function start(
  t: ExecutionContext,
  nodeId: TestNodeId,
  transport: TestTransport,
  tls?: TlsMaterial,
  timeouts: NodeOptions['timeouts'] = {},
): Promise<Changing> {
  const changing = { tls: tls ?? (await nodeCert(nodeId)) } as {
    -readonly [K in keyof Changing]: Changing[K];
  };
  const options = {
    transports: [transport],
    tls: () => changing.tls,
    renewal: { afterMs: 60_000 },
    timeouts,
  };
  changing.node = await startNode(t, nodeId, options);
  changing.log = new EventLog(changing.node);
  changing.change = async (fresh) => {
    changing.tls = fresh;
    await changing.node.reloadTls();
  };
  serveEcho(changing.node);
  return changing;
}

/** n1 has dialed n2, and both know. */
async function connected(n1: Changing, n2: Changing): Promise<[Peer, Peer]> {
  const there = await n1.node.connect(targetOf(n2.node));
  await until(() => n2.node.peer(n1.node.nodeId)?.isConnected === true);
  return [there, n2.node.peer(n1.node.nodeId) as Peer];
}

const shownBy = (peer: Peer): string[] =>
  peer.connections.map(({ certificate }) => certificate.fingerprint256);
const fingerprintOf = ({ cert }: TlsMaterial): string => new X509Certificate(cert).fingerprint256;

for (const transport of TEST_TRANSPORTS) {
  test(`${transport}: a listener shows its new certificate at once, and open connections stay`, async (t) => {
    const [n1, n2] = [await start(t, 'n1', transport), await start(t, 'n2', transport)];
    const [there, back] = await connected(n1, n2);
    const calling = keepCalling([there, back]);
    const before = fingerprintOf(n2.tls);
    const fresh = await certNamed('n2');
    await n2.change(fresh);
    t.is((await n2.log.next('tlsReloaded')).fingerprint256, fingerprintOf(fresh));
    const n3 = await start(t, 'n3', transport);
    const [late] = await connected(n3, n2);
    t.deepEqual(shownBy(late), [fingerprintOf(fresh)]);
    const soFar = calling.answered;
    await until(() => calling.answered >= soFar + 50);
    t.deepEqual(shownBy(there), [before]);
    await calling.stop();
    for (const { log } of [n1, n2]) t.false(log.has('peerDown'));
  });

  test(`${transport}: a listener takes a new CA and a new list of revoked certificates at once`, async (t) => {
    const [n2, stranger] = [await start(t, 'n2', transport), await otherCaCert('n3')];
    const { ca } = n2.tls;
    const n3 = await start(t, 'n3', transport, { ...stranger, ca });
    const dial = () => n3.node.connect(targetOf(n2.node));
    t.like(await t.throwsAsync(dial), { code: 'CertificateUntrusted', side: 'remote' });
    await n2.change({ ...n2.tls, ca: ca + stranger.ca });
    await t.notThrowsAsync(dial);
    await n3.node.peer('n2')?.close();
    await n2.change({ ...n2.tls, revoked: [fingerprintOf(stranger)] });
    t.like(await t.throwsAsync(dial), { code: 'CertificateRevoked', side: 'remote' });
    await n2.change({ ...n2.tls, revoked: [] });
    await t.notThrowsAsync(dial);
  });

  test(`${transport}: a dialer that has another certificate shows it to its peers, and no call fails`, async (t) => {
    const [n1, n2] = [await start(t, 'n1', transport), await start(t, 'n2', transport)];
    const [there, back] = await connected(n1, n2);
    const calling = keepCalling([there, back], 8);
    const fresh = await certNamed('n1');
    await n1.change(fresh);
    await until(() => shownBy(back).join() === fingerprintOf(fresh));
    const soFar = calling.answered;
    await until(() => calling.answered >= soFar + 50);
    await calling.stop();
    const down = await n1.log.next('peerDown');
    t.like(down.error, { code: 'NoError', side: 'local' });
    t.true(n1.log.has('renewed'));
  });

  test(`${transport}: what cannot be loaded changes nothing, and is told`, async (t) => {
    const [n1, n2] = [await start(t, 'n1', transport), await start(t, 'n2', transport)];
    const [there] = await connected(n1, n2);
    const good = n2.tls;
    const { key } = await nodeCert('n3');
    for (const bad of [
      { ...good, key },
      { ...good, key: 'no key' },
      { ...good, ca: '' },
      { ...good, cert: 'no certificate' },
      { ...good, revoked: ['no hex'] },
      { ...good, more: 1 } as TlsMaterial,
    ]) {
      t.like(await t.throwsAsync(n2.change(bad)), { code: 'InvalidOptions' });
    }
    t.false(n2.log.has('tlsReloaded'));
    t.is((await there.request({ type: 'queryRequest', query: 'x' })).result, 'x');
    t.is(there.connections.length, 1);
    const n3 = await start(t, 'n3', transport);
    const [late] = await connected(n3, n2);
    t.deepEqual(shownBy(late), [fingerprintOf(good)]);
  });

  test(`${transport}: a peer that was revoked is closed on both sides, others stay`, async (t) => {
    const [n1, n2, n3] = [
      await start(t, 'n1', transport),
      await start(t, 'n2', transport),
      await start(t, 'n3', transport),
    ];
    const [[, back], [other]] = [await connected(n1, n2), await connected(n3, n2)];
    await n2.change({ ...n2.tls, revoked: [fingerprintOf(n1.tls)] });
    await assertEnded(t, { by: n2, told: n1 }, 'CertificateRevoked');
    t.false(back.isConnected);
    t.is((await other.request({ type: 'queryRequest', query: 'x' })).result, 'x');
    t.false(n3.log.has('peerDown'));
    // A dialer does the same to whom it dialed.
    const n2Serial = new X509Certificate(n2.tls.cert).serialNumber;
    await n3.change({ ...n3.tls, revoked: [n2Serial] });
    await assertEnded(t, { by: n3, told: n2 }, 'CertificateRevoked');
    t.like(await t.throwsAsync(n3.node.connect(targetOf(n2.node))), { code: 'CertificateRevoked' });
  });

  test(`${transport}: a peer that a new CRL revokes is closed on both sides, others stay`, async (t) => {
    const [n1, n2, n3] = [
      await start(t, 'n1', transport),
      await start(t, 'n2', transport),
      await start(t, 'n3', transport),
    ];
    await connected(n1, n2);
    const [other] = await connected(n3, n2);
    const { ca, caKey } = await devCerts();
    const { pem } = await opensslCrl({ ca, caKey, revoked: [n1.tls.cert] });
    await n2.change({ ...n2.tls, crl: pem });
    await assertEnded(t, { by: n2, told: n1 }, 'CertificateRevoked');
    t.is((await other.request({ type: 'queryRequest', query: 'x' })).result, 'x');
    t.false(n3.log.has('peerDown'));
    t.like(await t.throwsAsync(n2.change({ ...n2.tls, crl: 'none' })), { code: 'InvalidOptions' });
    // The old CRL is in force still.
    const dial = n1.node.connect(targetOf(n2.node));
    t.like(await t.throwsAsync(dial), { code: 'CertificateRevoked', side: 'remote' });
  });

  test(`${transport}: a dialer that has dialed but not shaken hands is closed when it is revoked`, async (t) => {
    const [n2, n1Tls] = [await start(t, 'n2', transport), await nodeCert('n1')];
    const own =
      transport === 'quic'
        ? new QuicTransport({ cluster: 'test', tls: () => n1Tls })
        : new TcpTransport({ cluster: 'test', tls: () => n1Tls });
    t.teardown(() => own.close());
    const connection = await own.dial(targetOf(n2.node));
    // On TCP the dialer is done first.
    await until(() => n2.node.counters.transports[transport]?.accepted === 1);
    await n2.change({ ...n2.tls, revoked: [fingerprintOf(n1Tls)] });
    t.like(await connection.closed, { code: 'CertificateRevoked', side: 'remote' });
    t.is((await n2.log.next('refused')).error.code, 'CertificateRevoked');
  });

  test(`${transport}: a peer whose CA is trusted no more is closed on both sides`, async (t) => {
    const old = await otherCaCert('n1');
    const n2 = await start(t, 'n2', transport, await twoCas('n2', old.ca));
    const n1 = await start(t, 'n1', transport, { ...old, ca: n2.tls.ca });
    const n3 = await start(t, 'n3', transport);
    await connected(n1, n2);
    const [other] = await connected(n3, n2);
    await n2.change(await nodeCert('n2'));
    await assertEnded(t, { by: n2, told: n1 }, 'CertificateUntrusted');
    t.is((await other.request({ type: 'queryRequest', query: 'x' })).result, 'x');
    t.false(n3.log.has('peerDown'));
  });

  test(`${transport}: a peer that was dialed and still has a certificate of the old CA is closed, too`, async (t) => {
    const old = await otherCaCert('n2');
    const n1 = await start(t, 'n1', transport, await twoCas('n1', old.ca));
    const n2 = await start(t, 'n2', transport, { ...old, ca: n1.tls.ca });
    await connected(n1, n2);
    await n1.change(await nodeCert('n1'));
    await assertEnded(t, { by: n1, told: n2 }, 'CertificateUntrusted');
  });

  test(`${transport}: calls move to what a peer shows by now; who stays behind has timeouts.drainMs`, async (t) => {
    const old = await otherCaCert('n2');
    // Long enough for calls to move on a busy machine.
    const n1 = await start(t, 'n1', transport, await twoCas('n1', old.ca), { drainMs: 6000 });
    const n2 = await start(t, 'n2', transport, { ...old, ca: n1.tls.ca });
    let release = (): void => {};
    n2.node.handle(
      'request',
      () =>
        new Promise((resolve) => {
          release = () => resolve({ body: 'late' });
        }),
    );
    const [there, back] = await connected(n1, n2);
    await n2.change(await nodeCert('n2'));
    const slow = there.request({ type: 'request', method: 'slow' }, { timeoutMs: 60_000 });
    slow.catch(() => {});
    const calling = keepCalling([there, back]);
    await until(() => calling.answered > 10);
    await n1.change(await nodeCert('n1'));
    await n1.log.next('renewed');
    t.like(await t.throwsAsync(slow), { code: 'CertificateUntrusted', maybeExecuted: true });
    release();
    await calling.stop();
    await until(() => shownBy(there).join() === fingerprintOf(n2.tls));
  });

  test(`${transport}: a connection that was dialed while the certificate changed shows the new one soon`, async (t) => {
    const [n1, n2] = [await start(t, 'n1', transport), await start(t, 'n2', transport)];
    const fresh = await certNamed('n1');
    const dialed = n1.node.connect(targetOf(n2.node));
    await n1.change(fresh);
    await dialed;
    const shown = (): string => {
      const back = n2.node.peer('n1');
      return back === undefined ? '' : shownBy(back).join();
    };
    await until(() => shown() === fingerprintOf(fresh));
    t.is(shown(), fingerprintOf(fresh));
  });

  test(`${transport}: a peer whose certificate has expired is closed when certificates are reloaded`, async (t) => {
    const n2 = await start(t, 'n2', transport);
    const notAfter = new Date(Date.now() + 10_000);
    const n1 = await start(t, 'n1', transport, await certNamed('n1', { notAfter }));
    await connected(n1, n2);
    await until(() => Date.now() > notAfter.getTime() + 1000);
    t.false(n2.log.has('peerDown'));
    await n2.change(n2.tls);
    await assertEnded(t, { by: n2, told: n1 }, 'CertificateExpired');
  });
}

test('a session is not resumed with another CA, or another certificate of either side', async (t) => {
  const [n1, n2] = [await start(t, 'n1', 'quic'), await start(t, 'n2', 'quic')];
  const dialAgain = async (): Promise<boolean> => {
    const before = n1.node.counters.transports.quic?.resumed as number;
    const peer = await n1.node.connect(targetOf(n2.node));
    // An answer comes behind the session, which the next dial has then.
    await peer.ping();
    await peer.close();
    await until(() => n2.node.peer('n1')?.connections.length === 0);
    return (n1.node.counters.transports.quic?.resumed as number) > before;
  };
  await dialAgain();
  t.true(await dialAgain());
  const { ca } = await otherCaCert('n3');
  await n1.change({ ...n1.tls, ca: n1.tls.ca + ca });
  t.false(await dialAgain());
  t.true(await dialAgain());
  await n1.change({ ...(await certNamed('n1')), ca: n1.tls.ca });
  t.false(await dialAgain());
  t.true(await dialAgain());
  await n2.change({ ...n2.tls, ca: n2.tls.ca + ca });
  t.false(await dialAgain());
  t.true(await dialAgain());
  await n2.change(await certNamed('n2'));
  t.false(await dialAgain());
  t.true(await dialAgain());
});

test('reloads that overlap end with what was read last', async (t) => {
  const [good, fresh] = [await nodeCert('n2'), await certNamed('n2')];
  const answers: ((tls: TlsMaterial) => void)[] = [];
  let isStarted = false;
  const n2 = await startNode(t, 'n2', {
    tls: () => (isStarted ? new Promise((resolve) => answers.push(resolve)) : good),
  });
  isStarted = true;
  const log = new EventLog(n2);
  const reloads = [n2.reloadTls(), n2.reloadTls()];
  for (const tls of [good, fresh]) {
    await until(() => answers.length > 0);
    answers.shift()?.(tls);
  }
  await Promise.all(reloads);
  await log.next('tlsReloaded', ({ fingerprint256 }) => fingerprint256 === fingerprintOf(fresh));
  t.is(answers.length, 0);
  t.like(log.events.at(-1), { kind: 'tlsReloaded', fingerprint256: fingerprintOf(fresh) });
});

async function twoCas(nodeId: TestNodeId, otherCa: string): Promise<TlsMaterial> {
  const own = await nodeCert(nodeId);
  return { ...own, ca: own.ca + otherCa };
}

/** The connection between the two is over, and both say why. */
async function assertEnded(
  t: ExecutionContext,
  { by, told }: { by: Changing; told: Changing },
  code: MeshErrorCode,
): Promise<void> {
  const between = (other: Changing) => (event: { nodeId: string }) =>
    event.nodeId === other.node.nodeId;
  t.like((await by.log.next('peerDown', between(told))).error, { code, side: 'local' });
  t.like((await told.log.next('peerDown', between(by))).error, { code, side: 'remote' });
}
