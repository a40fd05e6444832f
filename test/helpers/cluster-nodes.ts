/**
 * The primary of a `node:cluster`: three workers, one after the other, start a node for each of the places that are
 * asked for. Then every address that they got is dialed. Prints, as one line of JSON, for each place what became of it in
 * each worker.
 *
 * Arguments: the transport, then places as `host port`.
 */
import cluster, { type Worker } from 'node:cluster';
import { once } from 'node:events';
import { toMeshError } from '../../src/errors.js';
import { createNode, type SocketAddress } from '../../src/index.js';
import { devCerts, type NodeCredentials, type TestNodeId } from './certs.js';

const [transport = 'quic', ...places] = process.argv.slice(2);
const transports = [transport as 'quic' | 'tcp'];
const WORKERS: readonly TestNodeId[] = ['n1', 'n2', 'n3'];

/** What a worker tells of its node at one place. */
type Started = { readonly address: SocketAddress } | { readonly failed: string };

if (cluster.isPrimary) {
  await lead();
} else {
  process.once('message', (tls) => void serve(tls as NodeCredentials));
  process.send?.('ready');
}

async function lead(): Promise<void> {
  const { ca, nodes } = await devCerts();
  const workers: Worker[] = [];
  const started: (readonly Started[])[] = [];
  for (const nodeId of WORKERS) {
    const worker = cluster.fork({ NODE_ID: nodeId });
    workers.push(worker);
    await once(worker, 'message');
    worker.send({ ca, ...nodes[nodeId] });
    const [told] = (await once(worker, 'message')) as [readonly Started[]];
    started.push(told);
  }
  const client = await createNode({
    nodeId: 'n4',
    cluster: 't',
    tls: { ca, ...nodes.n4 },
    transports,
    logger: 'silent',
  });
  const dial = async (nodeId: string, told: Started | undefined): Promise<unknown> => {
    if (told === undefined || 'failed' in told) return { nodeId, failed: told?.failed };
    const peer = await client.connect({ nodeId, ...told.address });
    const { body } = await peer.request({ type: 'request', method: 'where' });
    await peer.close();
    return { nodeId, body, port: told.address.port };
  };
  const results: unknown[] = [];
  for (const [place] of places.entries()) {
    const ofPlace: unknown[] = [];
    for (const [worker, nodeId] of WORKERS.entries()) {
      ofPlace.push(await dial(nodeId, started[worker]?.[place]));
    }
    results.push(ofPlace);
  }
  await client.close();
  for (const worker of workers) worker.kill();
  await Promise.all(workers.map((worker) => worker.isDead() || once(worker, 'exit')));
  console.log(JSON.stringify(results));
}

async function serve(tls: NodeCredentials): Promise<void> {
  const nodeId = process.env.NODE_ID as string;
  const told: Started[] = [];
  for (const place of places) {
    const [host = '', port] = place.split(' ');
    try {
      const listen = { host, port: Number(port) };
      const node = await createNode({
        nodeId,
        cluster: 't',
        tls,
        listen,
        transports,
        logger: 'silent',
      });
      node.handle('request', () => ({ body: `${nodeId} at ${place}` }));
      told.push({ address: node.address as SocketAddress });
    } catch (thrown) {
      const { code, message } = toMeshError(thrown);
      told.push({ failed: `${code} ${/EADDRINUSE/.exec(message)}` });
    }
  }
  process.send?.(told);
}
