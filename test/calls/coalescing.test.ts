/** What small messages of one turn take on the wire, seen from between the nodes. */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import type { Peer, SocketAddress } from '../../src/index.js';
import { ChaosProxy } from '../helpers/chaos-proxy/proxy.js';
import { startNode, type TestTransport, targetOf } from '../helpers/nodes.js';

const CALLS = 64;
/** Of a call below, with its header and checksum: more than an acknowledgement of QUIC or an alert of TLS. */
const CALL_BYTES = 100;
const BODY = 'x'.repeat(CALL_BYTES);

test('quic: a small call takes one datagram, and a batch of them next to none', async (t) => {
  const n2 = await startNode(t, 'n2', { transports: ['quic'], quic: { maxDatagramBytes: 1350 } });
  n2.handle('request', () => ({}));
  n2.handle('replicationLog', () => ({}));
  const sizes: number[] = [];
  const proxy = await ChaosProxy.start({
    target: targetOf(n2),
    onDatagram: (direction, datagram) => {
      if (direction === 'toServer') sizes.push(datagram.length);
      return undefined;
    },
  });
  t.teardown(() => proxy.close());
  const peer = await ask(t, proxy.address, 'quic', sizes);
  const carrying = () => sizes.filter((size) => size > CALL_BYTES).length;
  // quiche puts the bytes of one stream into a packet. On a busy machine some are sent again.
  t.true(carrying() >= CALLS && carrying() < 2 * CALLS, `${sizes}`);
  sizes.length = 0;
  const batcher = peer.batch({ maxDelayMs: 0 });
  await Promise.all(
    Array.from({ length: CALLS }, (_, i) =>
      batcher.request({
        type: 'replicationLog',
        term: 1,
        prevIndex: i,
        commitIndex: i,
        entries: [{ index: i + 1, term: 1, data: Buffer.from(BODY) }],
      }),
    ),
  );
  t.true(sum(sizes) >= CALLS * CALL_BYTES);
  t.true(carrying() <= CALLS / 3, `${sizes}`);
});

test('tcp: small messages of one turn share TLS records', async (t) => {
  const n2 = await startNode(t, 'n2', { transports: ['tcp'] });
  n2.handle('request', () => ({}));
  const sizes: number[] = [];
  const port = await countRecords(t, targetOf(n2), sizes);
  await ask(t, { host: '127.0.0.1', port }, 'tcp', sizes);
  t.true(sum(sizes) >= CALLS * CALL_BYTES);
  t.is(sizes.filter((size) => size > CALL_BYTES).length, 1, `${sizes}`);
});

/** Makes the calls in one turn; `sizes` then holds what left with them until all were answered. */
async function ask(
  t: ExecutionContext,
  address: SocketAddress,
  transport: TestTransport,
  sizes: number[],
): Promise<Peer> {
  const options = {
    transports: [transport],
    listen: undefined,
    quic: { maxDatagramBytes: 1350 },
    compression: { algorithms: [] },
  } as const;
  const n1 = await startNode(t, 'n1', options);
  const peer = await n1.connect({ nodeId: 'n2', ...address });
  const call = () =>
    peer.request({ type: 'request', method: 'm', body: BODY }, { timeoutMs: 50_000 });
  await call();
  sizes.length = 0;
  await Promise.all(Array.from({ length: CALLS }, call));
  return peer;
}

/** A forwarder of TCP that notes the sizes of the TLS records on their way to the target. @returns its port */
async function countRecords(
  t: ExecutionContext,
  target: SocketAddress,
  sizes: number[],
): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(target.port, target.host);
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        near.destroy();
        far.destroy();
      });
    }
    far.pipe(near);
    near.pipe(far);
    let rest = Buffer.alloc(0);
    near.on('data', (bytes: Buffer) => {
      rest = Buffer.concat([rest, bytes]);
      // RFC 8446, section 5.1: type, version, length.
      while (rest.length >= 5 && rest.length >= 5 + rest.readUInt16BE(3)) {
        const size = 5 + rest.readUInt16BE(3);
        sizes.push(size);
        rest = rest.subarray(size);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return (server.address() as AddressInfo).port;
}

function sum(sizes: readonly number[]): number {
  return sizes.reduce((total, size) => total + size, 0);
}
