/** A peer that was started anew says that it has forgotten the connection; nobody else can say so for it. */
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import test, { type ExecutionContext } from 'ava';
import type { Connection, SocketAddress } from '../../../../src/transport/connection.js';
import {
  mayBeReset,
  ResetTokens,
} from '../../../../src/transport/quic/admission/stateless-reset.js';
import {
  QuicTransport,
  type QuicTransportOptions,
} from '../../../../src/transport/quic/transport.js';
import { certNamed, nodeCert, type TestNodeId } from '../../../helpers/certs.js';
import { echoAcceptor, request } from '../../../helpers/frame-client.js';
import { strangerAt } from '../../../helpers/quic/forger.js';
import { Victim } from '../../../helpers/quic/victim.js';
import { until } from '../../../helpers/until.js';

const ADDRESS = { host: '127.0.0.1', port: 7001 };
const RANDOM = randomBytes(64);

test('a token belongs to one connection ID, one key and one address, and outlives the process', (t) => {
  const tokens = new ResetTokens('key', ADDRESS);
  const id = randomBytes(16);
  const token = tokens.tokenOf(id);
  t.is(token.length, 16);
  t.deepEqual(new ResetTokens('key', { ...ADDRESS }).tokenOf(id), token);
  const others = [
    tokens.tokenOf(randomBytes(16)),
    new ResetTokens('another key', ADDRESS).tokenOf(id),
    new ResetTokens('key', { ...ADDRESS, port: 7002 }).tokenOf(id),
    new ResetTokens('key', { ...ADDRESS, host: '127.0.0.2' }).tokenOf(id),
  ];
  for (const other of others) t.notDeepEqual(other, token);
  const many = Array.from({ length: 1000 }, () => tokens.tokenOf(randomBytes(16)).toString('hex'));
  t.is(new Set(many).size, 1000);
  t.is(tokens.numberOf(id).toString(16).padStart(32, '0'), token.toString('hex'));
});

test('a reset is shorter than what it answers, looks like any packet, and ends with the token', (t) => {
  const tokens = new ResetTokens('key', ADDRESS);
  for (let length = 1; length < 100; length += 1) {
    const id = tokens.newConnectionId(16);
    const stray = shortPacket(id, Math.max(17, length)).subarray(0, length);
    const answer = tokens.answer(stray, RANDOM);
    if (length < 22) {
      t.is(answer, undefined);
      continue;
    }
    const reset = answer as Buffer;
    t.is(reset.length, Math.min(length - 1, 43));
    t.true(mayBeReset(reset));
    t.deepEqual(reset.subarray(-16), tokens.tokenOf(stray.subarray(1, 17)));
  }
});

test('an ID is known again after a restart, whatever follows it, and no other is', (t) => {
  const tokens = new ResetTokens('key', ADDRESS);
  for (const bytes of [16, 20]) {
    const id = tokens.newConnectionId(bytes);
    t.is(id.length, bytes);
    t.true(new ResetTokens('key', { ...ADDRESS }).isOwn(id));
    t.true(tokens.isOwn(id.subarray(0, 16)));
    t.deepEqual(tokens.tokenOf(id), tokens.tokenOf(id.subarray(0, 16)));
    t.false(new ResetTokens('another key', ADDRESS).isOwn(id));
    t.false(new ResetTokens('key', { ...ADDRESS, port: 7002 }).isOwn(id));
    t.false(tokens.isOwn(id.subarray(0, 15)));
    for (let bit = 0; bit < 8 * 16; bit += 1) {
      const altered = Buffer.from(id);
      altered[bit >> 3] = (altered[bit >> 3] as number) ^ (1 << (bit & 7));
      t.false(tokens.isOwn(altered), `${bit}`);
      t.is(tokens.answer(shortPacket(altered, 100), RANDOM), undefined);
    }
  }
});

