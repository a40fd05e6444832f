/** Who may make which call: a function is asked before each handler, and its no ends that call only. */
import { createHash, X509Certificate } from 'node:crypto';
import { Writable } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import { pino } from 'pino';
import {
  type Authorize,
  type CallingPeer,
  type HandledMessages,
  type HandlerKind,
  MeshError,
  type MeshNode,
  type NodeOptions,
  type Peer,
} from '../../src/index.js';
import {
  type CertificateFields,
  readCertificate,
} from '../../src/transport/trust/certificate-fields.js';
import { twinOf } from '../../src/transport/trust/fingerprints.js';
import { nodeCert } from '../helpers/certs.js';
import { startNode, TEST_TRANSPORTS, type TestTransport, targetOf } from '../helpers/nodes.js';
import { until } from '../helpers/until.js';

const UNAUTHORIZED = {
  code: 'Unauthorized',
  side: 'remote',
  retryable: false,
  maybeExecuted: false,
} as const;

interface Pair {
  readonly n1: MeshNode;
  readonly n2: MeshNode;
  readonly peer: Peer;
  /** Kinds of the calls that n2 has handled. */
  readonly handled: HandlerKind[];
}

async function setUp(
  t: ExecutionContext,
  transport: TestTransport,
  authorize: Authorize,
  more: Partial<NodeOptions> = {},
): Promise<Pair> {
  // On a busy machine a peer would be asked for a sign of life, which counts as a call over TCP.
  const options = { transports: [transport], health: { intervalMs: 10_000 } };
  const n2 = await startNode(t, 'n2', { ...options, auth: { authorize }, ...more });
  const n1 = await startNode(t, 'n1', { ...options, bulk: { transport: 'same' } });
  const handled: HandlerKind[] = [];
  n2.handle('query', ({ query }) => {
    handled.push('query');
    return { result: query };
  });
  n2.handle('request', ({ body }) => {
    handled.push('request');
    return { body };
  });
  n2.handle('replicationLog', () => {
    handled.push('replicationLog');
  });
  n2.handle('consensus', () => {
    handled.push('consensus');
    return { body: { kind: 'appendEntriesResponse', term: 1, success: false } };
  });
  n2.handle('dataTransfer', async function* ({ name }, { body }) {
    handled.push('dataTransfer');
    for await (const chunk of body) yield chunk;
    yield Buffer.from(name ?? '');
  });
  return { n1, n2, peer: await n1.connect(targetOf(n2)), handled };
}

async function download(peer: Peer, name: string, body?: Iterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of peer.stream({ transferId: name, name }, { body })) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

const LOG = { type: 'replicationLog', term: 1, prevIndex: 0, commitIndex: 0, entries: [] } as const;
const VOTE = {
  type: 'consensus',
  group: 'g',
  body: { kind: 'requestVote', term: 1, candidateId: 'n1', lastLogIndex: 0, lastLogTerm: 0 },
} as const;

