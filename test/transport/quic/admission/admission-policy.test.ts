/** The admission policy by itself, then on the wire with forged Initials from many addresses. */
import { createCipheriv, randomBytes } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import type { Connection, Listener } from '../../../../src/transport/connection.js';
import {
  type AdmissionOptions,
  AdmissionPolicy,
  resolveAdmissionLimits,
} from '../../../../src/transport/quic/admission/admission-policy.js';
import { MAX_HANDSHAKE_BYTES } from '../../../../src/transport/quic/admission/half-open-guard.js';
import {
  QuicTransport,
  type QuicTransportOptions,
} from '../../../../src/transport/quic/transport.js';
import { nodeCert } from '../../../helpers/certs.js';
import { echoAcceptor, request } from '../../../helpers/frame-client.js';
import { startNode, targetOf } from '../../../helpers/nodes.js';
import {
  createForger,
  type Forger,
  idOf,
  readRetry,
  type Stranger,
  strangerAt,
} from '../../../helpers/quic/forger.js';
import { cryptoFrame, pingFrame } from '../../../helpers/quic/frames.js';
import { until } from '../../../helpers/until.js';

/** An empty ServerHello, from a client. */
const NO_HELLO = cryptoFrame(0, Buffer.of(2, 0, 0, 0));

/** The more is told of the server in its transport parameters, the less room is left. */
const RETRY_OPTIONS: readonly (readonly [string, Partial<QuicTransportOptions>])[] = [
  ['as by default', {}],
  [
    'with parameters as long as can be',
    {
      migration: false,
      idleTimeoutMs: 2 ** 31 - 1,
      limits: { maxIncomingStreams: 65_536, streamWindowBytes: 2 ** 30 },
    },
  ],
];

// The policy.

test('below the threshold nobody is asked for a token, from it on everybody is', (t) => {
  const policy = policyWith({ retryThreshold: 3 });
  for (let i = 0; i < 3; i += 1) {
    t.is(policy.judge(`s${i}`, false, 0), 'accept');
    policy.enter(`s${i}`, 0);
  }
  t.is(policy.judge('s9', false, 0), 'retry');
  t.is(policy.judge('s9', true, 0), 'accept');
});

test('those who were sent away count for a while, so that a flood does not come in by turns', (t) => {
  const policy = policyWith({ retryThreshold: 3 });
  for (let i = 0; i < 3; i += 1) policy.enter(`s${i}`, 0);
  let nowMs = 0;
  for (; nowMs < 30_000; nowMs += 1000) t.is(policy.judge('s9', false, nowMs), 'retry');
  // Their places are free again, but as many would come as took them.
  for (let i = 0; i < 3; i += 1) policy.leave(`s${i}`, true, nowMs);
  for (; nowMs < 60_000; nowMs += 1000) t.is(policy.judge('s9', false, nowMs), 'retry');
  t.is(policy.judge('s9', true, nowMs), 'accept');
  t.is(policy.judge('s9', false, nowMs + 15_000), 'accept');
});

test('always means always', (t) => {
  const policy = policyWith({ retry: 'always' });
  t.is(policy.judge('s', false, 0), 'retry');
  t.is(policy.judge('s', true, 0), 'accept');
});

test('a token does not open a full house, nor one that is full of the same source', (t) => {
  const policy = policyWith({ maxHalfOpen: 5, maxHalfOpenPerSource: 3 });
  for (let i = 0; i < 3; i += 1) policy.enter('a', 0);
  t.is(policy.judge('a', true, 0), 'droppedSourceLimit');
  t.is(policy.judge('b', true, 0), 'accept');
  policy.enter('b', 0);
  policy.enter('b', 0);
  t.is(policy.judge('c', true, 0), 'droppedNotAccepting');
  t.is(policy.judge('c', false, 0), 'droppedNotAccepting');
  for (let i = 0; i < 3; i += 1) policy.leave('a', true, 0);
  t.is(policy.judge('c', true, 0), 'accept');
  t.is(policy.halfOpen, 2);
});

test('packets with the address of a peer take no more than half of its places', (t) => {
  const policy = policyWith({ maxHalfOpenPerSource: 4 });
  for (let i = 0; i < 2; i += 1) {
    t.is(policy.judge('peer', false, 0), 'accept');
    policy.enter('peer', 0);
  }
  t.is(policy.judge('peer', false, 0), 'retry');
  t.is(policy.judge('peer', true, 0), 'accept');
  t.is(policy.judge('other', false, 0), 'accept');
});