test('two sides that both know nothing do not answer each other for ever', (t) => {
  const [a, b] = [new ResetTokens('a', ADDRESS), new ResetTokens('b', ADDRESS)];
  let packet: Buffer | undefined = shortPacket(a.newConnectionId(16), 1200);
  let answers = 0;
  for (; packet !== undefined; answers += 1) {
    const [who, other] = answers % 2 === 0 ? [a, b] : [b, a];
    packet = who.answer(packet, randomBytes(64));
    // As if the other side had issued the ID.
    packet?.set(other.newConnectionId(16), 1);
  }
  t.true(answers < 30);
});

test('after a crash the dialer hears from the new process that its connection is gone', async (t) => {
  const first = await Victim.start(t);
  const { transport, dial } = await dialerOf(t, first.address);
  const connections = [await dial(), await dial()];
  await first.kill();
  const second = await Victim.start(t, { port: first.address.port });
  const pending = connections.map((connection) => request(connection, randomBytes(100)));
  for (const connection of connections) {
    t.like(await connection.closed, { code: 'ConnectionLost', side: 'remote' });
  }
  for (const call of pending) t.like(await t.throwsAsync(call), { code: 'ConnectionLost' });
  t.is(transport.counters.statelessResetsReceived, 2);
  t.true((await second.health()).counters.statelessResetsSent! >= 2);
  t.deepEqual(await request(await dial(), Buffer.of(1)), Buffer.of(1));
});

test('another node at the same address cannot end it', async (t) => {
  const first = await Victim.start(t);
  const { transport, dial } = await dialerOf(t, first.address);
  const connection = await dial();
  await first.kill();
  const second = await Victim.start(t, { port: first.address.port, tls: await certNamed('n1') });
  const call = request(connection, randomBytes(100));
  call.catch(() => {});
  while ((await second.health()).counters.droppedUnknownConnection! < 2);
  t.is((await second.health()).counters.statelessResetsSent, 0);
  t.is(connection.state.kind, 'open');
  t.is(transport.counters.statelessResetsReceived, 0);
});

test('a token ends its own connection and no other, and none is to be guessed', async (t) => {
  const listening = await transportOf(t, 'n2');
  const { address } = await listening.listen({
    host: '127.0.0.1',
    port: 0,
    onConnection: echoAcceptor,
  });
  const relay = await relayTo(t, address);
  const { transport, dial } = await dialerOf(t, relay.address, 'n2');
  const one = await dial();
  // The first may travel with the end of the handshake.
  while (relay.lastShortId() === undefined) await request(one, Buffer.of(1));
  const oneId = relay.lastShortId() as Buffer;
  const other = await dial();

  for (let i = 0; i < 500; i += 1) relay.inject(shortPacket(randomBytes(16), 43));
  const tokens = new ResetTokens((await nodeCert('n2')).key, address);
  // Another socket of the same node has other tokens.
  const elsewhere = new ResetTokens((await nodeCert('n2')).key, ADDRESS);
  relay.inject(withToken(elsewhere.tokenOf(oneId)));
  t.deepEqual(await request(one, Buffer.of(2)), Buffer.of(2));
  t.is(transport.counters.statelessResetsReceived, 0);

  relay.inject(withToken(tokens.tokenOf(oneId)));
  t.like(await one.closed, { code: 'ConnectionLost', side: 'remote' });
  t.deepEqual(await request(other, Buffer.of(3)), Buffer.of(3));
  t.is(transport.counters.statelessResetsReceived, 1);
});

test('a token ends no connection that resumes its own, and whose handshake is under way', async (t) => {
  const listening = await transportOf(t, 'n2');
  const { address } = await listening.listen({
    host: '127.0.0.1',
    port: 0,
    onConnection: echoAcceptor,
  });
  const relay = await relayTo(t, address);
  const { transport, dial } = await dialerOf(t, relay.address, 'n2');
  const first = await dial();
  while (relay.lastShortId() === undefined) await request(first, Buffer.of(1));
  const tokens = new ResetTokens((await nodeCert('n2')).key, address);
  const reset = withToken(tokens.tokenOf(relay.lastShortId() as Buffer));
  await first.close();

  relay.isHeld = true;
  const { droppedUnknownConnection: before } = transport.counters;
  let early: Connection | undefined;
  const dialed = transport.dial(
    { ...relay.address, nodeId: 'n2' },
    {
      onEarly: (connection) => {
        early = connection;
      },
    },
  );
  await until(() => early !== undefined);
  relay.inject(reset);
  await until(() => transport.counters.droppedUnknownConnection > before);
  t.is(early?.state.kind, 'early');
  t.is(transport.counters.statelessResetsReceived, 0);
  relay.isHeld = false;
  t.deepEqual(await request(await dialed, Buffer.of(2)), Buffer.of(2));
});

