/**
 * For a network namespace of its own: a node listens on all addresses, of which there are three hundred. Prints as one
 * line of JSON how many sockets it has, and at how many addresses it is reached over QUIC.
 */
import { execFileSync } from 'node:child_process';
import { createNode } from '../../../src/index.js';
import { nodeCert } from '../certs.js';

const MANY = 300;
const lines = Array.from({ length: MANY }, (_, i) => {
  return `addr add 10.9.${i >> 8}.${i & 255}/32 dev lo`;
});
execFileSync('ip', ['-batch', '-'], { input: lines.join('\n') });
const common = { cluster: 't', quic: { required: true }, logger: 'silent' } as const;
const n2 = await createNode({
  ...common,
  nodeId: 'n2',
  tls: await nodeCert('n2'),
  listen: { host: '0.0.0.0', port: 0 },
});
const { addresses } = n2;
const shown = execFileSync('ss', ['-Huln', 'sport', '=', `:${addresses[0]?.port}`]);
const sockets = shown.toString().trim().split('\n').length;
const n1 = await createNode({ ...common, nodeId: 'n1', tls: await nodeCert('n1') });
let reached = 0;
// Some that have a socket, and some that have none.
for (const address of addresses.filter((_address, index) => index % 30 === 0)) {
  const peer = await n1.connect({ nodeId: 'n2', ...address });
  reached += 1;
  await peer.close();
}
console.log(JSON.stringify({ addresses: addresses.length, sockets, reached }));
await Promise.all([n1.close(), n2.close()]);
