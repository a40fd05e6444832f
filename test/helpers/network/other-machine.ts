/**
 * The other machine of `two-links.ts`: once a line comes on standard input it starts a node for each transport that
 * listens on all addresses, tells their ports as JSON, and ends with its input.
 */
import { once } from 'node:events';
import { createNode, type MeshNode } from '../../../src/index.js';
import type { NodeCredentials } from '../certs.js';

const [line] = (await once(process.stdin, 'data')) as [Buffer];
const tls = JSON.parse(line.toString()) as NodeCredentials;
const nodes: Record<string, MeshNode> = {};
for (const transport of ['quic', 'tcp'] as const) {
  const node = await createNode({
    nodeId: 'n2',
    cluster: 't',
    tls,
    listen: { host: '::', port: 0 },
    transports: [transport],
    logger: 'silent',
  });
  nodes[transport] = node.handle('request', ({ method }) => ({ body: method }));
}
const ports = Object.entries(nodes).map(([name, { address }]) => [name, address?.port]);
console.log(JSON.stringify(Object.fromEntries(ports)));
await once(process.stdin, 'end');
await Promise.all(Object.values(nodes).map((node) => node.close()));
