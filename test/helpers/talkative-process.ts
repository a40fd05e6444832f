/**
 * A process that runs nodes through most of what they do, logs all that can be logged, and prints every object that it can
 * get hold of, in every way there is. At the end it leaves the secrets that were in play in a file, so that whoever started
 * it can look for them in what it said.
 */
import crypto from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { inspect } from 'node:util';

const [, , secretsFile = ''] = process.argv;

/** Secrets by what they are. */
const secrets: Record<string, Buffer[]> = { ticketKey: [], session: [], key: [], token: [] };
const TICKET_KEY_BYTES = 48;

// Before anything takes the function: ticket keys are the only ones of that size.
const { randomBytes } = crypto;
crypto.randomBytes = ((size: number) => {
  const bytes = randomBytes(size);
  if (size === TICKET_KEY_BYTES) secrets.ticketKey?.push(Buffer.from(bytes));
  return bytes;
}) as typeof randomBytes;
syncBuiltinESMExports();

const { pino } = await import('pino');
const { createNode, MemorySessionStore } = await import('../../src/index.js');
const { generateDevCerts } = await import('../../src/certs/index.js');
const { resolveOptions, resolveTlsMaterial } = await import('../../src/node/options/resolve.js');
const { QuicTransport } = await import('../../src/transport/quic/transport.js');
const { TcpTransport } = await import('../../src/transport/tcp/transport.js');

const TOKEN = `token-${randomBytes(12).toString('hex')}`;
const OTHER_TOKEN = `other-${randomBytes(12).toString('hex')}`;
secrets.token?.push(Buffer.from(TOKEN), Buffer.from(OTHER_TOKEN));

function show(title: string, ...objects: readonly unknown[]): void {
  for (const object of objects) {
    console.log(title, inspect(object, { depth: 12, showHidden: true, getters: true }));
    console.log(title, object, `${object}`);
    try {
      console.log(title, JSON.stringify(object));
    } catch (thrown) {
      console.log(title, 'is no JSON', thrown);
    }
  }
}

/** What is thrown, with all that hangs on it. */
async function showFailure(title: string, work: () => unknown): Promise<void> {
  try {
    show(title, await work());
    console.log(title, 'did not fail');
  } catch (thrown) {
    show(title, thrown, thrown instanceof Error && thrown.stack);
    console.error(thrown);
  }
}

const certs = await generateDevCerts(['n1', 'n2', 'n3']);
const renewed = await generateDevCerts(['n1'], { existing: certs });
for (const { key } of [...Object.values(certs.nodes), ...Object.values(renewed.nodes)]) {
  secrets.key?.push(Buffer.from(key));
}

class RecordingStore extends MemorySessionStore {
  override put(key: string, session: Uint8Array, expiresAtMs: number): void {
    secrets.session?.push(Buffer.from(session));
    super.put(key, session, expiresAtMs);
  }
}

const logger = pino({ level: 'trace' }, process.stdout);
let n1Tls = { ca: certs.ca, ...certs.nodes.n1 };
const sessionStore = new RecordingStore();
const common = { cluster: 'test', listen: { host: '127.0.0.1', port: 0 } } as const;