test('a source pays for handshakes that fail, and half of that may be paid in its name', (t) => {
  // At once: twice four handshakes, of which each costs 4 ms.
  const policy = policyWith({ maxHalfOpenPerSource: 4 });
  const attempt = (source: string, isValidated: boolean, isTrusted: boolean, nowMs: number) => {
    const verdict = policy.judge(source, isValidated, nowMs);
    if (verdict !== 'accept') return verdict;
    policy.enter(source, nowMs);
    policy.leave(source, isTrusted, nowMs);
    return verdict;
  };
  for (let i = 0; i < 1000; i += 1) t.is(attempt('mesh', false, true, 0), 'accept');
  for (let i = 0; i < 4; i += 1) t.is(attempt('a', false, false, 0), 'accept');
  t.is(attempt('a', false, false, 0), 'retry');
  for (let i = 0; i < 5; i += 1) t.is(attempt('a', true, false, 0), 'accept');
  t.is(attempt('a', true, false, 0), 'droppedSourceBudget');
  t.is(attempt('a', false, false, 0), 'droppedSourceBudget');
  t.is(attempt('b', false, false, 0), 'accept');
  // It pays a tenth of the time.
  t.is(attempt('a', true, false, 30), 'droppedSourceBudget');
  t.is(attempt('a', true, false, 41), 'accept');
  t.is(attempt('a', true, false, 42), 'droppedSourceBudget');
  t.is(attempt('a', false, false, 500), 'accept');
});

test('unless it is set, the threshold leaves half of the places to clients with a token', (t) => {
  t.like(resolveAdmissionLimits({}), {
    maxHalfOpen: 1024,
    maxHalfOpenPerSource: 64,
    retryThreshold: 64,
  });
  t.is(resolveAdmissionLimits({ maxHalfOpen: 10 }).retryThreshold, 5);
  t.is(resolveAdmissionLimits({ maxHalfOpen: 1 }).retryThreshold, 1);
  t.is(resolveAdmissionLimits({ maxHalfOpen: 10, retryThreshold: 20 }).retryThreshold, 20);
});

// On the wire.

test('past the threshold a Retry comes back, before it none does, and a peer gets in at once', async (t) => {
  const { transport, address } = await listenWith(t, { admission: { retryThreshold: 3 } });
  const forger = await createForger(await nodeCert('n1'));
  const early: Stranger[] = [];
  for (let i = 1; i <= 3; i += 1) {
    const stranger = await strangerOf(t, `127.0.1.${i}`);
    await stranger.send(forger.initial(), address);
    await until(() => stranger.received.length > 0);
    t.true(stranger.received.every((datagram) => readRetry(datagram) === undefined));
    early.push(stranger);
  }
  t.is(transport.counters.retriesSent, 0);

  const late = await strangerOf(t, '127.0.1.4');
  const initial = forger.initial();
  await late.send(initial, address);
  await until(() => late.received.length === 1);
  const retry = readRetry(late.received[0] as Buffer);
  t.deepEqual(retry?.destinationId, forger.sourceId);
  t.is(retry?.sourceId.length, 16);
  t.deepEqual(retry?.tag, retryTag(idOf(initial), late.received[0] as Buffer));
  t.true((late.received[0] as Buffer).length < 1200);
  t.is(transport.counters.retriesSent, 1);

  // Those who are forged keep their places, and a real peer answers its Retry.
  const dialer = await transportOf(t, 'n1');
  const connection = await dialer.dial({ ...address, nodeId: 'n2' });
  t.is(connection.state.kind, 'open');
  t.is(transport.counters.retriesSent, 2);
  await until(() => transport.counters.accepted === 1);
  t.true(early.every(({ received }) => received.length > 0));
});

test('always on request: the peer comes in with its token, and calls go both ways', async (t) => {
  const { transport, address, accepted } = await listenWith(t, { admission: { retry: 'always' } });
  const dialer = await transportOf(t, 'n1');
  const connections = await Promise.all(
    Array.from({ length: 8 }, () => dialer.dial({ ...address, nodeId: 'n2' })),
  );
  await until(() => accepted.length === 8);
  for (const connection of accepted) echoAcceptor(connection);
  for (const connection of connections) {
    const payload = randomBytes(50_000);
    t.deepEqual(await request(connection, payload), payload);
  }
  t.is(transport.counters.retriesSent, 8);
  t.is(transport.counters.droppedInvalidToken, 0);
});