for (const transport of TEST_TRANSPORTS) {
  test(`${transport}: every kind of call needs leave, ping does not, and a no ends nothing else`, async (t) => {
    const { peer, handled, n2 } = await setUp(t, transport, () => false);
    const [query, request] = [
      { type: 'queryRequest', query: 'x' },
      { type: 'request', method: 'm' },
    ] as const;
    for (const message of [query, request, LOG, VOTE]) {
      t.like(await t.throwsAsync<MeshError>(peer.request(message)), UNAUTHORIZED, message.type);
    }
    t.like(await t.throwsAsync<MeshError>(download(peer, 'file')), UNAUTHORIZED);
    const body = Array.from({ length: 50 }, () => Buffer.alloc(64 * 1024));
    t.like(await t.throwsAsync<MeshError>(download(peer, 'file', body)), UNAUTHORIZED);
    // One-way: what becomes of it nobody hears.
    await peer.send(LOG);
    t.true((await peer.ping()) >= 0);
    await until(() => n2.peer('n1')?.connections[0]?.calls.handled === 8);
    t.deepEqual(handled, []);
    t.is(peer.connections.length, 1);
    t.is(n2.counters.handshakes.accepted, 1);
  });

  test(`${transport}: the function sees who asks and for what, and decides call by call`, async (t) => {
    const asked: [CallingPeer, HandledMessages[HandlerKind]][] = [];
    const { peer, handled } = await setUp(t, transport, (who, message) => {
      asked.push([who, message]);
      return (
        (message.type === 'queryRequest' && message.query === 'public') ||
        (message.type === 'request' && message.method !== 'drop') ||
        (message.type === 'dataTransfer' && message.name === 'backup')
      );
    });
    const ask = (query: string) => peer.request({ type: 'queryRequest', query });
    const call = (method: string) => peer.request({ type: 'request', method, body: 1 });
    t.is((await ask('public')).result, 'public');
    t.like(await t.throwsAsync<MeshError>(ask('private')), UNAUTHORIZED);
    t.is((await call('get')).body, 1);
    t.like(await t.throwsAsync<MeshError>(call('drop')), UNAUTHORIZED);
    t.is(await download(peer, 'backup', [Buffer.from('bytes and ')]), 'bytes and backup');
    t.like(await t.throwsAsync<MeshError>(download(peer, 'secrets')), UNAUTHORIZED);
    t.deepEqual(handled, ['query', 'request', 'dataTransfer']);
    const { fingerprint256, validTo, publicKey } = new X509Certificate((await nodeCert('n1')).cert);
    const spki = publicKey.export({ type: 'spki', format: 'der' });
    const digest = createHash('sha256').update(spki).digest('hex').toUpperCase();
    const keyFingerprint256 = digest.match(/../g)?.join(':');
    const validToMs = Date.parse(validTo);
    for (const [who] of asked) {
      const certificate = { nodeIds: ['n1'], fingerprint256, keyFingerprint256, validToMs };
      t.deepEqual(who, { nodeId: 'n1', certificate, transport });
    }
    t.is(asked.length, 6);
  });

  test(`${transport}: a certificate and its ECDSA twin have one key fingerprint`, async (t) => {
    const asked: CallingPeer[] = [];
    const { n1, n2, peer } = await setUp(t, transport, (who) => asked.push(who) > 0);
    await peer.request({ type: 'queryRequest', query: 'x' });
    await n1.close();
    const own = await nodeCert('n1');
    const [leaf, ca] = [own.cert, own.ca].map((pem) =>
      readCertificate(new X509Certificate(pem).raw),
    ) as [CertificateFields, CertificateFields];
    const twin = twinOf(leaf, ca) as Buffer;
    const cert = `-----BEGIN CERTIFICATE-----\n${twin.toString('base64')}\n-----END CERTIFICATE-----\n`;
    const again = await startNode(t, 'n1', { transports: [transport], tls: { ...own, cert } });
    await (await again.connect(targetOf(n2))).request({ type: 'queryRequest', query: 'x' });
    const [first, second] = asked.map(({ certificate }) => certificate);
    t.not(first?.fingerprint256, second?.fingerprint256);
    t.is(first?.keyFingerprint256, second?.keyFingerprint256);
    t.is(asked.length, 2);
  });

  test(`${transport}: a no with an error of its own reaches the caller as that`, async (t) => {
    const { peer } = await setUp(t, transport, (_, message) =>
      message.type === 'queryRequest'
        ? new MeshError('Overloaded', 'not at this hour')
        : new MeshError('InvalidOptions', 'a code that never travels'),
    );
    const query = peer.request({ type: 'queryRequest', query: 'x' }, { retry: false });
    t.like(await t.throwsAsync(query), {
      code: 'Overloaded',
      message: 'not at this hour',
      retryable: true,
      maybeExecuted: false,
    });
    const request = peer.request({ type: 'request', method: 'm' });
    t.like(await t.throwsAsync(request), { code: 'Unauthorized', side: 'remote' });
  });

  test(`${transport}: a function that throws, or answers anything but true, says no, and is logged`, async (t) => {
    const lines: string[] = [];
    const stream = new Writable({
      write(line, _encoding, done) {
        lines.push(String(line));
        done();
      },
    });
    const verdicts: Record<string, () => unknown> = {
      throws: () => {
        throw new RangeError(`out of order ${'x'.repeat(100_000)}`);
      },
      promise: async () => true,
      rejects: async () => {
        throw new RangeError('out of order');
      },
      one: () => 1,
      nothing: () => undefined,
    };
    const authorize = ((_, message) =>
      verdicts[(message as { method: string }).method]?.()) as Authorize;
    const logger = pino({ level: 'error' }, stream);
    const { peer, handled } = await setUp(t, transport, authorize, { logger });
    const beganMs = performance.now();
    for (const method of Object.keys(verdicts)) {
      const error = await t.throwsAsync<MeshError>(peer.request({ type: 'request', method }));
      t.like(error, UNAUTHORIZED, method);
      t.false(error.message.includes('out of order'));
    }
    t.deepEqual(handled, []);
    // Three have failed. A second has one line, which says what is to be said.
    const seconds = Math.floor((performance.now() - beganMs) / 1000);
    const failures = lines.filter((line) => line.includes('auth.authorize failed'));
    t.true(failures.length >= 1 && failures.length <= 1 + seconds, `${failures.length} lines`);
    t.regex(failures[0] as string, /out of order/);
    t.true((failures[0] as string).length < 1000);
  });

  test(`${transport}: whether there is a handler is not told to whom it is not for`, async (t) => {
    const options = { transports: [transport] };
    const n2 = await startNode(t, 'n2', { ...options, auth: { authorize: () => false } });
    const n1 = await startNode(t, 'n1', options);
    const peer = await n1.connect(targetOf(n2));
    const request = peer.request({ type: 'request', method: 'm' });
    t.like(await t.throwsAsync<MeshError>(request), UNAUTHORIZED);
  });
}

test('calls that arrive as early data need leave, too', async (t) => {
  const early: string[] = [];
  const { n1, n2, peer, handled } = await setUp(t, 'quic', (_, message) => {
    early.push(message.type);
    return message.type === 'queryRequest';
  });
  await peer.request({ type: 'queryRequest', query: 'x' });
  await peer.close();
  await until(() => n2.peer('n1')?.connections.length === 0);
  const again = n1.connectEarly(targetOf(n2));
  const safe = { replaySafe: true };
  const [query, request] = await Promise.allSettled([
    again.request({ type: 'queryRequest', query: 'y' }, safe),
    again.request({ type: 'request', method: 'm' }, safe),
  ]);
  t.like(query, { status: 'fulfilled', value: { result: 'y' } });
  t.is(request.status, 'rejected');
  t.like((request as PromiseRejectedResult).reason, UNAUTHORIZED);
  t.is(n2.counters.transports.quic?.earlyAccepted, 1);
  t.deepEqual(handled, ['query', 'query']);
  t.is(early.length, 3);
});
