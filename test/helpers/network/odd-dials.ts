/**
 * For a network namespace of its own, from which nothing gets out: dials addresses that may be dialed and that nobody
 * has. Prints as one line of JSON the error codes, how often TCP was tried, and what serves afterwards.
 */
import { toMeshError } from '../../../src/errors.js';
import { createNode, type MeshNode } from '../../../src/index.js';
import { devCerts, type TestNodeId } from '../certs.js';

const HOSTS = [
  '127.255.255.255',
  '127.0.0.77',
  '::ffff:127.0.0.77',
  '::1',
  'fe80::77',
  'fe80::77%lo',
  'fe80::77%nowhere',
  'fe80::77%4711',
  '0.0.0.1',
  '240.0.0.1',
  '203.0.113.255',
  '2001:db8::1',
  '::1.2.3.4',
];

const { ca, nodes } = await devCerts();
const codes = new Set<string>();
const listens = [undefined, { host: '127.0.0.1', port: 0 }, { host: '::', port: 0 }];
let tcpDials = 0;
let serves = 0;
for (const listen of listens) {
  const n1 = await start('n1', listen);
  for (const host of HOSTS) {
    codes.add(await outcomeOf(n1, host, 1));
  }
  tcpDials += n1.counters.transports.tcp?.dialsFailed ?? 0;
  // Its own address is somebody else's.
  const own = n1.address;
  if (own !== undefined) {
    const outcome = await outcomeOf(n1, own.host, own.port);
    if (outcome !== 'CertificateNameMismatch') codes.add(outcome);
  }
  const n3 = await start('n3', { host: '127.0.0.1', port: 0 });
  const peer = await n1.connect({ nodeId: 'n3', host: '127.0.0.1', port: n3.address?.port ?? 0 });
  if ((await peer.request({ type: 'request', method: 'm' })).body === 'n3') serves += 1;
  await Promise.all([n1.close(), n3.close()]);
}
const dials = listens.length * HOSTS.length;
console.log(JSON.stringify({ codes: [...codes], missedByTcp: dials - tcpDials, serves }));

async function outcomeOf(node: MeshNode, host: string, port: number): Promise<string> {
  try {
    await node.connect({ nodeId: 'n2', host, port });
    return 'connected';
  } catch (thrown) {
    return toMeshError(thrown).code;
  }
}

async function start(
  nodeId: TestNodeId,
  listen: { host: string; port: number } | undefined,
): Promise<MeshNode> {
  const node = await createNode({
    nodeId,
    cluster: 't',
    tls: { ca, ...nodes[nodeId] },
    listen,
    timeouts: { connectMs: 300, fallbackDelayMs: 1 },
    logger: 'silent',
  });
  return node.handle('request', () => ({ body: nodeId }));
}