for (const [what, options] of RETRY_OPTIONS) {
  test(`after a Retry clients come in whatever the length of their first connection ID: ${what}`, async (t) => {
    const { transport, address, accepted } = await listenWith(t, {
      admission: { retry: 'always' },
      ...options,
    });
    const forger = await createForger(await nodeCert('n1'));
    for (let idBytes = 8; idBytes <= 20; idBytes += 1) {
      const stranger = await strangerOf(t, `127.0.1.${idBytes}`);
      await stranger.send(forger.initial({ originalId: randomBytes(idBytes) }), address);
      await until(() => stranger.received.length === 1);
      const retry = readRetry(stranger.received[0] as Buffer);
      if (retry === undefined) return t.fail(`no Retry for an ID of ${idBytes} bytes`);
      const { sourceId: originalId, token } = retry;
      await stranger.send(forger.initial({ originalId, token }), address);
      // The server's part of the handshake: its parameters have the ID in them.
      await until(() => stranger.received.length > 1);
    }
    t.like(transport.counters, { droppedMalformed: 0, droppedInvalidToken: 0, retriesSent: 13 });
    // And those who have the certificate become connections.
    const dialer = await transportOf(t, 'n1', options);
    const connection = await dialer.dial({ ...address, nodeId: 'n2' });
    await until(() => accepted.length === 1);
    echoAcceptor(accepted[0] as Connection);
    t.deepEqual(await request(connection, Buffer.of(7)), Buffer.of(7));
  });
}

test('a resumed dial that meets a Retry loses none of its early calls, and runs none twice', async (t) => {
  const transports = ['quic'] as const;
  const n1 = await startNode(t, 'n1', { transports });
  const n2 = await startNode(t, 'n2', { transports, admission: { retry: 'always' } });
  const asked: unknown[] = [];
  n2.handle('request', ({ method }) => {
    asked.push(method);
    return { body: method };
  });
  for (let i = 0; i < 3; i += 1) {
    const peer = n1.connectEarly(targetOf(n2));
    const safe = peer.request(
      { type: 'request', method: `safe ${i}`, body: randomBytes(5000) },
      { replaySafe: true },
    );
    const other = peer.request({ type: 'request', method: `other ${i}` });
    t.is((await safe).body, `safe ${i}`);
    t.is((await other).body, `other ${i}`);
    // What follows the session has come: so has the session.
    await peer.ping();
    await peer.close();
    await until(() => n2.peers.every(({ isConnected }) => !isConnected));
  }
  t.is(asked.length, 6);
  t.is(new Set(asked).size, 6);
  // A dialer that waits for long asks again.
  t.true((n2.counters.transports.quic?.retriesSent ?? 0) >= 3);
  t.is(n1.counters.transports.quic?.resumed, 2);
});

test('a token of another client is dropped, one from elsewhere counts as none', async (t) => {
  const { transport, address } = await listenWith(t, { admission: { retry: 'always' } });
  const { counters } = transport;
  const forger = await createForger(await nodeCert('n1'));
  const owner = await strangerOf(t, '127.0.1.1');
  const { originalId, token } = await tokenFor(owner, forger, address);
  const thief = await strangerOf(t, '127.0.1.2');
  await thief.send(forger.initial({ originalId, token }), address);
  await until(() => counters.droppedInvalidToken === 1);
  // The owner's port counts as well, and so does the connection ID that the Retry gave.
  const neighbour = await strangerOf(t, '127.0.1.1');
  await neighbour.send(forger.initial({ originalId, token }), address);
  await until(() => counters.droppedInvalidToken === 2);
  await owner.send(forger.initial({ token }), address);
  await until(() => counters.droppedInvalidToken === 3);
  await thief.send(forger.initial({ token: randomBytes(80).fill(0, 0, 1) }), address);
  await until(() => counters.retriesSent === 2);
  await until(() => thief.received.length === 1);
  t.is(neighbour.received.length, 0);

  await owner.send(forger.initial({ originalId, token }), address);
  await until(() => owner.received.length > 1);
  t.is(readRetry(owner.received[1] as Buffer), undefined);
  t.is(counters.droppedInvalidToken, 3);
});

