/** Resumed QUIC connections between nodes: what leaves as 0-RTT data, what of it is run, and what a recording is worth. */
import { X509Certificate } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import test, { type ExecutionContext } from 'ava';
import {
  MemorySessionStore,
  type MeshError,
  type MeshNode,
  type NodeOptions,
  type Peer,
  type SessionStore,
} from '../../src/index.js';
import { MessageCodec } from '../../src/protocol/codec.js';
import type { Message } from '../../src/protocol/message.js';
import type { Connection } from '../../src/transport/connection.js';
import { QuicTransport } from '../../src/transport/quic/transport.js';
import { certNamed, nodeCert, otherCaCert } from '../helpers/certs.js';
import { ChaosProxy } from '../helpers/chaos-proxy/proxy.js';
import { quicPacketTypes } from '../helpers/chaos-proxy/quic-packets.js';
import { openCollected } from '../helpers/frame-client.js';
import { lastingAddress, startNode, targetOf } from '../helpers/nodes.js';
import { shakeHands } from '../helpers/shake-hands.js';
import { until } from '../helpers/until.js';

type Target = ReturnType<typeof targetOf>;

/** A call that n2 was asked for. */
interface Asked {
  readonly method: string;
  readonly early: boolean;
}

const QUIC = { transports: ['quic'] } as const;
/** A silent node takes no flight twice, and answers nobody of another name or CA: then other guards are not seen at work. */
const OPEN = { admission: { silent: 'off' } } as const;

/** A certificate's that is to expire. Until then a busy machine has to have two nodes and their first calls. */
const LIFETIME_MS = 10_000;

/** Where nodes keep their sessions. */
const stores = new WeakMap<MeshNode, MemorySessionStore>();

test('on a resumed connection, calls that stand a replay leave and run as early data, others do not', async (t) => {
  const { n1, n2, target, asked } = await setUp(t);
  t.deepEqual(await callBoth(n1, target), { safe: false, unsafe: false });
  for (let i = 0; i < 3; i += 1) {
    await hangUp(n1, n2);
    const peer = n1.connectEarly(target);
    const [both, pingMs] = await Promise.all([callBoth(n1, target), peer.ping()]);
    t.deepEqual(both, { safe: true, unsafe: false });
    t.true(pingMs >= 0);
  }
  t.is(asked.length, 8);
  t.like(n1.counters.transports.quic, { resumed: 3, earlyDialed: 3, sessionsUnusable: 0 });
  t.like(n2.counters.transports.quic, { resumed: 3, earlyAccepted: 3, accepted: 4, refused: 0 });
  // A peer is met when TLS is done, once for each connection.
  t.deepEqual(n2.counters.handshakes, { accepted: 4, refused: 0 });
});

test('the handshake alone goes early too, and a dial by address alone resumes nothing', async (t) => {
  const { n1, n2, target } = await setUp(t);
  await n1.connect(target);
  await hangUp(n1, n2);
  await n1.connect({ host: target.host, port: target.port });
  t.like(n1.counters.transports.quic, { resumed: 0 });
  await hangUp(n1, n2);
  const peer = await n1.connect(target);
  t.like(n1.counters.transports.quic, { resumed: 1, earlyDialed: 1 });
  t.true((await peer.ping()) >= 0);
});

test('the first flight of a resumed connection holds 0-RTT packets with the call', async (t) => {
  const { n1, n2, proxy, target } = await setUpProxy(t);
  await callBoth(n1, target);
  await hangUp(n1, n2);
  const flight = record(proxy);
  await callBoth(n1, target);
  const types = flight.flatMap(quicPacketTypes);
  t.is(types[0], 'initial');
  t.true(types.includes('0rtt'));
});

test('a recorded first flight that is replayed five times runs its calls once in all', async (t) => {
  const { n1, n2, proxy, target, asked } = await setUpProxy(t, OPEN);
  await callBoth(n1, target);
  await hangUp(n1, n2);
  const flight = record(proxy);
  t.like(await callBoth(n1, target), { safe: true });
  await hangUp(n1, n2);
  const replayed = flight.slice(0, firstFlight(flight));
  const refusals = followRefusals(n2);
  const before = asked.length;
  for (let i = 0; i < 5; i += 1) {
    t.is(await replay(t, replayed, targetOf(n2), refusals), 'NonceReplayed');
  }
  t.deepEqual(asked.slice(before), []);
  t.is(asked.filter(({ early }) => early).length, 1);
  // It was taken for early data each time, and held back for its nonce alone.
  t.true((n2.counters.transports.quic?.earlyAccepted ?? 0) >= 6);
});

