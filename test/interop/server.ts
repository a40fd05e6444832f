/**
 * A node for clients in other languages to try, and a port whose connections go away as soon as they are called: prints
 * where it listens and certificates for a client, as one line of JSON, and serves until its standard input closes.
 */
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateDevCerts } from '../../src/certs/index.js';
import { createNode, MeshError } from '../../src/index.js';
import { MessageCodec } from '../../src/protocol/codec.js';
import { ReplayGuard } from '../../src/protocol/replay-guard.js';
import type { Connection } from '../../src/transport/connection.js';
import { awaitHandshake } from '../../src/transport/dialing/handshaker.js';
import { TcpTransport } from '../../src/transport/tcp/transport.js';

const { ca, nodes } = await generateDevCerts(['server', 'n1']);
const directory = await mkdtemp(join(tmpdir(), 'quicmesh-interop-'));
const files = {
  ca: join(directory, 'ca.pem'),
  cert: join(directory, 'n1.pem'),
  key: join(directory, 'n1-key.pem'),
};
await writeFile(files.ca, ca);
await writeFile(files.cert, nodes.n1.cert);
await writeFile(files.key, nodes.n1.key, { mode: 0o600 });

const node = await createNode({
  nodeId: 'server',
  cluster: 'demo',
  tls: { ca, ...nodes.server },
  listen: { host: '127.0.0.1', port: 0 },
  transports: ['tcp'],
  logger: 'silent',
  timeouts: { drainMs: 1 },
});

node.handle('query', ({ parameters }) => ({ result: parameters }));

let counted = 0;

node.handle('request', ({ method, body }) => {
  if (method === 'echo') return { body };
  if (method === 'count') return { body: ++counted };
  if (method === 'hang') return new Promise(() => {});
  throw new MeshError('HandlerFailed', 'made to fail');
});

node.handle('dataTransfer', async function* ({ transferId, name }, { body }) {
  if (transferId === 'download') {
    const bytes = Buffer.alloc(Number(name));
    for (let i = 0; i < bytes.length; i += 1) bytes[i] = i % 251;
    yield bytes;
  } else if (transferId === 'echo') {
    yield* body;
  } else {
    const hash = createHash('sha256');
    for await (const chunk of body) hash.update(chunk);
    yield hash.digest();
  }
});

const goingAway = new TcpTransport({ tls: () => ({ ca, ...nodes.server }), cluster: 'demo' });
const { address } = await goingAway.listen({
  host: '127.0.0.1',
  port: 0,
  onConnection: (connection) => void goAwayWhenCalled(connection),
});

/** Answers a call once the peer has gone away as well. */
async function goAwayWhenCalled(connection: Connection): Promise<void> {
  const codec = new MessageCodec();
  const parts = { query: true, replication: true, consensus: true, dataTransfer: true };
  const limits = { maxStreams: 100, maxMessageBytes: 1024 * 1024 };
  const capabilities = { ...parts, ...limits, compressions: [], checksum: true };
  await awaitHandshake(connection, {
    codec,
    timeoutMs: 5000,
    config: { nodeId: 'server', cluster: 'demo', capabilities },
    replayGuard: new ReplayGuard(),
    accepted: () => (stream) => ({
      onFrame() {
        connection.onGoAway = () => {
          stream.send(codec.encode({ type: 'response', body: 'gone' }), { end: true });
        };
        connection.goAway();
      },
      onEnd() {},
      onReset() {},
    }),
  });
}

console.log(
  JSON.stringify({
    ...node.address,
    goingAwayPort: address.port,
    ...files,
    nodeId: 'n1',
    cluster: 'demo',
  }),
);

process.stdin.resume().on('end', async () => {
  await Promise.all([node.close(), goingAway.close()]);
  await rm(directory, { recursive: true });
});
