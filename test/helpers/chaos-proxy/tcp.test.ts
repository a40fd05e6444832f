/** What the chaos proxy does to TCP connections, between real sockets. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { TYPESCRIPT } from '../../../scripts/children/typescript.js';
import { until } from '../until.js';
import { ChaosProxy, type ChaosProxyOptions } from './proxy.js';

const LOOPBACK = '127.0.0.1';
const run = promisify(execFile);

/** One end of a connection, and what came in. */
class End {
  readonly socket: Socket;
  readonly pieces: Buffer[] = [];
  bytes = 0;
  ended = false;
  closed = false;
  errorCode: string | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (piece: Buffer) => {
      this.pieces.push(piece);
      this.bytes += piece.length;
    });
    socket.on('end', () => {
      this.ended = true;
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.errorCode = error.code;
    });
    socket.on('close', () => {
      this.closed = true;
    });
  }

  get received(): Buffer {
    return Buffer.concat(this.pieces);
  }
}

interface Setting {
  readonly proxy: ChaosProxy;
  /** The server's ends, in the order of their connections. */
  readonly accepted: End[];
  connect(): End;
}

async function setUp(
  t: ExecutionContext,
  options: Omit<ChaosProxyOptions, 'target'> = {},
  onAccepted: (socket: Socket) => void = () => {},
): Promise<Setting> {
  const accepted: End[] = [];
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    accepted.push(new End(socket));
    onAccepted(socket);
  });
  server.listen(0, LOOPBACK);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const proxy = await ChaosProxy.start({ ...options, target: { host: LOOPBACK, port } });
  t.log(`seed ${proxy.seed}`);
  const dialed: End[] = [];
  t.teardown(async () => {
    await proxy.close();
    for (const { socket } of [...dialed, ...accepted]) socket.destroy();
    server.close();
  });
  return {
    proxy,
    accepted,
    connect() {
      const end = new End(connect({ ...proxy.address, allowHalfOpen: true, noDelay: true }));
      dialed.push(end);
      return end;
    },
  };
}

const echo = (socket: Socket): void => void socket.pipe(socket);

test('without faults bytes pass unchanged, both ways, to the end', async (t) => {
  const { connect, accepted, proxy } = await setUp(t, {}, echo);
  const bytes = randomBytes(4_000_000);
  const client = connect();
  client.socket.end(bytes);
  await until(() => client.ended);
  t.true(client.received.equals(bytes));
  t.true(accepted[0]?.ended);
  await until(() => client.closed);
  const { toServer, toClient } = proxy.counters.tcp;
  for (const { forwardedBytes, corrupted, dropped } of [toServer, toClient])
    t.deepEqual([forwardedBytes, corrupted, dropped], [bytes.length, 0, 0]);
  t.is(toServer.forwarded, Math.ceil(bytes.length / 1448));
});

test('delays hold each way, and making a connection takes a round trip of them', async (t) => {
  const { connect } = await setUp(t, { faults: { delayMs: 40 } }, echo);
  const startMs = performance.now();
  const client = connect();
  client.socket.write('first');
  await until(() => client.bytes === 5);
  t.true(performance.now() - startMs >= 160);
  const secondMs = performance.now();
  client.socket.write('second');
  await until(() => client.bytes === 11);
  t.true(performance.now() - secondMs >= 80);
});

test('a server that speaks first is heard after a round trip', async (t) => {
  const { connect } = await setUp(t, { faults: { delayMs: 40 } }, (socket) => {
    socket.write('hello');
  });
  const startMs = performance.now();
  const client = connect();
  await until(() => client.bytes === 5);
  t.true(performance.now() - startMs >= 80);
});