test('whoever forges the address of a peer does not keep that peer out', async (t) => {
  const { transport, address } = await listenWith(t, { admission: { maxHalfOpenPerSource: 6 } });
  const forger = await createForger(await nodeCert('n1'));
  const stranger = await strangerOf(t, '127.0.0.1');
  for (let i = 0; i < 50; i += 1) await stranger.send(forger.initial(), address);
  await until(() => transport.counters.retriesSent === 47);
  // Another source is not asked for anything.
  const other = await strangerOf(t, '127.0.1.1');
  await other.send(forger.initial(), address);
  await until(() => other.received.length > 0);
  t.is(readRetry(other.received[0] as Buffer), undefined);
  const dialer = await transportOf(t, 'n1');
  t.is((await dialer.dial({ ...address, nodeId: 'n2' })).state.kind, 'open');
  t.is(transport.counters.retriesSent, 48);
});

test('a source has no more places than its share, tokens or not', async (t) => {
  const { transport, address } = await listenWith(t, {
    admission: { retry: 'always', maxHalfOpenPerSource: 2 },
  });
  const forger = await createForger(await nodeCert('n1'));
  const strangers: Stranger[] = [];
  for (let i = 0; i < 4; i += 1) {
    const stranger = await strangerOf(t, '127.0.1.1');
    const { originalId, token } = await tokenFor(stranger, forger, address);
    await stranger.send(forger.initial({ originalId, token }), address);
    strangers.push(stranger);
  }
  await until(() => transport.counters.droppedSourceLimit === 2);
  await until(() => strangers.filter(({ received }) => received.length > 1).length === 2);
  const dialer = await transportOf(t, 'n1');
  t.is((await dialer.dial({ ...address, nodeId: 'n2' })).state.kind, 'open');
});

test('no more than 24 KiB of a handshake come in before it has proved itself', async (t) => {
  const { transport, address } = await listenWith(t, {});
  const forger = await createForger(await nodeCert('n1'));
  const stranger = await strangerOf(t, '127.0.1.1');
  const originalId = randomBytes(16);
  await stranger.send(forger.initial({ originalId }), address);
  for (let i = 1; i < 80; i += 1) {
    const payload = cryptoFrame(1000 * i, randomBytes(1000));
    await stranger.send(forger.initial({ originalId, packetNumber: i, payload }), address);
  }
  const { counters } = transport;
  // They wait for their turns.
  await until(() => counters.droppedHalfOpenExcess === 80 - Math.floor(MAX_HANDSHAKE_BYTES / 1200));
  t.is(counters.datagramsReceived, 80);
  t.is(counters.droppedHandshakeQueueFull, 0);
});

test('an address that proved nothing gets three times what it sent at most', async (t) => {
  const { transport, address } = await listenWith(t, { connectTimeoutMs: 6500 });
  const forger = await createForger(await nodeCert('n1'));
  // Each in its own way; all of them wait for what is sent again after a timeout, and for the close.
  const strangers: Stranger[] = [];
  const stranger = async (host: string) => {
    const one = await strangerOf(t, host);
    strangers.push(one);
    return one;
  };
  const silent = await stranger('127.0.1.1');
  await silent.send(forger.initial(), address);

  const pinging = await stranger('127.0.1.2');
  const originalId = randomBytes(16);
  await pinging.send(forger.initial({ originalId }), address);
  await until(() => pinging.received.length > 0);
  for (let packetNumber = 1; packetNumber < 20; packetNumber += 1) {
    const ping = { originalId, packetNumber, payload: pingFrame() };
    await pinging.send(forger.initial({ ...ping, padTo: packetNumber < 15 ? 80 : 1200 }), address);
  }

  const repeating = await stranger('127.0.1.3');
  for (let i = 0; i < 40; i += 1) await repeating.send(forger.initial(), address);

  // A ClientHello that TLS refuses, answered by an alert.
  const refused = await stranger('127.0.1.4');
  await refused.send(forger.initial({ payload: NO_HELLO }), address);

  // What arrives from elsewhere earns nothing for the address that answers go to.
  const forged = await stranger('127.0.1.5');
  const elsewhere = await strangerOf(t, '127.0.1.6');
  const id = randomBytes(16);
  await forged.send(forger.initial({ originalId: id }), address);
  await until(() => forged.received.length > 0);
  for (let packetNumber = 1; packetNumber < 20; packetNumber += 1) {
    const ping = { originalId: id, packetNumber, payload: pingFrame() };
    await elsewhere.send(forger.initial(ping), address);
  }

  const { counters } = transport;
  // Of the one that repeats its Initial, every second place of its source is for those with a token.
  await until(() => counters.refused === 4 + 32);
  for (const [i, { received, receivedBytes, sentBytes }] of strangers.entries()) {
    t.true(received.length > 0, `${i}`);
    t.true(receivedBytes <= 3 * sentBytes, `${i}: ${receivedBytes} bytes for ${sentBytes}`);
    t.log(`${i}: ${receivedBytes} bytes for ${sentBytes}`);
  }
  t.true(silent.received.length >= 3, 'the first flight was sent again');
});

