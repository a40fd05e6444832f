/** A CA takes the place of another while nodes run and call each other: both are trusted for a while, and no call fails. */
import { X509Certificate } from 'node:crypto';
import test from 'ava';
import { generateDevCerts } from '../../src/certs/index.js';
import type { MeshNode, Peer, TlsMaterial } from '../../src/index.js';
import { EventLog, keepCalling, serveEcho } from '../helpers/calling.js';
import { startNode, TEST_TRANSPORTS, targetOf } from '../helpers/nodes.js';
import { until } from '../helpers/until.js';

const IDS = ['n1', 'n2', 'n3'] as const;

for (const transport of TEST_TRANSPORTS) {
  test(`${transport}: a CA is replaced by another, and calls from all sides go on without a failure`, async (t) => {
    t.timeout(120_000);
    const [before, after] = [
      await generateDevCerts([...IDS, 'n4', 'n5']),
      await generateDevCerts([...IDS]),
    ];
    const tls = new Map<string, TlsMaterial>(
      IDS.map((id) => [id, { ca: before.ca, ...before.nodes[id] }]),
    );
    // A busy machine takes its time to dial again where a certificate is trusted no more.
    const options = { transports: [transport], timeouts: { drainMs: 60_000 } };
    const nodes: MeshNode[] = [];
    for (const id of IDS) {
      nodes.push(await startNode(t, id, { ...options, tls: () => tls.get(id) as TlsMaterial }));
    }
    const [n1, n2, n3] = nodes as [MeshNode, MeshNode, MeshNode];
    serveEcho(...nodes);
    for (const [from, to] of [
      [n1, n2],
      [n1, n3],
      [n2, n3],
    ] as const) {
      await from.connect(targetOf(to));
      await until(() => to.peer(from.nodeId)?.isConnected === true);
    }
    const logs = nodes.map((node) => new EventLog(node));
    const peers = nodes.flatMap((node) => [...node.peers]);
    t.is(peers.length, 6);
    const calling = keepCalling(peers);

    const changeEach = async (change: (id: 'n1' | 'n2' | 'n3') => TlsMaterial): Promise<void> => {
      for (const [at, id] of IDS.entries()) {
        tls.set(id, change(id));
        await nodes[at]?.reloadTls();
        const soFar = calling.answered;
        await until(() => calling.answered >= soFar + 30);
      }
    };
    await changeEach((id) => ({ ca: before.ca + after.ca, ...before.nodes[id] }));
    await changeEach((id) => ({ ca: before.ca + after.ca, ...after.nodes[id] }));
    const isNew = (peer: Peer) => fingerprintOf(after.nodes[peer.nodeId as 'n1']);
    await until(() =>
      peers.every((peer) =>
        peer.connections.every(
          ({ role, certificate }) =>
            role === 'dialer' || certificate.fingerprint256 === isNew(peer),
        ),
      ),
    );
    await changeEach((id) => ({ ca: after.ca, ...after.nodes[id] }));
    // What each node dialed has moved to connections that show the new certificates.
    await until(() =>
      peers.every(
        (peer) =>
          peer.connections.length === 1 &&
          peer.connections[0]?.certificate.fingerprint256 === isNew(peer),
      ),
    );
    t.true((await calling.stop()) > 0);
    for (const { events } of logs) {
      for (const event of events) {
        if (event.kind === 'peerDown') t.is(event.error.code, 'NoError');
      }
    }

    // From here on the old CA is worth nothing, whoever dials.
    const both = before.ca + after.ca;
    // Over QUIC nothing else ends its dial.
    const timeouts = transport === 'quic' ? { connectMs: 1000 } : {};
    const n4Tls = { ca: both, ...before.nodes.n4 };
    const n4 = await startNode(t, 'n4', { ...options, timeouts, tls: n4Tls });
    const n5 = await startNode(t, 'n5', { ...options, tls: { ca: both, ...before.nodes.n5 } });
    const untrusted = { code: 'CertificateUntrusted' } as const;
    const n5Log = new EventLog(n5);
    // A knock by the old CA is a stranger's, who is hung up on over TCP.
    const code = transport === 'quic' ? 'ConnectTimeout' : 'ConnectFailed';
    t.like(await t.throwsAsync(n4.connect(targetOf(n1))), { code, side: 'local' });
    const { counters } = n1;
    t.true((counters.transports[transport]?.droppedWithoutKnock ?? 0) > 0);
    t.like(await t.throwsAsync(n1.connect(targetOf(n5))), { ...untrusted, side: 'local' });
    t.like((await n5Log.next('refused')).error, { ...untrusted, side: 'remote' });
    const reply = await (n1.peer('n3') as Peer).request({ type: 'queryRequest', query: 'still' });
    t.is(reply.result, 'still');
  });
}

function fingerprintOf({ cert }: { readonly cert: string }): string {
  return new X509Certificate(cert).fingerprint256;
}