test('a first flight that is kept from the peer and replayed five times runs its calls once in all', async (t) => {
  const { n1, n2, proxy, target, asked } = await setUpProxy(t, {
    ...OPEN,
    timeouts: { connectMs: 4000 },
  });
  await callBoth(n1, target);
  await hangUp(n1, n2);
  const flight = record(proxy, 'drop');
  const before = asked.length;
  const peer = n1.connectEarly(target);
  const safe = peer.request({ type: 'request', method: 'safe' }, { replaySafe: true });
  const unsafe = peer.request({ type: 'request', method: 'unsafe' });
  const failed = [t.throwsAsync(safe), t.throwsAsync(unsafe)];
  await until(() => flight.flatMap(quicPacketTypes).includes('0rtt'));
  const replayed = flight.slice(0, firstFlight(flight));
  const events = n2.status();
  const refusals = followRefusals(n2);
  // The dialer never goes on with the first, so that its time runs out.
  t.is(await replay(t, replayed, targetOf(n2), refusals), 'ConnectTimeout');
  for (let i = 1; i < 5; i += 1) {
    t.is(await replay(t, replayed, targetOf(n2), refusals), 'NonceReplayed');
  }
  t.deepEqual(asked.slice(before), [{ method: 'safe', early: true }]);
  t.like(await failed[0], { maybeExecuted: true });
  t.like(await failed[1], { maybeExecuted: false });
  await n2.close();
  // Nobody was ever there: no peer came up.
  for await (const event of events) t.not(event.kind, 'peerUp');
});

test('after a restart of the peer early calls get their answer, once', async (t) => {
  const { n1, n2, target, asked } = await setUp(t, { listen: await lastingAddress() });
  await callBoth(n1, target);
  await hangUp(n1, n2);
  await n2.close();
  const again = await startNode(t, 'n2', {
    ...QUIC,
    listen: { host: target.host, port: target.port },
  });
  const askedAgain = serve(again);
  t.deepEqual(await callBoth(n1, target), { safe: false, unsafe: false });
  t.deepEqual(askedAgain.map(({ method }) => method).sort(), ['safe', 'unsafe']);
  t.is(asked.length, 2);
  t.like(n1.counters.transports.quic, { earlyDialed: 1, resumed: 0 });
  await hangUp(n1, again);
  t.deepEqual(await callBoth(n1, target), { safe: true, unsafe: false });
});

test('a restarted peer that grants less than it did gets the early calls within its limits', async (t) => {
  const { n1, n2, target } = await setUp(t, { listen: await lastingAddress() });
  await callBoth(n1, target);
  await hangUp(n1, n2);
  await n2.close();
  const listen = { host: target.host, port: target.port };
  const again = await startNode(t, 'n2', { ...QUIC, listen, limits: { streams: 2 } });
  const asked = serve(again);
  const peer = n1.connectEarly(target);
  const methods = Array.from({ length: 20 }, (_, i) => `call ${i}`);
  await Promise.all(
    methods.map((method) =>
      peer.request({ type: 'request', method }, { replaySafe: true, timeoutMs: 50_000 }),
    ),
  );
  t.deepEqual(asked.map(({ method }) => method).sort(), [...methods].sort());
  t.like(n1.counters.transports.quic, { dialed: 3, earlyDialed: 1 });
});

test('a ticket key lasts as long as it is set to, and no longer than the certificate', async (t) => {
  let tls = await nodeCert('n2');
  const { n1, n2, target } = await setUp(t, {
    tls: () => tls,
    quic: { ticketKeyLifetimeMs: 60_000 },
  });
  await callBoth(n1, target);
  await hangUp(n1, n2);
  tls = { ...tls };
  await n2.reloadTls();
  t.like(await callBoth(n1, target), { safe: true });
  await hangUp(n1, n2);
  const renewed = await certNamed('n2');
  tls = renewed;
  await n2.reloadTls();
  t.like(await callBoth(n1, target), { safe: false });
  const shortLived = await setUp(t, { quic: { ticketKeyLifetimeMs: 1 } });
  await callBoth(n1, shortLived.target);
  await hangUp(n1, shortLived.n2);
  t.like(await callBoth(n1, shortLived.target), { safe: false });
});