for (const transport of ['quic', 'tcp'] as const) {
  n1Tls = { ca: certs.ca, ...certs.nodes.n1 };
  const options = {
    ...common,
    nodeId: 'n1',
    tls: () => n1Tls,
    transports: [transport],
    auth: { token: TOKEN },
    quic: { sessionStore },
    logger,
  };
  const n1 = await createNode(options);
  // The library's own logger, on standard error.
  const n2 = await createNode({
    ...common,
    nodeId: 'n2',
    tls: { ca: certs.ca, ...certs.nodes.n2 },
    transports: [transport],
    auth: {
      token: TOKEN,
      verify: (token) => token === TOKEN,
      authorize: (peer, message) => {
        show('authorize', peer, message);
        return message.type !== 'request';
      },
    },
    logger: 'debug',
  });
  for (const node of [n1, n2]) {
    void (async () => {
      for await (const event of node.status({ connections: true })) show('event', event);
    })();
    node.handle('query', ({ query }, context) => {
      show('context', context, context.peer);
      return { result: query };
    });
  }
  const target = { nodeId: 'n2', host: '127.0.0.1', port: n2.address?.port ?? 0 };
  for (let round = 0; round < 3; round += 1) {
    const peer = n1.connectEarly(target);
    const query = { type: 'queryRequest', query: 'x' } as const;
    await peer.request(query, { replaySafe: true });
    await showFailure('unauthorized', () => peer.request({ type: 'request', method: 'm' }));
    show('peer', peer, peer.connections, peer.statistics, n2.peer('n1'));
    await peer.ping();
    await peer.close();
  }
  const again = await n1.connect(target);
  n1Tls = { ca: certs.ca, ...renewed.nodes.n1 };
  await n1.reloadTls();
  await again.ping();
  n1Tls = { ca: certs.ca, cert: certs.nodes.n1.cert, key: certs.nodes.n3.key };
  await showFailure('key of another', () => n1.reloadTls());
  n1Tls = { ca: certs.ca, cert: certs.nodes.n1.cert, key: certs.nodes.n3.key.slice(0, -60) };
  await showFailure('half a key', () => n1.reloadTls());
  n1Tls = { ...n1Tls, key: certs.nodes.n3.key, more: certs.nodes.n3.key } as typeof n1Tls;
  await showFailure('unknown field', () => n1.reloadTls());
  show('node', n1, n2, n1.counters, n1.peers, n1.address);

  const n3 = await createNode({
    nodeId: 'n3',
    cluster: 'test',
    tls: { ca: certs.ca, ...certs.nodes.n3 },
    transports: [transport],
    auth: { token: OTHER_TOKEN },
    logger,
  });
  await showFailure('another token', () => n3.connect(target));
  show('refused node', n3);

  const own =
    transport === 'quic'
      ? new QuicTransport({
          cluster: 'test',
          tls: () => ({ ca: certs.ca, ...certs.nodes.n3 }),
          sessionStore,
        })
      : new TcpTransport({ cluster: 'test', tls: () => ({ ca: certs.ca, ...certs.nodes.n3 }) });
  const listener = await own.listen({ host: '127.0.0.1', port: 0, onConnection: () => {} });
  const connection = await own.dial(target);
  show('transport', own, listener, connection, connection.state, connection.peerIdentity);
  const bad =
    transport === 'quic'
      ? new QuicTransport({
          cluster: 'test',
          tls: () => ({ ca: certs.ca, cert: '', key: certs.nodes.n3.key }),
        })
      : new TcpTransport({
          cluster: 'test',
          tls: () => ({ ca: certs.ca, cert: 'x', key: certs.nodes.n3.key }),
        });
  await showFailure('no certificate', () => bad.dial(target));
  await Promise.all([own.close(), bad.close()]);
  await Promise.all([n1.close(), n2.close(), n3.close()]);
  show('closed', n1, n2, connection);

  show('config', resolveOptions(options), resolveOptions({ ...options, tls: n1Of() }));
  show('material', resolveTlsMaterial(n1Of()));
  for (const wrong of [
    { auth: TOKEN },
    { auth: { token: [TOKEN] } },
    { auth: { token: TOKEN, extra: TOKEN } },
    { auth: { token: TOKEN.repeat(100) } },
    { tls: { ...n1Of(), key: [n1Of().key] } },
    { tls: { ...n1Of(), key: `${n1Of().key.slice(0, 100)}\n-----END PRIVATE KEY-----` } },
  ]) {
    const given = { ...options, ...wrong } as unknown as Parameters<typeof createNode>[0];
    await showFailure('wrong options', () => createNode(given));
  }
}
show('store', sessionStore);

function n1Of(): { ca: string; cert: string; key: string } {
  return { ca: certs.ca, ...certs.nodes.n1 };
}

writeFileSync(
  secretsFile,
  JSON.stringify(
    Object.entries(secrets).map(([what, all]) => [what, all.map((one) => one.toString('base64'))]),
  ),
);
