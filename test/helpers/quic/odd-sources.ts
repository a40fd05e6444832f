/**
 * For a network namespace of its own: sends a node what strangers send, from addresses that nobody can answer, and
 * prints what it counted and that it still serves, as one line of JSON.
 */
import { execFileSync } from 'node:child_process';
import { createNode, type MeshNode } from '../../../src/index.js';
import { nodeCert } from '../certs.js';
import { until } from '../until.js';
import { createForger } from './forger.js';

interface Source {
  readonly host: string;
  readonly port: number;
}

/** Sends each datagram from its source, IP header included. Reads lines of `source host, source port, port, payload`. */
const SENDER = `
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
for line in sys.stdin:
    host, source, port, payload = line.split()
    payload = bytes.fromhex(payload)
    udp = struct.pack('>HHHH', int(source), int(port), 8 + len(payload), 0) + payload
    head = struct.pack('>BBHHHBBH4s4s', 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0,
                       socket.inet_aton(host), socket.inet_aton('127.0.0.1'))
    s.sendto(head + udp, ('127.0.0.1', 0))
`;

const forger = await createForger(await nodeCert('n1'));
const unknownVersion = Buffer.concat([
  Buffer.from([0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8]),
  Buffer.alloc(8, 1),
  Buffer.from([8]),
  Buffer.alloc(8, 2),
  Buffer.alloc(1200),
]);
const unknownConnection = Buffer.concat([Buffer.from([0x40]), Buffer.alloc(80, 7)]);
const counted: Record<string, unknown> = {};
for (const retry of ['auto', 'always'] as const) {
  const n2 = await start('n2', retry);
  const own = n2.address as Source;
  const sources: readonly Source[] = [
    { host: '127.0.0.1', port: 0 },
    { host: '255.255.255.255', port: 5000 },
    { host: '127.255.255.255', port: 5000 },
    { host: '224.0.0.251', port: 5353 },
    { host: '0.0.0.0', port: 5000 },
    { host: '203.0.113.1', port: 5000 },
    own,
  ];
  const payloads = () => [unknownVersion, unknownConnection, forger.initial()];
  const lines = sources.flatMap(({ host, port }) =>
    payloads().map((payload) => `${host} ${port} ${own.port} ${payload.toString('hex')}`),
  );
  execFileSync('python3', ['-c', SENDER], { input: lines.join('\n') });
  const quic = () => n2.counters.transports.quic ?? {};
  // Those that have a source port arrive before what follows.
  await until(() => (quic().droppedUnanswerable ?? 0) >= 3);
  const n1 = await start('n1', 'auto');
  const peer = await n1.connect({ nodeId: 'n2', ...own });
  const { body } = await peer.request({ type: 'request', method: 'm' });
  counted[retry] = { body, unanswerable: quic().droppedUnanswerable };
  await Promise.all([n1.close(), n2.close()]);
}
console.log(JSON.stringify(counted));

async function start(nodeId: 'n1' | 'n2', retry: 'auto' | 'always'): Promise<MeshNode> {
  const node = await createNode({
    nodeId,
    cluster: 't',
    tls: await nodeCert(nodeId),
    listen: { host: '127.0.0.1', port: 0 },
    transports: ['quic'],
    admission: { retry },
    logger: 'silent',
  });
  return node.handle('request', () => ({ body: nodeId }));
}
