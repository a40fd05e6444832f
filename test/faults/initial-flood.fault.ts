/** 20,000 forged first packets in a burst, at a listener in a process of its own: it stays small, and peers get in. */
import { randomBytes } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { QuicTransport } from '../../src/transport/quic/transport.js';
import { nodeCert } from '../helpers/certs.js';
import { request } from '../helpers/frame-client.js';
import {
  createForger,
  type Forger,
  readRetry,
  type Stranger,
  strangerAt,
} from '../helpers/quic/forger.js';
import { cryptoFrame } from '../helpers/quic/frames.js';
import { initialKeys } from '../helpers/quic/packets.js';
import { Victim } from '../helpers/quic/victim.js';

const PACKETS = 20_000;
const STRANGERS = 400;
const MAX_GROWTH_BYTES = 16_000_000;
/** Packets under way; more might not fit into the listener's socket, and would never be looked at. */
const WINDOW = 1000;
const PEERS = 10;
const CRUMBS = 60;
const MEASUREMENTS = 4;
const SETTLE_ROUNDS = 4;
/** A busy machine may take so long to answer. */
const SLOW_MS = 60_000;

test.serial('ClientHellos from many addresses', async (t) => {
  const { listener, forger, dial } = await startFlood(t);
  const strangers = await strangersOf(t);
  const outcome = await flood(listener, strangers, dial, () => forger.initial());
  t.true(outcome.growthBytes < MAX_GROWTH_BYTES, `${outcome.growthBytes} bytes`);
  t.true(outcome.counters.retriesSent! > PACKETS / 2);
  t.true(outcome.counters.accepted! >= PEERS);
  for (const { received, receivedBytes, sentBytes, address } of strangers) {
    t.true(receivedBytes <= 3 * sentBytes, `${address.host}: ${receivedBytes} for ${sentBytes}`);
    t.true(received.some((datagram) => readRetry(datagram) !== undefined));
  }
  t.log(`${outcome.growthBytes} bytes more; ${JSON.stringify(outcome.counters)}`);
});

test.serial('CRYPTO frames of one byte, for connections that they opened themselves', async (t) => {
  const { listener, forger, dial } = await startFlood(t);
  const strangers = await strangersOf(t);
  // All of them below the threshold.
  const victims = strangers.slice(0, 60).map((stranger) => {
    const originalId = randomBytes(16);
    return { stranger, originalId, keys: initialKeys(originalId), packetNumber: 0 };
  });
  const outcome = await flood(
    listener,
    victims.map(({ stranger }) => stranger),
    dial,
    (i) => {
      const victim = victims[i % victims.length]!;
      const { originalId, keys } = victim;
      const packetNumber = victim.packetNumber++;
      const payload = packetNumber === 0 ? forger.hello : crumbs(packetNumber);
      return forger.initial({ originalId, keys, packetNumber, payload });
    },
  );
  t.true(outcome.growthBytes < MAX_GROWTH_BYTES, `${outcome.growthBytes} bytes`);
  t.true(outcome.counters.droppedHalfOpenExcess! > PACKETS / 2);
  t.log(`${outcome.growthBytes} bytes more; ${JSON.stringify(outcome.counters)}`);
});

test.serial('Initials that do not open', async (t) => {
  const { listener, forger, dial } = await startFlood(t);
  const good = forger.initial();
  const outcome = await flood(listener, await strangersOf(t), dial, () => {
    const packet = Buffer.from(good);
    packet.set(randomBytes(16), 6);
    return packet;
  });
  t.true(outcome.growthBytes < MAX_GROWTH_BYTES, `${outcome.growthBytes} bytes`);
  t.is(outcome.counters.droppedUnreadableInitial, PACKETS);
  t.is(outcome.counters.retriesSent, 0);
  t.log(`${outcome.growthBytes} bytes more; ${JSON.stringify(outcome.counters)}`);
});

/** Pieces of which none is next to another. */
function crumbs(packetNumber: number): Buffer {
  const frames = Array.from({ length: CRUMBS }, (_, i) =>
    cryptoFrame(2000 + 2 * (CRUMBS * packetNumber + i), Buffer.of(1)),
  );
  return Buffer.concat(frames);
}

interface Flood {
  readonly listener: Victim;
  readonly forger: Forger;
  /** A peer connects and makes a call. */
  readonly dial: () => Promise<void>;
}

async function startFlood(t: ExecutionContext): Promise<Flood> {
  t.timeout(120_000);
  // Whoever is half-open stays so to the end, however slow the machine: the most that a burst can hold at once.
  const admission = { silent: 'off' } as const;
  const listener = await Victim.start(t, { connectTimeoutMs: 100_000, admission });
  const tls = await nodeCert('n2');
  const forger = await createForger(tls);
  const transport = new QuicTransport({
    cluster: 'test',
    tls: () => tls,
    connectTimeoutMs: 20_000,
  });
  t.teardown(() => transport.close());
  const dial = async () => {
    const connection = await transport.dial({ ...listener.address, nodeId: 'n1' });
    const payload = randomBytes(1000);
    t.deepEqual(await request(connection, payload), payload);
  };
  // What a process takes once and for all, under any load, is no part of what a flood costs.
  const connection = await transport.dial({ ...listener.address, nodeId: 'n1' });
  for (let i = 0; i < 100; i += 1) {
    await Promise.all(Array.from({ length: 50 }, () => request(connection, randomBytes(1000))));
  }
  return { listener, forger, dial };
}

async function strangersOf(t: ExecutionContext): Promise<Stranger[]> {
  const strangers = await Promise.all(
    Array.from({ length: STRANGERS }, (_, i) => strangerAt(`127.1.${i >> 8}.${i & 0xff}`)),
  );
  t.teardown(() => {
    for (const stranger of strangers) stranger.close();
  });
  return strangers;
}

/** Sends as fast as the listener reads, while peers connect one after the other. */
async function flood(
  listener: Victim,
  strangers: readonly Stranger[],
  dial: () => Promise<void>,
  packet: (index: number) => Buffer,
): Promise<{ growthBytes: number; counters: Readonly<Record<string, number>> }> {
  const packets = Array.from({ length: PACKETS }, (_, i) => packet(i));
  const beforeBytes = await keptBytes(listener);
  const base = await received(listener);
  const dials: Promise<void>[] = [];
  let largestBytes = beforeBytes;
  for (let sent = 0; sent < PACKETS; ) {
    const under: Promise<void>[] = [];
    for (let i = 0; i < WINDOW; i += 1, sent += 1) {
      const stranger = strangers[sent % strangers.length] as Stranger;
      under.push(stranger.send(packets[sent] as Buffer, listener.address));
    }
    await Promise.all(under);
    if (sent % (PACKETS / PEERS) === 0) dials.push(dial());
    while ((await received(listener)) - base < sent);
    if (sent % (PACKETS / MEASUREMENTS) !== 0) continue;
    largestBytes = Math.max(largestBytes, await keptBytes(listener));
  }
  await Promise.all(dials);
  const { counters } = await listener.health(SLOW_MS);
  return { growthBytes: largestBytes - beforeBytes, counters };
}

async function received(listener: Victim): Promise<number> {
  return (await listener.health(SLOW_MS)).counters.datagramsReceived as number;
}

/**
 * What is left when garbage is gone, and what it held outside of JavaScript: that takes another round, and on a busy
 * machine, where peers were slow to be done, some more.
 */
async function keptBytes(listener: Victim): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < SETTLE_ROUNDS; round += 1) {
    least = Math.min(least, await listener.settledRssBytes());
  }
  return least;
}
