/** What is QUIC's own: endpoint, datagrams, certificates as users bring them, stream credit over a long life. */
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import test, { type ExecutionContext } from 'ava';
import type { Connection, Listener, TlsMaterial } from '../../../src/transport/connection.js';
import { routeDatagram } from '../../../src/transport/quic/io/packet.js';
import { messageIdOf, streamIdOf } from '../../../src/transport/quic/streams/stream.js';
import { QuicTransport, type QuicTransportOptions } from '../../../src/transport/quic/transport.js';
import { nodeCert } from '../../helpers/certs.js';
import { echoAcceptor, openCollected, request } from '../../helpers/frame-client.js';
import { opensslCerts } from '../../helpers/openssl-certs.js';
import { until } from '../../helpers/until.js';

for (const kind of ['ecdsa', 'rsa', 'chain'] as const) {
  test(`certificates made by openssl serve: ${kind}`, async (t) => {
    const { ca, nodes } = await opensslCerts({ kind, nodeIds: ['n1', 'n2'] });
    const { dialer, acceptor } = await pairOf(t, {}, { ca, ...nodes.n1! }, { ca, ...nodes.n2! });
    t.deepEqual(dialer.peerIdentity.nodeIds, ['n2']);
    t.deepEqual(acceptor.peerIdentity.nodeIds, ['n1']);
    echoAcceptor(acceptor);
    t.deepEqual(await request(dialer, Buffer.from('hello')), Buffer.from('hello'));
  });
}

test('one socket serves dialing and listening: the peer sees the listening port', async (t) => {
  const [a, b] = [await transportOf(t, 'n1'), await transportOf(t, 'n2')];
  const first = await listenOn(a);
  const second = await listenOn(b);
  await a.dial(second.address);
  const accepted = await second.connection;
  t.deepEqual(accepted.remoteAddress, first.address);
});

test('dialing where nobody listens ends with ConnectTimeout', async (t) => {
  const silent = createSocket('udp4');
  await new Promise<void>((resolve) => silent.bind(0, '127.0.0.1', resolve));
  t.teardown(() => silent.close());
  const transport = await transportOf(t, 'n1');
  const target = { host: '127.0.0.1', port: silent.address().port };
  const error = await t.throwsAsync(transport.dial(target, { connectTimeoutMs: 150 }));
  t.like(error, { code: 'ConnectTimeout', side: 'local', retryable: true });
});

test('a dial that is aborted ends with Cancelled, whether it began or not', async (t) => {
  const silent = createSocket('udp4');
  await new Promise<void>((resolve) => silent.bind(0, '127.0.0.1', resolve));
  t.teardown(() => silent.close());
  const transport = await transportOf(t, 'n1');
  const target = { host: '127.0.0.1', port: silent.address().port };
  t.like(await t.throwsAsync(transport.dial(target, { signal: AbortSignal.abort() })), {
    code: 'Cancelled',
  });
  const controller = new AbortController();
  const dialing = transport.dial(target, { signal: controller.signal });
  silent.once('message', () => controller.abort());
  t.like(await t.throwsAsync(dialing), { code: 'Cancelled' });
});

test('a name that does not resolve, a port that is taken and a second listener are refused', async (t) => {
  const transport = await transportOf(t, 'n1');
  const target = { host: 'no-such-host.invalid', port: 1 };
  t.like(await t.throwsAsync(transport.dial(target)), { code: 'ConnectFailed' });
  const { address } = await listenOn(transport);
  const other = await transportOf(t, 'n2');
  t.like(await t.throwsAsync(other.listen({ ...address, onConnection() {} })), {
    code: 'ConnectFailed',
  });
  t.like(await t.throwsAsync(listenOn(transport)), { code: 'InvalidArgument' });
});

test('certificates that cannot be read are InvalidOptions', async (t) => {
  const good = await nodeCert('n1');
  for (const bad of [
    { ...good, key: 'not a key' },
    { ...good, ca: 'not a certificate' },
    { ...good, cert: good.cert.replaceAll('M', 'N') },
  ]) {
    const transport = new QuicTransport({ cluster: 'test', tls: () => bad });
    t.teardown(() => transport.close());
    t.like(await t.throwsAsync(transport.dial({ host: '127.0.0.1', port: 1 })), {
      code: 'InvalidOptions',
    });
  }
});

test('a silent connection outlives its idle timeout by asking for signs of life', async (t) => {
  const { dialer, acceptor } = await pairOf(t, { idleTimeoutMs: 300, keepAliveMs: 60 });
  echoAcceptor(acceptor);
  await new Promise((resolve) => setTimeout(resolve, 900));
  t.is(dialer.state.kind, 'open');
  t.deepEqual(await request(dialer, Buffer.of(1)), Buffer.of(1));
});

test('a peer that is gone without a word is noticed by the idle timeout', async (t) => {
  const relay = await relayTo(t);
  const { dialer } = await pairOf(
    t,
    { idleTimeoutMs: 300, keepAliveMs: 60 },
    undefined,
    undefined,
    relay.through,
  );
  relay.blackHole();
  t.like(await dialer.closed, { code: 'IdleTimeout', side: 'local' });
});