test('either side can do without early data', async (t) => {
  for (const [dialing, accepting] of [
    [{ quic: { earlyData: false } }, {}],
    [{}, { quic: { earlyData: false } }],
  ]) {
    const { n1, n2, target } = await setUp(t, accepting, dialing);
    for (let i = 0; i < 2; i += 1) {
      t.deepEqual(await callBoth(n1, target), { safe: false, unsafe: false });
      await hangUp(n1, n2);
    }
    t.like(n1.counters.transports.quic, { earlyDialed: 0 });
    t.like(n2.counters.transports.quic, { earlyAccepted: 0 });
  }
});

test('more early calls than the peer takes ahead of TLS are answered all the same', async (t) => {
  const { n1, n2, target } = await setUp(t);
  await callBoth(n1, target);
  await hangUp(n1, n2);
  n2.handle('query', ({ query }, { early }) => ({ result: { bytes: query.length, early } }));
  const peer = n1.connectEarly(target);
  const replies = await Promise.all(
    Array.from({ length: 300 }, (_, i) =>
      peer.request(
        { type: 'queryRequest', query: 'q'.repeat(i * 10) },
        { replaySafe: true, timeoutMs: 50_000 },
      ),
    ),
  );
  const results = replies.map(({ result }) => result as { bytes: number; early: boolean });
  t.deepEqual(
    results.map(({ bytes }) => bytes),
    Array.from({ length: 300 }, (_, i) => i * 10),
  );
  t.true(results.some(({ early }) => early));
});

test('a call that does not say it stands a replay waits until TLS is done, whatever its dialer does', async (t) => {
  const { n2, proxy, target, asked } = await setUpProxy(t);
  const tls = await nodeCert('n1');
  const dialer = new QuicTransport({ cluster: 'test', tls: () => tls });
  t.teardown(() => dialer.close());
  const first = await shakeHands(await dialer.dial(target));
  await collectReply(first, request('first'));
  await first.close();
  await until(() => n2.peer('n1')?.isConnected === false);

  // Past the first flight nothing of the dialer arrives, so that TLS cannot end.
  let isOpen = false;
  proxy.onDatagram = (direction, datagram) => {
    return isOpen || direction === 'toClient' || isFirstFlight(datagram) ? undefined : 'drop';
  };
  const replies: Promise<Buffer>[] = [];
  const dialed = dialer.dial(target, {
    onEarly: (connection) => {
      void shakeHands(connection);
      for (const message of [
        request('marked', true),
        request('unmarked'),
        request('lying', false),
      ]) {
        replies.push(collectReply(connection, message));
      }
    },
  });
  await until(() => asked.length === 2);
  t.like(n2.counters.transports.quic, { earlyAccepted: 1, accepted: 1 });
  // Its answer is back before TLS is done: the others would have come by now too.
  await replies[0];
  t.deepEqual(asked.slice(1), [{ method: 'marked', early: true }]);
  isOpen = true;
  await dialed;
  await Promise.all(replies);
  t.deepEqual(asked.slice(2), [
    { method: 'unmarked', early: false },
    { method: 'lying', early: false },
  ]);
});

test('connections that never get past their early data count among those of their peer', async (t) => {
  const limits = { connectionsPerPeer: 2 };
  const { n2, proxy, target, asked } = await setUpProxy(t, { limits });
  const tls = await nodeCert('n1');
  const dialer = new QuicTransport({
    cluster: 'test',
    tls: () => tls,
    sessionStore: new AnySession(),
  });
  t.teardown(() => dialer.close());
  const first = await shakeHands(await dialer.dial(target));
  await collectReply(first, request('first'));
  await first.close();
  await until(() => n2.peer('n1')?.isConnected === false);

  proxy.onDatagram = (direction, datagram) =>
    direction === 'toClient' || isFirstFlight(datagram) ? undefined : 'drop';
  const refusals: MeshError[] = [];
  void (async () => {
    for await (const event of n2.status()) if (event.kind === 'refused') refusals.push(event.error);
  })();
  const ends = new AbortController();
  const dials = Array.from({ length: 6 }, () =>
    dialer.dial(target, {
      signal: ends.signal,
      onEarly: (connection) => {
        shakeHands(connection).catch(() => {});
        collectReply(connection, request('marked', true)).catch(() => {});
      },
    }),
  );
  await until(() => n2.counters.handshakes.refused >= 4);
  t.deepEqual(
    refusals.map(({ code }) => code),
    Array(4).fill('ConnectionLimitExceeded'),
  );
  t.is(n2.counters.handshakes.accepted, 3);
  t.is(asked.filter(({ early }) => early).length, 2);
  ends.abort();
  await Promise.allSettled(dials);
});

