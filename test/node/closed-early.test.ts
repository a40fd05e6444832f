/** Peers that stop while a handshake with them is under way, and are back soon: they are dialed again soon. */
import net from 'node:net';
import test from 'ava';
import type { NodeEvent } from '../../src/index.js';
import { certNamed } from '../helpers/certs.js';
import type { PathCounters } from '../helpers/chaos-proxy/counters.js';
import { ChaosProxy } from '../helpers/chaos-proxy/proxy.js';
import { lastingAddress, startNode, TEST_TRANSPORTS, targetOf } from '../helpers/nodes.js';
import { until } from '../helpers/until.js';

/** How far a handshake is: what the path between both has passed on, and how often that has grown. */
const POINTS = [
  { direction: 'toServer', flights: 1, title: "the dialer's first flight" },
  { direction: 'toClient', flights: 1, title: "the acceptor's first flight" },
  { direction: 'toServer', flights: 2, title: "the dialer's second flight" },
  { direction: 'toClient', flights: 2, title: "the acceptor's second flight" },
] as const;

/** From there on a delay is that of a refusal. */
const REFUSED_MS = 30_000;

for (const transport of TEST_TRANSPORTS) {
  for (const { direction, flights, title } of POINTS) {
    test(`${transport}: a peer that stops after ${title}, and comes back, is dialed again soon`, async (t) => {
      const options = {
        transports: [transport],
        timeouts: { drainMs: 100, connectMs: 5000 },
      } as const;
      const first = await startNode(t, 'n2', { ...options, listen: await lastingAddress() });
      const { host, port } = targetOf(first);
      const proxy = await ChaosProxy.start({ target: { host, port }, faults: { delayMs: 40 } });
      t.teardown(() => proxy.close());
      const n1 = await startNode(t, 'n1', { ...options, listen: undefined });
      const failures: Extract<NodeEvent, { kind: 'dialFailed' }>[] = [];
      const downs: Extract<NodeEvent, { kind: 'peerDown' }>[] = [];
      const events = n1.status();
      void (async () => {
        for await (const event of events) {
          if (event.kind === 'dialFailed') failures.push(event);
          if (event.kind === 'peerDown') downs.push(event);
        }
      })();
      const connected = n1.connect({ nodeId: 'n2', ...proxy.address }, { retry: true });
      const peer = n1.peer('n2');
      const call = peer?.request({ type: 'ping' }, { timeoutMs: 60_000 });
      const passed: PathCounters = proxy.counters[transport === 'quic' ? 'udp' : 'tcp'][direction];
      for (let flight = 0; flight < flights; flight += 1) {
        const before = passed.forwardedBytes;
        await until(() => passed.forwardedBytes > before);
      }
      await first.close();
      await until(() => failures.length + downs.length > 0);
      await startNode(t, 'n2', { ...options, listen: { host, port } });
      await connected;
      await call;
      await until(() => peer?.isConnected === true);
      for (const { error, retryInMs = 0 } of failures) {
        t.true(error.retryable, `${error.code}: ${error.message}`);
        t.true(retryInMs < REFUSED_MS, `${retryInMs} ms`);
      }
      for (const { error } of downs) t.true(error.retryable, `${error.code}: ${error.message}`);
      t.true(failures.length + downs.length > 0);
    });
  }
}

/** What a TCP server says, if anything, before it goes. */
const WORDS = [
  { title: 'nothing', bytes: Buffer.alloc(0) },
  // Record type alert, TLS 1.2 for the record layer, 2 bytes: level, description (RFC 8446, section 6).
  { title: 'close_notify', bytes: Buffer.from('15030300020100', 'hex') },
  { title: 'user_canceled', bytes: Buffer.from('1503030002015a', 'hex') },
  { title: 'internal_error', bytes: Buffer.from('15030300020250', 'hex') },
] as const;

for (const { title, bytes } of WORDS) {
  for (const end of ['FIN', 'RST'] as const) {
    for (const moment of ['at once', 'after the hello'] as const) {
      test(`a server that says ${title} ${moment}, and ends by ${end}, is dialed again soon`, async (t) => {
        const server = net.createServer((socket) => {
          socket.on('error', () => {});
          const go = () =>
            socket.write(bytes, () => (end === 'FIN' ? socket.end() : socket.resetAndDestroy()));
          if (moment === 'at once') go();
          else socket.once('data', go);
        });
        await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
        t.teardown(() => server.close());
        const { port } = server.address() as net.AddressInfo;
        const n1 = await startNode(t, 'n1', { transports: ['tcp'], listen: undefined });
        const error = await t.throwsAsync(n1.connect({ nodeId: 'n2', host: '127.0.0.1', port }));
        t.like(error, { retryable: true });
      });
    }
  }
}

test('a dialer that gives up in the middle of a handshake is not told of as refused', async (t) => {
  // Small datagrams, of which but one gets through: the dialer has keys for the handshake, and cannot finish it.
  const extraHosts = Array.from({ length: 50 }, (_, i) => `${i}.a-rather-long-name.example`);
  const n2 = await startNode(t, 'n2', {
    transports: ['quic'],
    quic: { maxDatagramBytes: 1200 },
    tls: await certNamed('n2', { extraHosts }),
  });
  let answers = 0;
  const proxy = await ChaosProxy.start({
    target: targetOf(n2),
    onDatagram: (direction) => (direction === 'toClient' && ++answers > 1 ? 'drop' : undefined),
  });
  t.teardown(() => proxy.close());
  const told: NodeEvent[] = [];
  const events = n2.status();
  void (async () => {
    for await (const event of events) told.push(event);
  })();
  const n1 = await startNode(t, 'n1', { transports: ['quic'], listen: undefined });
  const giveUp = new AbortController();
  const target = { nodeId: 'n2', ...proxy.address };
  const connecting = n1.connect(target, { signal: giveUp.signal });
  await until(() => answers > 1 && proxy.counters.udp.toServer.forwarded > 1);
  giveUp.abort();
  t.like(await t.throwsAsync(connecting), { code: 'Cancelled' });
  await until(() => (n2.counters.transports.quic?.refused ?? 0) > 0);
  // Whatever was to be told of it comes before this.
  await n1.connect(targetOf(n2));
  await until(() => told.some(({ kind }) => kind === 'peerUp'));
  t.deepEqual(
    told.filter(({ kind }) => kind === 'refused'),
    [],
  );
});
