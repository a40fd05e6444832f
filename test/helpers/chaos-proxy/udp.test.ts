/** What the chaos proxy does to datagrams, between real sockets. */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import test, { type ExecutionContext } from 'ava';
import type { SocketAddress } from '../../../src/transport/connection.js';
import { until } from '../until.js';
import type { PathCounters } from './counters.js';
import { ChaosProxy, type ChaosProxyOptions } from './proxy.js';

const LOOPBACK = '127.0.0.1';

interface Seen {
  readonly number: number;
  readonly bytes: Buffer;
  readonly from: RemoteInfo;
  readonly atMs: number;
}

/** A socket that keeps what comes, and numbers what it sends. */
class Numbers {
  readonly seen: Seen[] = [];
  readonly socket: Socket;
  #next = 0;

  static async open(t: ExecutionContext, options: { echo?: boolean } = {}): Promise<Numbers> {
    const socket = createSocket('udp4');
    await new Promise<void>((resolve) => socket.bind(0, LOOPBACK, resolve));
    t.teardown(() => new Promise<void>((resolve) => socket.close(() => resolve())));
    return new Numbers(socket, options.echo ?? false);
  }

  private constructor(socket: Socket, echo: boolean) {
    this.socket = socket;
    socket.on('message', (bytes, from) => {
      const atMs = performance.now();
      this.seen.push({ number: bytes.readUInt32BE(), bytes, from, atMs });
      if (echo) socket.send(bytes, from.port, from.address);
    });
  }

  get address(): SocketAddress {
    return { host: LOOPBACK, port: this.socket.address().port };
  }

  get numbers(): number[] {
    return this.seen.map(({ number }) => number);
  }