test('early data without a handshake request runs nothing, whatever it says of itself', async (t) => {
  const { n2, target, asked } = await setUp(t);
  const tls = await nodeCert('n1');
  const dialer = new QuicTransport({ cluster: 'test', tls: () => tls });
  t.teardown(() => dialer.close());
  const first = await shakeHands(await dialer.dial(target));
  await collectReply(first, request('first'));
  await first.close();
  const refusals = followRefusals(n2);
  const replies: Promise<unknown>[] = [];
  const dialed = dialer.dial(target, {
    onEarly: (early) => {
      for (const method of ['on the stream of the handshake', 'on another']) {
        replies.push(t.throwsAsync(collectReply(early, request(method, true))));
      }
    },
  });
  t.is((await refusals.next()).value?.code, 'HandshakeRequired');
  await Promise.allSettled([dialed]);
  await Promise.all(replies);
  t.deepEqual(asked, [{ method: 'first', early: false }]);
  t.like(n2.counters.transports.quic, { earlyAccepted: 1 });
});

test('calls that are replay-safe go by TCP where the resumed QUIC connection does not come about', async (t) => {
  const { n1, n2, proxy, target, asked } = await setUpProxy(t, {
    timeouts: { connectMs: 6000 },
    transports: ['quic', 'tcp'],
  });
  await callBoth(n1, target);
  await hangUp(n1, n2);
  proxy.change({ udp: { blackHole: true } });
  t.deepEqual(await callBoth(n1, target), { safe: false, unsafe: false });
  t.is(n1.peer('n2')?.transport, 'tcp');
  t.is(n1.counters.transports.quic?.earlyDialed, 1);
  t.is(asked.length, 4);
});

test('lost and doubled packets of the first flights lose and double no call', async (t) => {
  const { n1, n2, proxy, target, asked } = await setUpProxy(t, {
    timeouts: { connectMs: 30_000, handshakeMs: 30_000 },
  });
  await callBoth(n1, target);
  for (let i = 0; i < 6; i += 1) {
    await hangUp(n1, n2);
    proxy.change({ udp: { loss: 0.1, duplicate: 0.2, reorder: 0.2 } });
    const peer = n1.connectEarly(target);
    const calls = Array.from({ length: 5 }, (_, n) =>
      peer.request(
        { type: 'request', method: `${i} ${n}` },
        { replaySafe: n % 2 === 0, timeoutMs: 30_000 },
      ),
    );
    await Promise.all(calls);
    proxy.change({ udp: { loss: 0, duplicate: 0, reorder: 0 } });
  }
  const methods = asked.slice(2).map(({ method }) => method);
  t.is(methods.length, 30);
  t.is(new Set(methods).size, 30);
});

test('an acceptor that asks for a token first gets each call of the early flight once', async (t) => {
  const { n1, n2, target, asked } = await setUp(t, { admission: { retry: 'always' } });
  await callBoth(n1, target);
  for (let i = 0; i < 3; i += 1) {
    await hangUp(n1, n2);
    await callBoth(n1, target);
  }
  t.is(asked.length, 8);
  // A dialer that waits for long asks again.
  t.true((n2.counters.transports.quic?.retriesSent ?? 0) >= 4);
});

test('a kept session serves no certificate that is expired by now', async (t) => {
  const notAfter = new Date(Date.now() + LIFETIME_MS);
  const tls = await certNamed('n1', { notAfter });
  const store = new AnySession();
  const { n1, n2, target, asked } = await setUp(t, {}, { tls, quic: { sessionStore: store } });
  const refusals = followRefusals(n2);
  await callBoth(n1, target);
  await hangUp(n1, n2);
  await until(() => Date.now() > notAfter.getTime() + 1000);
  const error = await t.throwsAsync(callBoth(n1, target));
  t.like(error, { code: 'CertificateExpired', side: 'remote', maybeExecuted: false });
  t.is((await refusals.next()).value?.code, 'CertificateExpired');
  t.is(n1.counters.transports.quic?.earlyDialed, 1);
  t.is(asked.length, 2);
});