test('half-open connections are capped, and the places come back', async (t) => {
  const acceptor = await transportOf(t, 'n2', {
    admission: { maxHalfOpen: 5, retryThreshold: 5 },
    connectTimeoutMs: 3000,
  });
  const { address } = await listenOn(acceptor);
  // Dialers that never hear the answer.
  const relay = await relayTo(t);
  const port = await relay.through(address.port);
  relay.mangle = (datagram, toTarget) => (toTarget ? [datagram] : []);
  const deaf = await transportOf(t, 'n1');
  const dials = Array.from({ length: 20 }, () =>
    t.throwsAsync(deaf.dial({ host: address.host, port }, { connectTimeoutMs: 1500 })),
  );
  for (const error of await Promise.all(dials)) t.like(error, { code: 'ConnectTimeout' });
  t.true(acceptor.counters.droppedNotAccepting >= 15);
  await until(() => acceptor.counters.refused === 5);
  const dialer = await transportOf(t, 'n1');
  t.is((await dialer.dial(address)).state.kind, 'open');
});

test('5,000 calls given up at any moment cost neither stream credit nor other calls', async (t) => {
  const { dialer, acceptor } = await pairOf(t, { limits: { maxIncomingStreams: 32 } });
  // Answers a third at once, a third a turn later and large, and abandons a third by itself.
  let served = 0;
  acceptor.onStream = (stream) => {
    const turn = served++ % 3;
    return {
      onFrame(frame) {
        if (turn === 0) stream.send(frame.payload, { end: true });
        else if (turn === 2 && frame.payload[0] === 1) stream.reset('Overloaded');
        else {
          setImmediate(() => {
            try {
              stream.send(Buffer.alloc(100_000, frame.payload[0]));
              stream.send(frame.payload, { end: true });
            } catch {
              // Given up meanwhile.
            }
          });
        }
      },
      onEnd() {},
      onReset() {},
    };
  };
  const giveUp = [
    (call: ReturnType<typeof openCollected>) => call.stream.reset('Cancelled'),
    (call: ReturnType<typeof openCollected>) => setImmediate(() => call.stream.reset('Cancelled')),
    (call: ReturnType<typeof openCollected>) =>
      queueMicrotask(() => call.stream.reset('Cancelled')),
    (call: ReturnType<typeof openCollected>) => setTimeout(() => call.stream.reset('Cancelled'), 2),
    () => {},
  ];
  for (let i = 0; i < 5000; i += 1) {
    const call = openCollected(dialer);
    call.collector.ended.catch(() => {});
    // Half of them end their side before they are given up, half are in the middle of it.
    call.stream.send(Buffer.of(1, 2, 3), { end: i % 2 === 0 });
    giveUp[(i * 7) % giveUp.length]?.(call);
    if (i % 2 === 1) setTimeout(() => call.stream.end(), 5);
    if (i % 64 === 63) await until(() => dialer.openStreams < 64);
  }
  await until(() => dialer.openStreams === 0);
  const last = Array.from({ length: 96 }, async () => {
    const { stream, collector } = openCollected(dialer);
    stream.send(Buffer.of(0), { end: true });
    return (await collector.ended).at(-1);
  });
  t.deepEqual(
    await Promise.all(last),
    Array.from({ length: 96 }, () => 0),
  );
  t.is(dialer.state.kind, 'open');
});

test('with one datagram of twenty lost, every stream ends and nobody waits for ever', async (t) => {
  const relay = await relayTo(t);
  let seed = Date.now() % 2 ** 31;
  t.log(`seed ${seed}`);
  relay.mangle = (datagram) => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return seed % 20 === 0 ? [] : [datagram];
  };
  const limits = { maxIncomingStreams: 32 };
  const { dialer, acceptor } = await pairOf(t, { limits }, undefined, undefined, relay.through);
  acceptor.onStream = (stream) => ({
    onFrame(frame) {
      if (frame.payload[0] === 2) stream.reset('Overloaded');
      // A frame, and later an end by itself: the one that must not get lost.
      else stream.send(Buffer.alloc(frame.payload[0] === 1 ? 50_000 : 5, 7));
      setImmediate(() => stream.end());
    },
    onEnd() {},
    onReset() {},
  });
  const outcomes = Array.from({ length: 600 }, async (_, i) => {
    const call = openCollected(dialer);
    const outcome = call.collector.ended.then(
      (bytes) => bytes.length,
      (error: unknown) => (error as { code: string }).code,
    );
    call.stream.send(Buffer.of(i % 3), { end: true });
    if (i % 7 === 0) setTimeout(() => call.stream.reset('Cancelled'), i % 50);
    return i % 7 === 0 ? undefined : outcome;
  });
  for (const [i, outcome] of (await Promise.all(outcomes)).entries()) {
    if (outcome === undefined) continue;
    if (i % 3 === 2) t.true(outcome === 'Overloaded' || outcome === 'StreamReset');
    else t.is(outcome, i % 3 === 1 ? 50_000 : 5);
  }
  await until(() => dialer.openStreams === 0);
});