test('garbage and TLS that fails take no place that they keep', async (t) => {
  const { transport, address } = await listenWith(t, {
    connectTimeoutMs: 300,
    admission: { maxHalfOpen: 4, retryThreshold: 4 },
  });
  const forger = await createForger(await nodeCert('n1'));
  const stranger = await strangerOf(t, '127.0.1.1');
  const { counters } = transport;
  for (let i = 0; i < 20; i += 1) {
    const garbage = forger.initial();
    garbage.fill(i, 600, 700);
    await stranger.send(garbage, address);
  }
  await until(() => counters.droppedUnreadableInitial === 20);
  t.is(counters.droppedNotAccepting, 0);
  const dialer = await transportOf(t, 'n1');
  t.is((await dialer.dial({ ...address, nodeId: 'n2' })).state.kind, 'open');
  await until(() => counters.accepted === 1);
  // These do: the binding's connection is not gone as soon as it is over.
  for (let i = 1; i <= 6; i += 1) {
    const one = await strangerOf(t, `127.0.2.${i}`);
    await one.send(forger.initial({ payload: NO_HELLO }), address);
  }
  await until(() => counters.droppedNotAccepting === 2 && counters.refused >= 4);
  t.is(counters.refused, 4);
  t.is((await dialer.dial({ ...address, nodeId: 'n2' })).state.kind, 'open');
});

function policyWith(options: AdmissionOptions): AdmissionPolicy {
  return new AdmissionPolicy(resolveAdmissionLimits(options));
}

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

/** It answers strangers: how silence keeps them out altogether is in `silence.test.ts`. */
async function listenWith(t: ExecutionContext, options: Partial<QuicTransportOptions>) {
  const admission = { silent: 'off', ...options.admission } as const;
  const transport = await transportOf(t, 'n2', { ...options, admission });
  const accepted: Parameters<typeof echoAcceptor>[0][] = [];
  const listener: Listener = await transport.listen({
    host: '127.0.0.1',
    port: 0,
    onConnection: (connection) => accepted.push(connection),
  });
  return { transport, address: listener.address, accepted };
}

async function strangerOf(t: ExecutionContext, host: string): Promise<Stranger> {
  const stranger = await strangerAt(host);
  t.teardown(() => stranger.close());
  return stranger;
}

/** The token that a client gets by a first packet, and the connection ID to go on with. */
async function tokenFor(
  stranger: Stranger,
  forger: Forger,
  address: Listener['address'],
): Promise<{ originalId: Buffer; token: Buffer }> {
  await stranger.send(forger.initial(), address);
  await until(() => stranger.received.length > 0);
  const retry = readRetry(stranger.received.at(-1) as Buffer);
  if (retry === undefined) throw new Error('no Retry came');
  return { originalId: retry.sourceId, token: retry.token };
}

/** What a Retry has to end with (RFC 9001, section 5.8). */
function retryTag(originalId: Buffer, packet: Buffer): Buffer {
  const key = Buffer.from('be0c690b9f66575a1d766b54e368c84e', 'hex');
  const nonce = Buffer.from('461599d35d632bf2239825bb', 'hex');
  const cipher = createCipheriv('aes-128-gcm', key, nonce);
  cipher.setAAD(Buffer.concat([Buffer.of(originalId.length), originalId, packet.subarray(0, -16)]));
  cipher.final();
  return cipher.getAuthTag();
}
