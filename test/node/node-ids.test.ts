/** However a node id is spelled where it comes in, one spelling of it goes out: in lower case. */
import { Writable } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import { pino } from 'pino';
import {
  type CallingPeer,
  createNode,
  type MeshNode,
  type NodeEvent,
  type NodeOptions,
  type SessionStore,
} from '../../src/index.js';
import { MemorySessionStore, QuicTransport, TcpTransport } from '../../src/transport/index.js';
import { certNamed } from '../helpers/certs.js';
import { TEST_TRANSPORTS } from '../helpers/nodes.js';
import { until } from '../helpers/until.js';

const KELVIN = '\u212a';
/** Nobody can be called so, whatever a certificate says. */
const NO_NODE_IDS = ['', '*', '*.example', 'k2 ', 'k2.', 'k2\0', '10.0.0.1', '::1', `${KELVIN}2`];

/** A node whose certificate spells its name in a way of its own. */
async function start(
  t: ExecutionContext,
  nodeId: string,
  certified: string,
  options: Partial<NodeOptions> = {},
): Promise<MeshNode> {
  const node = await createNode({
    nodeId,
    cluster: 'test',
    tls: await certNamed(certified),
    listen: { host: '127.0.0.1', port: 0 },
    logger: 'silent',
    ...options,
  });
  t.teardown(() => node.close());
  return node;
}

async function gather(node: MeshNode, events: NodeEvent[]): Promise<void> {
  for await (const event of node.status({ connections: true })) events.push(event);
}

function lineWriter(lines: string[]): Writable {
  return new Writable({
    write(chunk, _encoding, done) {
      lines.push(String(chunk));
      done();
    },
  });
}

for (const transport of TEST_TRANSPORTS) {
  test(`${transport}: options, certificates, targets and handshakes spell as they like, and all else has one spelling`, async (t) => {
    const asked: CallingPeer[] = [];
    const verified: string[] = [];
    const handled: string[] = [];
    const events: NodeEvent[] = [];
    const lines: string[] = [];
    const keys = new Set<string>();
    const kept = new MemorySessionStore();
    const sessionStore: SessionStore = {
      put: (key, session, expiresAtMs) => {
        keys.add(key);
        kept.put(key, session, expiresAtMs);
      },
      take: (key) => {
        keys.add(key);
        return kept.take(key);
      },
    };
    const logger = pino({ level: 'debug' }, lineWriter(lines));
    const k2 = await start(t, 'K2.Example', 'k2.eXAMPLE', {
      transports: [transport],
      logger,
      auth: {
        verify: (_token, nodeId) => verified.push(nodeId) > 0,
        authorize: (peer) => asked.push(peer) > 0,
      },
    });
    k2.handle('request', (_message, { peer }) => ({ body: handled.push(peer.nodeId) }));
    const s1 = await start(t, 'S1', 'S1', {
      transports: [transport],
      logger,
      quic: { sessionStore },
    });
    void gather(k2, events);
    void gather(s1, events);
    t.deepEqual([k2.nodeId, s1.nodeId], ['k2.example', 's1']);

    const place = k2.address as { host: string; port: number };
    const peer = await s1.connect({ nodeId: 'K2.EXAMPLE', ...place });
    await peer.request({ type: 'request', method: 'm' });
    t.is(await s1.connect({ nodeId: 'k2.Example', ...place }), peer);
    t.is(s1.connectEarly({ nodeId: 'k2.example', addresses: [place] }), peer);
    t.is(s1.peer('K2.example'), peer);
    t.is(s1.peers.length, 1);
    t.is(peer.nodeId, 'k2.example');
    t.is(peer.connections.length, 1);
    const caller = k2.peer('S1');
    t.is(caller?.nodeId, 's1');
    t.is(caller, k2.peer('s1'));
    t.is(k2.peers.length, 1);
    // Without a name, the one of certificate and handshake counts.
    t.is(await s1.connect(place), peer);
    await peer.request({ type: 'request', method: 'm' });
    await Promise.all([k2.close(), s1.close()]);

    t.deepEqual([...new Set(handled)], ['s1']);
    t.deepEqual([...new Set(verified)], ['s1']);
    t.deepEqual([...new Set(asked.map(({ nodeId }) => nodeId))], ['s1']);
    t.deepEqual(asked[0]?.certificate.nodeIds, ['s1']);
    const named = events.flatMap((event) => ('nodeId' in event ? [event.nodeId] : []));
    t.deepEqual([...new Set(named)].sort(), ['k2.example', 's1']);
    const inLog = lines
      .map((line) => JSON.parse(line) as { nodeId: string; peer?: string })
      .flatMap(({ nodeId, peer: other }) => (other === undefined ? [nodeId] : [nodeId, other]));
    t.deepEqual([...new Set(inLog)].sort(), ['k2.example', 's1']);
    t.is(keys.size, transport === 'quic' ? 1 : 0);
  });

  test(`${transport}: nobody dials, or is, what cannot be a node id`, async (t) => {
    const tls = await certNamed('k2');
    // A transport on its own belongs to no cluster.
    const admission = { silent: 'off' } as const;
    const k2 = await start(t, 'k2', 'k2', { transports: [transport], admission });
    const place = k2.address as { host: string; port: number };
    const k1 = await start(t, 'k1', 'k1', { transports: [transport] });
    const Direct = transport === 'quic' ? QuicTransport : TcpTransport;
    const direct = new Direct({ tls: () => tls });
    t.teardown(() => direct.close());
    const invalid = { code: 'InvalidArgument' } as const;
    for (const nodeId of [...NO_NODE_IDS, null, 1, {}] as string[]) {
      await t.throwsAsync(k1.connect({ nodeId, ...place }), invalid, String(nodeId));
      await t.throwsAsync(k1.connect({ nodeId, addresses: [place] }), invalid, String(nodeId));
      t.throws(() => k1.connectEarly({ nodeId, ...place }), invalid, String(nodeId));
      await t.throwsAsync(direct.dial({ nodeId, ...place }), invalid, String(nodeId));
      t.is(k1.peer(nodeId), undefined);
      const own = createNode({ nodeId, cluster: 'test', tls, logger: 'silent' });
      await t.throwsAsync(own, { code: 'InvalidOptions', message: /^nodeId: / }, String(nodeId));
    }
    t.deepEqual(k1.peers, []);
    t.is(k2.counters.handshakes.accepted, 0);
    const connection = await direct.dial({ nodeId: 'K2', ...place });
    t.deepEqual(connection.peerIdentity.nodeIds, ['k2']);
    await connection.close();
  });

  test(`${transport}: a name that differs only in its spelling is this node's own`, async (t) => {
    const k2 = await start(t, 'k2', 'K2', { transports: [transport] });
    const twin = await start(t, 'K2', 'k2', { transports: [transport] });
    const place = k2.address as { host: string; port: number };
    const error = await t.throwsAsync(twin.connect({ nodeId: 'k2', ...place }));
    t.like(error, { code: 'NodeIdMismatch', side: 'remote' });
    await until(() => k2.counters.handshakes.refused > 0);
  });
}
