/** Calls made while a peer is dialed: when they leave, by which way, and what becomes of them where the dial fails. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import test, { type ExecutionContext } from 'ava';
import { freePort } from '../../scripts/mesh/ports.js';
import type { MeshErrorCode, MeshNode, NodeEvent } from '../../src/index.js';
import type { Connection, FrameStream, Transport } from '../../src/transport/connection.js';
import { QuicTransport } from '../../src/transport/quic/transport.js';
import { TcpTransport } from '../../src/transport/tcp/transport.js';
import { nodeCert } from '../helpers/certs.js';
import { Collector } from '../helpers/frame-client.js';
import { startNode, TEST_TRANSPORTS, type TestTransport, targetOf } from '../helpers/nodes.js';
import { until } from '../helpers/until.js';

for (const transport of TEST_TRANSPORTS) {
  const transports = [transport];

  test(`${transport}: a peer takes calls before it is connected, and they are answered`, async (t) => {
    const [n1, n2] = await Promise.all(
      ['n1', 'n2'].map((id) => startNode(t, id as 'n1', { transports })),
    );
    echo(n2 as MeshNode);
    const peer = (n1 as MeshNode).connectEarly(targetOf(n2 as MeshNode));
    t.false(peer.isConnected);
    const replies = Promise.all([
      peer.request({ type: 'request', method: 'first', body: 1 }),
      peer.request({ type: 'request', method: 'second' }, { replaySafe: true }),
      peer.ping(),
      peer.send({ type: 'request', method: 'oneWay' }),
    ]);
    const [first, second] = await replies;
    t.deepEqual(first, { type: 'response', body: { method: 'first', body: 1, early: false } });
    t.like(second.body, { method: 'second' });
    t.true(peer.isConnected);
    t.is((n1 as MeshNode).connectEarly(targetOf(n2 as MeshNode)), peer);
  });

  test(`${transport}: calls leave with the handshake, and do not wait for its answer`, async (t) => {
    const n1 = await startNode(t, 'n1', { transports, listen: undefined });
    const { address, arrivals } = await silentAcceptor(t, transport);
    const peer = n1.connectEarly({ nodeId: 'n2', ...address });
    const call = peer.request({ type: 'request', method: 'at once' }, { replaySafe: true });
    const failed = t.throwsAsync(call);
    await until(() => arrivals.length === 2);
    t.true(arrivals.every(({ collector }) => collector.payloads.length === 1));
    t.deepEqual(
      arrivals.map(({ stream }) => stream.messageId),
      [1, 3],
    );
    t.true(arrivals[1]?.collector.bytes.includes('at once'));
    t.false(peer.isConnected);
    await n1.close();
    // The acceptor may have accepted, for all that this side knows.
    t.like(await failed, { maybeExecuted: true });
  });

  test(`${transport}: a close that overtakes a refusal tells whether the calls beside it were run`, async (t) => {
    const closes: [code: MeshErrorCode, maybeExecuted: boolean][] = [
      ['VersionUnsupported', false],
      ['ConnectionLimitExceeded', false],
      ['ClusterMismatch', false],
      ['MalformedMessage', false],
      // These close connections that were accepted as well.
      ['GoingAway', true],
      ['Overloaded', true],
    ];
    for (const [code, maybeExecuted] of closes) {
      const n1 = await startNode(t, 'n1', { transports, listen: undefined });
      const { address, arrivals, connections } = await silentAcceptor(t, transport);
      const peer = n1.connectEarly({ nodeId: 'n2', ...address });
      const call = peer.request({ type: 'request', method: 'x' }, { retry: false });
      const failed = t.throwsAsync(call);
      await until(() => arrivals.length === 2);
      await connections[0]?.close(code);
      t.like(await failed, { code, side: 'remote', maybeExecuted }, code);
      await n1.close();
    }
  });

  test(`${transport}: a call too large for an acceptor unknown waits for its answer`, async (t) => {
    const n1 = await startNode(t, 'n1', { transports, listen: undefined });
    const { address, arrivals } = await silentAcceptor(t, transport);
    const peer = n1.connectEarly({ nodeId: 'n2', ...address });
    const large = peer.request({
      type: 'request',
      method: 'large',
      body: Buffer.alloc(128 * 1024),
    });
    const small = peer.request({ type: 'request', method: 'small' });
    const failed = Promise.all([t.throwsAsync(large), t.throwsAsync(small)]);
    await until(() => arrivals.length === 2);
    t.true(arrivals[1]?.collector.bytes.includes('small'));
    await n1.close();
    const [largeError] = await failed;
    t.like(largeError, { maybeExecuted: false });
    t.is(arrivals.length, 2);
  });

  test(`${transport}: calls of every size and number are answered, however small the peer's limits`, async (t) => {
    const n1 = await startNode(t, 'n1', { transports });
    const n2 = await startNode(t, 'n2', {
      transports,
      limits: { streams: 2, messageBytes: 1024 * 1024 },
    });
    n2.handle('request', ({ body }) => ({ body }));
    const peer = n1.connectEarly(targetOf(n2));
    // They compress well, so that answers come compressed, as the handshake agreed meanwhile.
    const bodies = Array.from({ length: 200 }, (_, i) => Buffer.alloc(i * 1000, i));
    const replies = await Promise.all(
      bodies.map((body) => peer.request({ type: 'request', method: 'echo', body })),
    );
    replies.forEach(({ body }, i) => {
      t.true(bodies[i]?.equals(body as Uint8Array));
    });
  });

  test(`${transport}: a transfer may begin before the peer is connected`, async (t) => {
    const n1 = await startNode(t, 'n1', { transports });
    const n2 = await startNode(t, 'n2', { transports });
    n2.handle('dataTransfer', async function* (_request, { body }) {
      for await (const chunk of body) yield chunk;
    });
    const peer = n1.connectEarly(targetOf(n2));
    const sent = Buffer.alloc(500_000, 'bulk');
    const received: Uint8Array[] = [];
    for await (const chunk of peer.stream({ transferId: 't1' }, { body: [sent] })) {
      received.push(chunk);
    }
    t.true(Buffer.concat(received).equals(sent));
  });

  test(`${transport}: a refused dialer's calls fail with the refusal, and none has run`, async (t) => {
    const n1 = await startNode(t, 'n1', { transports, cluster: 'another' });
    const n2 = await startNode(t, 'n2', { transports, admission: { silent: 'off' } });
    const seen = echo(n2);
    const events = n1.status();
    t.is(n1.connectEarly(targetOf(n2)), n1.connectEarly(targetOf(n2)));
    const peer = n1.connectEarly(targetOf(n2));
    const calls = [
      peer.request({ type: 'request', method: 'a' }),
      peer.request({ type: 'request', method: 'b' }, { replaySafe: true }),
      peer.ping(),
    ];
    for (const call of calls) {
      t.like(await t.throwsAsync(call), {
        code: 'ClusterMismatch',
        side: 'remote',
        maybeExecuted: false,
      });
    }
    await n1.close();
    // It is told once, although several asked for the dial.
    const [failure, ...more] = await dialFailures(events);
    t.like(failure, { nodeId: 'n2', error: { code: 'ClusterMismatch' } });
    t.deepEqual(more, []);
    t.deepEqual(seen, []);
    t.false(peer.isConnected);
    t.like(await t.throwsAsync(peer.ping()), { code: 'NodeClosed' });
  });

  test(`${transport}: calls to an acceptor of another name fail, and have left nothing behind`, async (t) => {
    const n1 = await startNode(t, 'n1', { transports });
    const n2 = await startNode(t, 'n2', { transports, admission: { silent: 'off' } });
    const seen = echo(n2);
    const peer = n1.connectEarly({ ...targetOf(n2), nodeId: 'n3' });
    const error = await t.throwsAsync(peer.request({ type: 'request', method: 'a' }));
    t.like(error, { code: 'CertificateNameMismatch', side: 'local', maybeExecuted: false });
    t.deepEqual(seen, []);
  });

  test(`${transport}: connect joins a dial that is under way, and calls join that of connect`, async (t) => {
    const n1 = await startNode(t, 'n1', { transports });
    const n2 = await startNode(t, 'n2', { transports });
    const early = n1.connectEarly(targetOf(n2));
    t.is(await n1.connect(targetOf(n2)), early);
    t.is(n1.connectEarly(targetOf(n2)), early);
    const n3 = await startNode(t, 'n3', { transports });
    const connecting = n3.connect(targetOf(n2));
    const peer = n3.connectEarly(targetOf(n2));
    t.true((await peer.ping()) >= 0);
    t.is(await connecting, peer);
    t.is(n2.counters.handshakes.accepted, 2);
  });

  test(`${transport}: a dial that its signal ends takes its calls with it`, async (t) => {
    const n1 = await startNode(t, 'n1', { transports });
    const { address } = await silentAcceptor(t, transport);
    const dial = new AbortController();
    const peer = n1.connectEarly({ nodeId: 'n2', ...address }, { signal: dial.signal });
    const call = peer.request({ type: 'request', method: 'a' });
    dial.abort();
    t.like(await t.throwsAsync(call), { code: 'Cancelled', maybeExecuted: false });
  });
}

test('a call may be given up while it waits: by its time, by its signal, by its reader', async (t) => {
  const n1 = await startNode(t, 'n1', { transports: ['quic'], timeouts: { connectMs: 60_000 } });
  const peer = n1.connectEarly({ nodeId: 'n2', ...(await deafPort(t)) });
  const message = { type: 'request', method: 'a' } as const;
  const late = await t.throwsAsync(peer.request(message, { timeoutMs: 20 }));
  t.like(late, { code: 'DeadlineExceeded', maybeExecuted: false });
  const signal = AbortSignal.timeout(20);
  t.like(await t.throwsAsync(peer.request(message, { signal })), { code: 'Cancelled' });
  t.like(await t.throwsAsync(peer.request(message, { signal })), { code: 'Cancelled' });
  const reader = peer.stream({ transferId: 't1' })[Symbol.asyncIterator]();
  const next = t.throwsAsync(async () => reader.next());
  await reader.return?.();
  t.like(await next, { code: 'Cancelled' });
});

test('an unreached peer fails its calls, one that is no call fails at once', async (t) => {
  const n1 = await startNode(t, 'n1', { timeouts: { connectMs: 200 } });
  const events = n1.status();
  const target = { nodeId: 'n2', ...(await deafPort(t)) };
  const peer = n1.connectEarly(target);
  const invalid = peer.request({ type: 'request', method: 'a', body: new Date() });
  t.like(await t.throwsAsync(invalid), { code: 'InvalidArgument' });
  const call = peer.request({ type: 'request', method: 'a' }, { replaySafe: true });
  t.like(await t.throwsAsync(call), { code: 'ConnectFailed', maybeExecuted: false });
  t.throws(() => n1.connectEarly({ host: target.host, port: target.port }), {
    code: 'InvalidArgument',
  });
  await n1.close();
  t.throws(() => n1.connectEarly(target), { code: 'NodeClosed' });
  const [failure] = await dialFailures(events);
  t.like(failure, { nodeId: 'n2', error: { code: 'ConnectFailed' } });
});

test('calls go by the transport that reaches the peer', async (t) => {
  const n1 = await startNode(t, 'n1', { timeouts: { connectMs: 3000 } });
  const n2 = await startNode(t, 'n2', { transports: ['tcp'] });
  const seen = echo(n2);
  const peer = n1.connectEarly(targetOf(n2));
  const calls = ['a', 'b'].map((method) => peer.request({ type: 'request', method }));
  await Promise.all(calls);
  t.is(peer.transport, 'tcp');
  t.deepEqual(seen, ['a', 'b']);
});

/** Answers requests with what they were, and keeps their methods. */
function echo(node: MeshNode): string[] {
  const seen: string[] = [];
  node.handle('request', ({ method, body }, { early }) => {
    seen.push(method);
    return { body: { method, body, early } };
  });
  return seen;
}