test('the same seed flips the same bits, however the bytes are written', async (t) => {
  const bytes = Buffer.alloc(300_000);
  const transfer = async (seed: number, pieceBytes: number): Promise<Buffer> => {
    const faults = { toServer: { corrupt: 0.1 } };
    const { connect, accepted, proxy } = await setUp(t, { seed, faults });
    const { socket } = connect();
    for (let at = 0; at < bytes.length; at += pieceBytes) {
      socket.write(bytes.subarray(at, at + pieceBytes));
      if (at % 3 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await until(() => accepted[0]?.bytes === bytes.length);
    t.true(proxy.counters.tcp.toServer.corrupted > 5);
    await proxy.close();
    return accepted[0]!.received;
  };
  const first = await transfer(9, bytes.length);
  t.false(first.equals(bytes));
  t.true((await transfer(9, 1000)).equals(first));
  t.false((await transfer(10, 1000)).equals(first));
});

test('loss makes bytes late, and nothing is missing', async (t) => {
  const { connect, accepted, proxy } = await setUp(t, { faults: { loss: 1, retransmitMs: 100 } });
  const startMs = performance.now();
  connect().socket.end('late');
  await until(() => accepted[0]?.ended === true);
  t.true(performance.now() - startMs >= 100);
  t.is(accepted[0]?.received.toString(), 'late');
  t.is(proxy.counters.tcp.toServer.dropped, 1);
});

test('a black hole holds connections and bytes until it is gone', async (t) => {
  const { connect, accepted, proxy } = await setUp(t, { faults: { blackHole: true } }, echo);
  const client = connect();
  client.socket.write('one');
  await until(() => proxy.counters.tcp.accepted === 1);
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.is(accepted.length, 0);
  proxy.change({ blackHole: false });
  await until(() => client.bytes === 3);
  proxy.change({ toClient: { blackHole: true } });
  client.socket.write('two');
  await until(() => accepted[0]?.bytes === 6);
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.is(client.bytes, 3);
  proxy.change({ blackHole: false });
  await until(() => client.bytes === 6);
  t.is(client.received.toString(), 'onetwo');
});

test('a stall holds what comes after so many bytes of a connection', async (t) => {
  const { connect, proxy } = await setUp(
    t,
    { faults: { toServer: { stallsAfterBytes: 5 } } },
    echo,
  );
  const client = connect();
  client.socket.write('first');
  await until(() => client.bytes === 5);
  client.socket.end('second');
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.is(client.bytes, 5);
  proxy.change({ stallsAfterBytes: Number.POSITIVE_INFINITY });
  await until(() => client.ended);
  t.is(client.received.toString(), 'firstsecond');
});

for (const direction of ['toServer', 'toClient'] as const) {
  test(`half-closed ${direction}: that direction ends, the other goes on`, async (t) => {
    const { connect, accepted, proxy } = await setUp(t);
    const client = connect();
    client.socket.write('before');
    await until(() => accepted[0]?.bytes === 6);
    const server = accepted[0]!;
    proxy.halfClose(direction);
    const [from, to] = direction === 'toServer' ? [client, server] : [server, client];
    await until(() => to.ended);
    const bytesBefore = to.bytes;
    from.socket.write('thrown away');
    to.socket.write('still heard');
    const heardBefore = from === server ? 6 : 0;
    await until(() => from.bytes === heardBefore + 11);
    t.is(to.bytes, bytesBefore);
    t.false(from.ended);
  });
}

test('resets reach both ends, and those of one end the other', async (t) => {
  const { connect, accepted, proxy } = await setUp(t);
  const first = connect();
  await until(() => accepted.length === 1);
  proxy.reset();
  await until(() => first.closed && accepted[0]?.closed === true);
  t.is(first.errorCode, 'ECONNRESET');
  t.is(accepted[0]?.errorCode, 'ECONNRESET');
  const second = connect();
  await until(() => accepted.length === 2);
  accepted[1]?.socket.resetAndDestroy();
  await until(() => second.closed);
  t.is(second.errorCode, 'ECONNRESET');
});

test('a server that nobody listens at is a reset to the client', async (t) => {
  const { proxy } = await setUp(t);
  const nowhere = await ChaosProxy.start({ target: proxy.address });
  t.teardown(() => nowhere.close());
  await proxy.close();
  const client = new End(connect(nowhere.address));
  await until(() => client.closed);
  t.is(client.errorCode, 'ECONNRESET');
});

test('a rate takes its time', async (t) => {
  const { connect, accepted } = await setUp(t, { faults: { bytesPerSecond: 1_000_000 } });
  const startMs = performance.now();
  connect().socket.end(Buffer.alloc(200_000));
  await until(() => accepted[0]?.ended === true);
  t.true(performance.now() - startMs >= 200);
  t.is(accepted[0]?.bytes, 200_000);
});

test('while the reader does not read, the proxy reads no more than may wait', async (t) => {
  const { connect, accepted, proxy } = await setUp(t, { maxQueuedBytes: 100_000 }, (socket) => {
    socket.pause();
  });
  const { socket } = connect();
  const totalBytes = 32 * 1024 * 1024;
  socket.end(Buffer.alloc(totalBytes));
  const { toServer } = proxy.counters.tcp;
  await until(() => toServer.overflowed > 0);
  let before = -1;
  // What is in the system's buffers has gone then, and no more comes.
  await until(() => {
    const same = before === toServer.forwardedBytes;
    before = toServer.forwardedBytes;
    return same;
  });
  t.true(toServer.forwardedBytes < totalBytes);
  t.true(socket.writableLength > 0);
  accepted[0]?.socket.resume();
  await until(() => accepted[0]?.ended === true);
  t.is(accepted[0]?.bytes, totalBytes);
});

test('closing leaves nothing running, in the middle of everything', async (t) => {
  const script = `
    import { createServer, connect } from 'node:net';
    import { createSocket } from 'node:dgram';
    import { ChaosProxy } from './test/helpers/chaos-proxy/proxy.ts';
    const server = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1', async () => {
      const proxy = await ChaosProxy.start({
        target: { host: '127.0.0.1', port: server.address().port },
        faults: { delayMs: 60_000, reorder: 1 },
        rebindEveryMs: 5,
      });
      const udp = createSocket('udp4');
      udp.send('hello', proxy.address.port, proxy.address.host);
      const tcp = connect(proxy.address).on('error', () => {});
      tcp.write('hello');
      setTimeout(async () => {
        await proxy.close();
        tcp.destroy();
        udp.close();
        server.close();
        console.log(JSON.stringify(process.getActiveResourcesInfo().filter((kind) => /UDP|TCPSocket|Timeout/.test(kind))));
      }, 100);
    });
  `;
  const parameters = [...TYPESCRIPT, '--input-type=module', '--eval', script];
  const { stdout } = await run(process.execPath, parameters, { timeout: 30_000 });
  const left = JSON.parse(stdout) as string[];
  t.false(left.includes('Timeout'), stdout);
});
