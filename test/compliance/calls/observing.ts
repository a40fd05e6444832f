/** What nodes and peers tell of their connections and calls. */
import { randomBytes } from 'node:crypto';
import { until } from '../../helpers/until.js';
import type { CallsSuite } from '../calls-suite.js';

export function observing({ shared, own, transport }: CallsSuite): void {
  shared('both sides know the one connection: transport, role and address', async (t, stage) => {
    const { connection, connectionBack, peer, back } = stage;
    t.like(connection, { transport, role: 'dialer' });
    t.like(connectionBack, { transport, role: 'acceptor' });
    t.is(peer.transport, transport);
    t.is(back.transport, transport);
    t.true(peer.isConnected && back.isConnected);
    t.is(connection.remoteAddress.port, stage.target.port);
    t.like(peer.statistics, { open: 1, dialed: 1, accepted: 0, lost: 0 });
    t.like(back.statistics, { open: 1, dialed: 0, accepted: 1, lost: 0 });
  });

  shared('a node knows its peers by name, in any case', async (t, { n1, n2, peer, back }) => {
    t.is(n1.peer('n2'), peer);
    t.is(n2.peer('N1'), back);
    t.is(n1.peer('n9'), undefined);
    t.deepEqual(n1.peers, [peer]);
  });

  shared('to connect again gives the same peer and no second connection', async (t, stage) => {
    t.is(await stage.n1.connect(stage.target), stage.peer);
    t.is(stage.n1.connectEarly(stage.target), stage.peer);
    t.is(stage.peer.connections.length, 1);
  });

  own('a connection counts the calls of both sides, by how they end', {}, async (t, stage) => {
    stage.serve('request', 'good', () => ({}));
    stage.serve('request', 'bad', () => {
      throw new Error('bad');
    });
    stage.serveBack('request', 'good', () => ({}));
    for (let i = 0; i < 3; i += 1) await stage.peer.request({ type: 'request', method: 'good' });
    await t.throwsAsync(stage.peer.request({ type: 'request', method: 'bad' }));
    await stage.peer.send({ type: 'request', method: 'good' });
    await stage.back.request({ type: 'request', method: 'good' });
    await until(() => stage.connectionBack.calls.handled === 5);
    t.deepEqual(stage.connection.calls, {
      sent: 5,
      succeeded: 4,
      failed: 1,
      handled: 1,
      handlerErrors: 0,
      refused: 0,
      copiesSent: 0,
      copiesDropped: 0,
    });
    t.deepEqual(stage.connectionBack.calls, {
      sent: 1,
      succeeded: 1,
      failed: 0,
      handled: 5,
      handlerErrors: 1,
      refused: 0,
      copiesSent: 0,
      copiesDropped: 0,
    });
  });

  own(
    'a connection counts the bytes that it sends and receives',
    { n1: { compression: { algorithms: [] } } },
    async (t, stage) => {
      stage.serve('request', 'size', ({ body }) => ({ body: (body as Uint8Array).length }));
      const before = stage.connection.bytes;
      await stage.peer.request({ type: 'request', method: 'size', body: randomBytes(100_000) });
      const { sent, received } = stage.connection.bytes;
      t.true(sent - before.sent > 100_000 && sent - before.sent < 101_000);
      t.true(received > before.received && received - before.received < 1000);
      t.true(stage.connectionBack.bytes.received > 100_000);
    },
  );

  own('status tells of links going up and down, on both sides', {}, async (t, stage) => {
    const { n1, n2, peer, back } = stage;
    const events = [n1.status(), n2.status()] as const;
    await peer.close();
    t.like((await events[0].next()).value, { kind: 'peerDown', nodeId: 'n2', transport });
    t.like((await events[1].next()).value, {
      kind: 'peerDown',
      nodeId: 'n1',
      transport,
      error: { code: 'NoError', side: 'remote' },
    });
    await n1.connect(stage.target);
    t.like((await events[0].next()).value, {
      kind: 'peerUp',
      nodeId: 'n2',
      transport,
      role: 'dialer',
    });
    t.like((await events[1].next()).value, {
      kind: 'peerUp',
      nodeId: 'n1',
      transport,
      role: 'acceptor',
    });
    t.true(peer.isConnected && back.isConnected);
    await n2.close();
    t.like((await events[0].next()).value, {
      kind: 'peerDown',
      nodeId: 'n2',
      error: { code: 'GoingAway', side: 'remote' },
    });
    await n1.close();
    // Meanwhile n1 has tried to come back to n2; then its status ends.
    for await (const event of events[0]) t.is(event.kind, 'dialFailed');
  });

  own('without a node id the peer is whoever its certificate names', {}, async (t, stage) => {
    const { host, port } = stage.target;
    const peer = await stage.n1.connect({ host, port });
    t.is(peer, stage.peer);
    t.is(peer.connections.length, 2);
  });
}