test('a datagram that comes again, late or in pieces changes nothing', async (t) => {
  const relay = await relayTo(t);
  relay.mangle = (datagram) => [datagram, datagram, datagram.subarray(0, datagram.length >> 1)];
  const { dialer, acceptor } = await pairOf(t, {}, undefined, undefined, relay.through);
  echoAcceptor(acceptor);
  for (let i = 0; i < 50; i += 1) {
    const payload = randomBytes(3000);
    t.deepEqual(await request(dialer, payload), payload);
  }
});

test('message ids and stream ids are each other’s reverse', (t) => {
  t.deepEqual([0, 4, 8, 1, 5, 9].map(messageIdOf), [1, 3, 5, 2, 4, 6]);
  for (let id = 1; id < 1000; id += 1) t.is(messageIdOf(streamIdOf(id)), id);
});

test('datagrams are routed by connection ID, and dropped with a reason', (t) => {
  const id = 'i'.repeat(16);
  const route = (bytes: readonly number[], length: number) =>
    routeDatagram(
      Buffer.concat([Buffer.from(bytes), Buffer.alloc(length)]).subarray(0, length),
      (key) => key === id,
    );
  const idBytes = [...Buffer.from(id)];
  t.deepEqual(route([0x40, ...idBytes], 40), { kind: 'known', connectionId: id });
  t.deepEqual(route([0xc3, 0, 0, 0, 1, 16, ...idBytes], 40), { kind: 'known', connectionId: id });
  t.deepEqual(route([0xc3, 0, 0, 0, 1, 8, ...Buffer.from('original')], 1200), {
    kind: 'initial',
    connectionId: 'original',
  });
  const dropped = (bytes: readonly number[], length: number) => {
    const result = route(bytes, length);
    return result.kind === 'drop' ? result.reason : result.kind;
  };
  t.is(dropped([], 0), 'malformed');
  t.is(dropped([0x40], 16), 'malformed');
  t.is(dropped([0x40, 1], 40), 'unknownConnection');
  t.is(dropped([0xc3, 0, 0, 0, 1, 21], 1200), 'malformed');
  t.is(dropped([0xc3, 0, 0, 0, 1, 7], 1200), 'malformed');
  t.is(dropped([0xc3, 0, 0, 0, 2, 8], 1200), 'unknownVersion');
  t.is(dropped([0xc3, 0, 0, 0, 1, 8], 1199), 'shortInitial');
  t.is(dropped([0xe3, 0, 0, 0, 1, 8], 1200), 'unknownConnection');
});

async function transportOf(
  t: ExecutionContext,
  nodeId: 'n1' | 'n2',
  options: Partial<QuicTransportOptions> = {},
): Promise<QuicTransport> {
  const tls = await nodeCert(nodeId);
  const transport = new QuicTransport({ cluster: 'test', tls: () => tls, ...options });
  t.teardown(() => transport.close());
  return transport;
}

/** Listens on a port of the system's choice; `connection` is the first that arrives. */
async function listenOn(
  transport: QuicTransport,
): Promise<Listener & { connection: Promise<Connection> }> {
  let accept: (connection: Connection) => void = () => {};
  const connection = new Promise<Connection>((resolve) => {
    accept = resolve;
  });
  const listener = await transport.listen({ host: '127.0.0.1', port: 0, onConnection: accept });
  return { ...listener, connection };
}

async function pairOf(
  t: ExecutionContext,
  options: Partial<QuicTransportOptions> = {},
  dialerTls?: TlsMaterial,
  acceptorTls?: TlsMaterial,
  through: (port: number) => Promise<number> = async (port) => port,
): Promise<{ dialer: Connection; acceptor: Connection }> {
  const dialing = await transportOf(t, 'n1', {
    ...options,
    ...(dialerTls && { tls: () => dialerTls }),
  });
  const listening = await transportOf(t, 'n2', {
    ...options,
    ...(acceptorTls && { tls: () => acceptorTls }),
  });
  const { address, connection } = await listenOn(listening);
  const port = await through(address.port);
  const dialer = await dialing.dial({ host: address.host, port, nodeId: 'n2' });
  return { dialer, acceptor: await connection };
}

/** A man in the middle of one UDP path. */
interface Relay {
  /** Starts to relay to a port; gives the port to dial instead. */
  through(port: number): Promise<number>;
  blackHole(): void;
  mangle: (datagram: Buffer, toTarget: boolean) => readonly Buffer[];
}

async function relayTo(t: ExecutionContext): Promise<Relay> {
  const socket = createSocket('udp4');
  t.teardown(() => socket.close());
  let target = 0;
  let dialer = 0;
  const relay: Relay = {
    mangle: (datagram) => [datagram],
    blackHole: () => {
      relay.mangle = () => [];
    },
    async through(port) {
      target = port;
      await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
      return socket.address().port;
    },
  };
  socket.on('message', (datagram, { port }) => {
    if (port !== target) dialer = port;
    const to = port === target ? dialer : target;
    for (const part of relay.mangle(datagram, port !== target)) socket.send(part, to, '127.0.0.1');
  });
  return relay;
}
