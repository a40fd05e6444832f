/**
 * The far machine of `narrow-path.ts`: once a line comes on standard input it starts a node that sends back what it gets,
 * tells its port as JSON, and ends with its input.
 */
import { once } from 'node:events';
import { createNode } from '../../../src/index.js';
import type { NodeCredentials } from '../certs.js';

const [line] = (await once(process.stdin, 'data')) as [Buffer];
const node = await createNode({
  nodeId: 'n2',
  cluster: 't',
  tls: JSON.parse(line.toString()) as NodeCredentials,
  listen: { host: '0.0.0.0', port: 0 },
  logger: 'silent',
});
node.handle('request', ({ body }) => ({ body }));
node.handle('dataTransfer', ({ offset, resume }, context) => {
  // What the caller has of the answer is what it need not send again.
  if (resume === true) context.resumeAt(offset);
  return context.body;
});
console.log(JSON.stringify({ port: node.address?.port }));
await once(process.stdin, 'end');
await node.close();