test('a kept session serves no certificate that was revoked since, of either side', async (t) => {
  const [n1Tls, n2Tls] = await Promise.all([nodeCert('n1'), nodeCert('n2')]);
  let trust: readonly string[] = [];
  let n1Trust: readonly string[] = [];
  const { n1, n2, target, asked } = await setUp(
    t,
    { tls: () => ({ ...n2Tls, revoked: trust }) },
    { tls: () => ({ ...n1Tls, revoked: n1Trust }), quic: { sessionStore: new AnySession() } },
  );
  await callBoth(n1, target);
  await hangUp(n1, n2);
  trust = [new X509Certificate(n1Tls.cert).fingerprint256];
  await n2.reloadTls();
  const refusals = followRefusals(n2);
  const error = await t.throwsAsync(callBoth(n1, target));
  t.like(error, { code: 'CertificateRevoked', side: 'remote', maybeExecuted: false });
  t.is((await refusals.next()).value?.code, 'CertificateRevoked');
  // The session was good: what refused the dialer is the check of the certificate in it.
  t.like(n1.counters.transports.quic, { earlyDialed: 1, resumed: 1 });
  trust = [];
  await n2.reloadTls();
  t.like(await callBoth(n1, target), { safe: true });
  await hangUp(n1, n2);
  n1Trust = [new X509Certificate(n2Tls.cert).serialNumber.toLowerCase()];
  await n1.reloadTls();
  const own = await t.throwsAsync(callBoth(n1, target));
  t.like(own, { code: 'CertificateRevoked', side: 'local', maybeExecuted: false });
  t.like(n1.counters.transports.quic, { earlyDialed: 2, sessionsUnusable: 1 });
  t.is(asked.length, 4);
});

test('a kept session gives no other name than that of its certificate', async (t) => {
  const store = new AnySession();
  const { n1, n2, target, asked } = await setUp(t, {}, { quic: { sessionStore: store } });
  await callBoth(n1, target);
  await hangUp(n1, n2);
  await n1.close();
  // n3 has come by the session of n1, and by no certificate of n1's.
  const n3 = await startNode(t, 'n3', { ...QUIC, quic: { sessionStore: store } });
  const error = await t.throwsAsync(callBoth(n3, target));
  t.like(error, { code: 'CertificateNameMismatch', side: 'remote', maybeExecuted: false });
  t.is(asked.length, 2);
  t.is(n2.counters.transports.quic?.earlyAccepted, 1);
});

test('a dialer sends nothing early to a node of another name, or of a CA it no longer trusts', async (t) => {
  const store = new AnySession();
  let tls = await nodeCert('n1');
  const { n1, n2, target } = await setUp(t, OPEN, {
    quic: { sessionStore: store },
    tls: () => tls,
  });
  await callBoth(n1, target);
  const error = await t.throwsAsync(callBoth(n1, { ...target, nodeId: 'n3' }));
  t.like(error, { code: 'CertificateNameMismatch', side: 'local' });
  t.like(n1.counters.transports.quic, { earlyDialed: 0, sessionsUnusable: 1 });
  await hangUp(n1, n2);
  t.like(await callBoth(n1, target), { safe: true });
  await hangUp(n1, n2);
  const { ca } = await otherCaCert('n2');
  tls = { ...tls, ca };
  await n1.reloadTls();
  t.like(await t.throwsAsync(callBoth(n1, target)), { code: 'CertificateUntrusted' });
  t.like(n1.counters.transports.quic, { earlyDialed: 1, sessionsUnusable: 2 });
});

test('a store that fails, or gives what is no session, costs the resumption and nothing else', async (t) => {
  const broken: SessionStore = {
    put() {
      throw new Error('disk full');
    },
    take: () => Buffer.from('no session'),
  };
  const { n1, n2, target } = await setUp(t, {}, { quic: { sessionStore: broken } });
  for (let i = 0; i < 2; i += 1) {
    t.like(await callBoth(n1, target), { safe: false });
    await hangUp(n1, n2);
  }
  broken.take = () => {
    throw new Error('disk gone');
  };
  t.like(await callBoth(n1, target), { safe: false });
});

/** Gives the session it was given last, to whomever it is of. */
class AnySession implements SessionStore {
  #session: Uint8Array | undefined;

  put(_key: string, session: Uint8Array): void {
    this.#session = session;
  }

  take(): Uint8Array | undefined {
    return this.#session;
  }
}