/** n2 as a transport alone: takes streams in, and never answers a handshake. */
async function silentAcceptor(t: ExecutionContext, name: TestTransport) {
  const tls = await nodeCert('n2');
  const transport: Transport =
    name === 'quic'
      ? new QuicTransport({ cluster: 'test', tls: () => tls })
      : new TcpTransport({ cluster: 'test', tls: () => tls });
  const arrivals: { stream: FrameStream; collector: Collector }[] = [];
  const connections: Connection[] = [];
  const onConnection = (connection: Connection) => {
    connections.push(connection);
    connection.onStream = (stream) => {
      const collector = new Collector();
      arrivals.push({ stream, collector });
      return collector;
    };
  };
  const { address } = await transport.listen({ host: '127.0.0.1', port: 0, onConnection });
  t.teardown(() => transport.close());
  return { address, arrivals, connections };
}

/** A UDP port that never answers, whose number is free on TCP. */
async function deafPort(t: ExecutionContext): Promise<{ host: string; port: number }> {
  const port = await freePort();
  const socket = createSocket('udp4').bind(port, '127.0.0.1');
  await once(socket, 'listening');
  t.teardown(() => socket.close());
  return { host: '127.0.0.1', port };
}

/** Those told until the node was closed. */
async function dialFailures(events: AsyncIterable<NodeEvent>): Promise<NodeEvent[]> {
  const failures: NodeEvent[] = [];
  for await (const event of events) if (event.kind === 'dialFailed') failures.push(event);
  return failures;
}