  /** At a pace that no buffer of the system overflows at. */
  async send(to: SocketAddress, count: number, lengthBytes = 64): Promise<void> {
    for (let i = 0; i < count; i += 1) {
      const datagram = Buffer.alloc(lengthBytes);
      datagram.writeUInt32BE(this.#next);
      this.#next += 1;
      this.socket.send(datagram, to.port, to.host);
      if (i % 20 === 19) await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
}

async function setUp(
  t: ExecutionContext,
  options: Omit<ChaosProxyOptions, 'target'> = {},
): Promise<{ client: Numbers; server: Numbers; proxy: ChaosProxy }> {
  const server = await Numbers.open(t, { echo: true });
  const proxy = await ChaosProxy.start({ ...options, target: server.address });
  t.teardown(() => proxy.close());
  t.log(`seed ${proxy.seed}`);
  return { client: await Numbers.open(t), server, proxy };
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

/** Sends, and waits until each datagram was dropped by the proxy or has come back, as often as it was doubled. */
async function sendAndSettle(client: Numbers, proxy: ChaosProxy, count: number): Promise<void> {
  await client.send(proxy.address, count);
  const { toServer, toClient } = proxy.counters.udp;
  await until(() => taken(toServer) === count);
  await until(() => taken(toClient) === toServer.forwarded);
  await until(() => client.seen.length === toClient.forwarded);
}

/** The datagrams that came to the proxy in one direction. */
function taken({ forwarded, dropped, duplicated }: PathCounters): number {
  return forwarded + dropped - duplicated;
}

test('without faults everything arrives, once and in order', async (t) => {
  const { client, server, proxy } = await setUp(t);
  await client.send(proxy.address, 500);
  await until(() => client.seen.length === 500);
  t.deepEqual(server.numbers, range(500));
  t.deepEqual(client.numbers, range(500));
  t.like(proxy.counters.udp.toServer, { forwarded: 500, forwardedBytes: 500 * 64, dropped: 0 });
  t.like(proxy.counters.udp.toClient, { forwarded: 500, corrupted: 0, duplicated: 0 });
});

test('the same seed loses, doubles and corrupts the same datagrams, each direction its own', async (t) => {
  const run = async (seed: number) => {
    const faults = { loss: 0.1, duplicate: 0.1, corrupt: 0.1 };
    const { client, server, proxy } = await setUp(t, { seed, faults });
    await sendAndSettle(client, proxy, 400);
    await proxy.close();
    const { toServer, toClient } = proxy.counters.udp;
    for (const { dropped, duplicated, corrupted, forwarded } of [toServer, toClient]) {
      for (const count of [dropped, duplicated, corrupted]) t.true(count > 10 && count < 90);
      t.true(forwarded > 300);
    }
    return {
      server: server.seen.map(({ bytes }) => bytes.toString('hex')),
      client: client.seen.map(({ bytes }) => bytes.toString('hex')),
    };
  };
  const first = await run(42);
  t.deepEqual(await run(42), first);
  t.notDeepEqual((await run(43)).server, first.server);
  t.notDeepEqual(first.client, first.server);
});

test('reordered datagrams are overtaken by as many as asked, and none is lost', async (t) => {
  const faults = { udp: { toServer: { reorder: 0.1, reorderBy: 5 } } };
  const { client, server, proxy } = await setUp(t, { seed: 5, faults });
  await client.send(proxy.address, 300);
  await until(() => server.seen.length === 300);
  const { reordered } = proxy.counters.udp.toServer;
  t.true(reordered > 10);
  t.deepEqual(
    [...server.numbers].sort((a, b) => a - b),
    range(300),
  );
  const late = server.numbers.filter((number, i) =>
    server.numbers.slice(0, i).some((before) => before > number),
  );
  // The last ones may have had nobody to be overtaken by.
  t.true(late.length >= reordered - 5, `${late.length} of ${reordered}`);
  await until(() => client.seen.length === 300);
});

test('delays hold in each direction, and never less', async (t) => {
  const faults = { toServer: { delayMs: 30 }, toClient: { delayMs: 50, jitterMs: 20 } };
  const { client, server, proxy } = await setUp(t, { faults });
  for (let i = 0; i < 5; i += 1) {
    const sentMs = performance.now();
    await client.send(proxy.address, 1);
    await until(() => client.seen.length === i + 1);
    t.true((server.seen[i]?.atMs ?? 0) - sentMs >= 30);
    t.true((client.seen[i]?.atMs ?? 0) - sentMs >= 80);
  }
  proxy.change({ delayMs: 0, jitterMs: 0 });
  await client.send(proxy.address, 50);
  await until(() => client.seen.length === 55);
  t.deepEqual(client.numbers, range(55));
});

test('a black hole takes one direction or both, for as long as it is there', async (t) => {
  const { client, server, proxy } = await setUp(t, { faults: { blackHole: true } });
  const { toServer, toClient } = proxy.counters.udp;
  await client.send(proxy.address, 10);
  await until(() => toServer.dropped === 10);
  proxy.change({ toServer: { blackHole: false } });
  await client.send(proxy.address, 10);
  await until(() => toClient.dropped === 10);
  t.is(server.seen.length, 10);
  t.is(client.seen.length, 0);
  proxy.change({ blackHole: false });
  await client.send(proxy.address, 10);
  await until(() => client.seen.length === 10);
  t.deepEqual(client.numbers, range(30).slice(20));
});

test('a rate spreads datagrams out, and what may not wait is dropped and counted', async (t) => {
  const faults = { toServer: { bytesPerSecond: 100_000 } };
  const { client, server, proxy } = await setUp(t, { faults, maxQueuedBytes: 20_000 });
  const startMs = performance.now();
  await client.send(proxy.address, 15, 1000);
  await until(() => server.seen.length === 15);
  t.true(performance.now() - startMs >= 150);
  await client.send(proxy.address, 100, 1000);
  const { toServer } = proxy.counters.udp;
  await until(() => toServer.overflowed > 0);
  await until(() => toServer.forwarded + toServer.overflowed === 115);
  t.deepEqual(server.numbers.slice(0, 15), range(15));
});

for (const keepOldPorts of [true, false]) {
  test(`source ports change under a client whose replies keep coming, ${keepOldPorts ? 'late ones to old ports too' : 'but none to old ports'}`, async (t) => {
    const { client, server, proxy } = await setUp(t, { keepOldPorts });
    for (let i = 1; i <= 4; i += 1) {
      await client.send(proxy.address, 3);
      await until(() => client.seen.length === 3 * i);
      if (i < 4) await proxy.rebind();
    }
    const ports = new Set(server.seen.map(({ from }) => from.port));
    t.is(ports.size, 4);
    t.is(proxy.counters.udp.rebound, 3);
    t.true(client.seen.every(({ from }) => from.port === proxy.address.port));
    t.is(proxy.udpClients[0]?.source.port, [...ports].at(-1));
    const [oldPort] = ports;
    const late = Buffer.alloc(8);
    late.writeUInt32BE(999);
    server.socket.send(late, oldPort, LOOPBACK);
    // What comes afterwards over the new port tells that the late one is through.
    await client.send(proxy.address, 1);
    await until(() => client.seen.length >= (keepOldPorts ? 14 : 13));
    t.is(client.numbers.includes(999), keepOldPorts);
  });
}

test('source ports change by themselves, in the middle of traffic, without loss', async (t) => {
  const { client, server, proxy } = await setUp(t, { rebindEveryMs: 10 });
  while (proxy.counters.udp.rebound < 25) await client.send(proxy.address, 20);
  const { toServer } = proxy.counters.udp;
  await until(() => client.seen.length === toServer.forwarded && client.seen.length >= 25 * 20);
  t.true(new Set(server.seen.map(({ from }) => from.port)).size >= 20);
  t.deepEqual(client.numbers, range(client.seen.length));
});

test('clients are told apart, up to as many as there may be', async (t) => {
  const { client, server, proxy } = await setUp(t, { maxClients: 3 });
  const others = [await Numbers.open(t), await Numbers.open(t)];
  for (const one of [client, ...others]) await one.send(proxy.address, 5);
  for (const one of [client, ...others]) {
    await until(() => one.seen.length === 5);
    t.deepEqual(one.numbers, range(5));
  }
  t.is(new Set(server.seen.map(({ from }) => from.port)).size, 3);
  t.is(proxy.udpClients.length, 3);
  const late = await Numbers.open(t);
  await late.send(proxy.address, 5);
  await until(() => proxy.counters.udp.refused === 5);
  t.is(late.seen.length, 0);
});

test('a hook sees every datagram, and may drop, replace or delay it', async (t) => {
  const log: string[] = [];
  const { client, server, proxy } = await setUp(t, {
    onDatagram(direction, datagram, from) {
      const number = datagram.readUInt32BE();
      log.push(`${direction} ${number} ${from.port === client.address.port}`);
      if (direction === 'toClient') return undefined;
      if (number === 1) return 'drop';
      if (number === 2) return { replaceWith: Buffer.from([0, 0, 0, 77]) };
      if (number === 3) return { moreDelayMs: 60 };
      return undefined;
    },
  });
  const sentMs = performance.now();
  await client.send(proxy.address, 5);
  await until(() => client.seen.length === 4);
  t.deepEqual(server.numbers, [0, 77, 4, 3]);
  t.true((server.seen.at(-1)?.atMs ?? 0) - sentMs >= 60);
  t.is(proxy.counters.udp.toServer.dropped, 1);
  t.deepEqual(
    log.filter((line) => line.startsWith('toServer')),
    range(5).map((number) => `toServer ${number} true`),
  );
  proxy.onDatagram = undefined;
  await client.send(proxy.address, 1);
  await until(() => client.seen.length === 5);
  t.is(log.length, 9);
});

test('a largest datagram passes one direction and not the other, and changes at any time', async (t) => {
  const { client, server, proxy } = await setUp(t, {
    faults: { toServer: { maxDatagramBytes: 1280 }, toClient: { maxDatagramBytes: 1200 } },
  });
  const { toServer, toClient } = proxy.counters.udp;
  for (const bytes of [64, 1200, 1201, 1280, 1281, 1452, 9000]) {
    await client.send(proxy.address, 1, bytes);
  }
  await until(() => toServer.forwarded + toServer.dropped === 7);
  await until(() => toClient.forwarded + toClient.dropped === 4);
  await until(() => client.seen.length === 2);
  t.deepEqual(lengths(server), [64, 1200, 1201, 1280]);
  t.deepEqual(lengths(client), [64, 1200]);
  t.like(toServer, { tooLarge: 3, dropped: 3, fragmented: 0, largestForwardedBytes: 1280 });
  t.like(toClient, { tooLarge: 2, dropped: 2, largestForwardedBytes: 1200 });
  proxy.change({ maxDatagramBytes: Number.POSITIVE_INFINITY });
  await client.send(proxy.address, 1, 9000);
  await until(() => client.seen.length === 3);
  t.is(toClient.largestForwardedBytes, 9000);
  proxy.change({ toServer: { maxDatagramBytes: 100 } });
  await client.send(proxy.address, 1, 101);
  await until(() => toServer.tooLarge === 4);
});

test('datagrams are counted by their size, those that passed and those that were dropped', async (t) => {
  const { client, server, proxy } = await setUp(t, { faults: { toServer: { blackHole: true } } });
  const { toServer } = proxy.counters.udp;
  const sizes = [4, 100, 101, 1200, 1201, 1232, 1233, 1280, 1281, 1350, 1351, 1452, 1453, 9000];
  for (const bytes of sizes) await client.send(proxy.address, 1, bytes);
  await until(() => toServer.dropped === sizes.length);
  proxy.change({ blackHole: false });
  for (const bytes of sizes.slice(0, 4)) await client.send(proxy.address, 1, bytes);
  await until(() => server.seen.length === 4);
  t.deepEqual(
    toServer.sizes.map(({ upToBytes, forwarded, dropped }) => [upToBytes, forwarded, dropped]),
    [
      [100, 2, 2],
      [1200, 2, 2],
      [1232, 0, 2],
      [1280, 0, 2],
      [1350, 0, 2],
      [1452, 0, 2],
      [Number.POSITIVE_INFINITY, 0, 2],
    ],
  );
});

test('where a path reports what is too large, later ones arrive in fragments until the limit changes', async (t) => {
  const { client, server, proxy } = await setUp(t, {
    faults: { toServer: { maxDatagramBytes: 1280, tooLarge: 'reported' } },
  });
  const { toServer } = proxy.counters.udp;
  await client.send(proxy.address, 3, 1400);
  await until(() => server.seen.length === 2);
  t.like(toServer, { tooLarge: 1, dropped: 1, fragmented: 2, forwarded: 2 });
  proxy.change({ toServer: { maxDatagramBytes: 1250 } });
  await client.send(proxy.address, 2, 1400);
  await until(() => server.seen.length === 3);
  t.like(toServer, { tooLarge: 2, dropped: 2, fragmented: 3, forwarded: 3 });
  t.deepEqual(lengths(server), [1400, 1400, 1400]);
});

function lengths({ seen }: Numbers): number[] {
  return seen.map(({ bytes }) => bytes.length);
}