async function setUp(
  t: ExecutionContext,
  accepting: Partial<NodeOptions> = {},
  dialing: Partial<NodeOptions> = {},
): Promise<{ n1: MeshNode; n2: MeshNode; target: Target; asked: Asked[] }> {
  const n2 = await startNode(t, 'n2', { ...QUIC, ...accepting });
  const store = new MemorySessionStore();
  const n1 = await startNode(t, 'n1', {
    ...QUIC,
    ...dialing,
    quic: { sessionStore: store, ...dialing.quic },
  });
  const givesSessions = accepting.quic?.earlyData !== false && dialing.quic?.earlyData !== false;
  if (givesSessions && dialing.quic?.sessionStore === undefined) stores.set(n1, store);
  return { n1, n2, target: targetOf(n2), asked: serve(n2) };
}

/** The same, with the network between them in the test's hands. */
async function setUpProxy(t: ExecutionContext, options: Partial<NodeOptions> = {}) {
  const nodes = await setUp(t, options, options);
  const proxy = await ChaosProxy.start({ target: targetOf(nodes.n2) });
  t.teardown(() => proxy.close());
  t.log(`seed ${proxy.seed}`);
  return { ...nodes, proxy, target: { ...proxy.address, nodeId: 'n2' } };
}

function serve(node: MeshNode): Asked[] {
  const asked: Asked[] = [];
  node.handle('request', ({ method }, { early }) => {
    asked.push({ method, early });
    return { body: early };
  });
  return asked;
}

/** Makes two calls as early as they may be made, and tells which were run early. */
async function callBoth(
  node: MeshNode,
  target: Target,
): Promise<{ safe: unknown; unsafe: unknown }> {
  const peer = node.connectEarly(target);
  const [safe, unsafe] = await Promise.all([
    peer.request({ type: 'request', method: 'safe' }, { replaySafe: true, timeoutMs: 50_000 }),
    peer.request({ type: 'request', method: 'unsafe' }, { timeoutMs: 50_000 }),
  ]);
  return { safe: safe.body, unsafe: unsafe.body };
}

/** Ends the connection between two nodes, once the session of it has come: sooner or later it does. */
async function hangUp(near: MeshNode, far: MeshNode): Promise<void> {
  const peer = near.peer(far.nodeId) as Peer;
  const store = stores.get(near);
  await peer.ping();
  if (store !== undefined) await until(() => store.size > 0);
  await peer.close();
  await until(() => far.peers.every(({ isConnected }) => !isConnected));
}

/** What goes to the server from now on, which may be kept from it. */
function record(proxy: ChaosProxy, verdict?: 'drop'): Buffer[] {
  const flight: Buffer[] = [];
  proxy.onDatagram = (direction, datagram) => {
    if (direction === 'toClient') return undefined;
    flight.push(Buffer.from(datagram));
    return verdict;
  };
  return flight;
}

/** How many datagrams the first flight has: those before the first that answers the server. */
function firstFlight(flight: readonly Buffer[]): number {
  const at = flight.findIndex((datagram) => !isFirstFlight(datagram));
  return at < 0 ? flight.length : at;
}

/** Whether a dialer can send it before it has heard of the acceptor. */
function isFirstFlight(datagram: Buffer): boolean {
  const types = quicPacketTypes(datagram);
  return !types.includes('handshake') && !types.includes('short');
}

/**
 * Sends datagrams from an address that was not seen before, until they get a connection refused: as long as the last
 * one lives that had the same IDs, they are taken for late packets of it.
 * @returns why it was refused
 */
async function replay(
  t: ExecutionContext,
  datagrams: readonly Buffer[],
  target: Target,
  refusals: AsyncIterator<MeshError>,
): Promise<string> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  t.teardown(() => socket.close());
  const send = () => {
    for (const datagram of datagrams) socket.send(datagram, target.port, target.host);
  };
  send();
  const repeat = setInterval(send, 200);
  const { value } = await refusals.next();
  clearInterval(repeat);
  return (value as MeshError).code;
}

/** Why peers are turned away, from now on. */
function followRefusals(node: MeshNode): AsyncIterator<MeshError> {
  const events = node.status();
  return (async function* () {
    for await (const event of events) if (event.kind === 'refused') yield event.error;
  })();
}

/** Sends a message as early as it may go, and waits for all that comes back. */
function collectReply(connection: Connection, message: Uint8Array): Promise<Buffer> {
  const { stream, collector } = openCollected(connection, { early: true });
  stream.send(message, { end: true });
  return collector.ended;
}

function request(method: string, replaySafe?: boolean): Uint8Array {
  const message: Message = { type: 'request', method };
  return new MessageCodec().encode(replaySafe === undefined ? message : { ...message, replaySafe });
}