test('strays are answered by who listens, at a bounded rate, and by no one else', async (t) => {
  const transport = await transportOf(t, 'n2');
  const { address } = await transport.listen({ host: '127.0.0.1', port: 0, onConnection() {} });
  const stranger = await strangerAt('127.0.0.1');
  t.teardown(() => stranger.close());
  const { counters } = transport;
  // Those of a stranger are not, and use up nothing.
  for (let i = 0; i < 500; i += 1) await stranger.send(shortPacket(randomBytes(16), 60), address);
  await until(() => counters.droppedUnknownConnection === 500);
  t.is(counters.statelessResetsSent, 0);
  const ids = new ResetTokens((await nodeCert('n2')).key, address);
  for (let i = 0; i < 500; i += 1) {
    await stranger.send(shortPacket(ids.newConnectionId(16), 60), address);
  }
  await until(() => counters.droppedUnknownConnection === 1000);
  t.true(counters.statelessResetsSent! >= 100 && counters.statelessResetsSent! < 500);
  await until(() => stranger.received.length === counters.statelessResetsSent);

  const { transport: dialer, dial } = await dialerOf(t, address, 'n2');
  const connection = await dial();
  const { port } = connection.localAddress;
  await stranger.send(shortPacket(randomBytes(16), 60), { host: '127.0.0.1', port });
  await until(() => dialer.counters.droppedUnknownConnection === 1);
  t.is(dialer.counters.statelessResetsSent, 0);
});

async function transportOf(
  t: ExecutionContext,
  nodeId: TestNodeId,
  options: Partial<QuicTransportOptions> = {},
): Promise<QuicTransport> {
  const tls = await nodeCert(nodeId);
  const transport = new QuicTransport({ cluster: 'test', tls: () => tls, ...options });
  t.teardown(() => transport.close());
  return transport;
}

async function dialerOf(t: ExecutionContext, address: SocketAddress, nodeId: TestNodeId = 'n1') {
  // So long that only a reset can be what ended a connection.
  const transport = await transportOf(t, 'n3', { idleTimeoutMs: 600_000 });
  return { transport, dial: () => transport.dial({ ...address, nodeId }) };
}

/** Stands between dialers and a listener, sees what passes and puts in what it likes. */
async function relayTo(t: ExecutionContext, target: SocketAddress) {
  const socket = createSocket('udp4');
  t.teardown(() => socket.close());
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  let dialerPort = 0;
  let shortId: Buffer | undefined;
  socket.on('message', (datagram, { port }) => {
    const isFromTarget = port === target.port;
    if (!isFromTarget) dialerPort = port;
    if (!isFromTarget && mayBeReset(datagram)) shortId = datagram.subarray(1, 17);
    if (isFromTarget && relay.isHeld) return;
    socket.send(datagram, isFromTarget ? dialerPort : target.port, '127.0.0.1');
  });
  const relay = {
    /** Nothing of the target's passes. */
    isHeld: false,
    address: { host: '127.0.0.1', port: socket.address().port },
    /** The acceptor's connection ID in the dialer's last packet. */
    lastShortId: () => shortId,
    inject: (datagram: Buffer) => socket.send(datagram, dialerPort, '127.0.0.1'),
  };
  return relay;
}

function shortPacket(connectionId: Buffer, length: number): Buffer {
  return Buffer.concat([Buffer.of(0x40), connectionId, randomBytes(length - 17)]);
}

function withToken(token: Buffer): Buffer {
  return Buffer.concat([shortPacket(randomBytes(16), 27), token]);
}
