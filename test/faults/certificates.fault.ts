/**
 * Certificates as clusters may have them, each made by openssl: on both transports, in both directions, real connections
 * end as `openssl verify` says, and both sides learn why. Where the verdict is another one, the case says so.
 */
import test, { type ExecutionContext } from 'ava';
import type { MeshError, MeshErrorCode } from '../../src/errors.js';
import { createNode, type MeshNode, type NodeOptions } from '../../src/index.js';
import { CASES, CERTIFICATES, NO_CAS } from '../helpers/certificate-cases.js';
import { TEST_TRANSPORTS, type TestTransport } from '../helpers/nodes.js';
import { OpensslPki } from '../helpers/openssl-pki.js';

let pki: OpensslPki;
/** By certificate. */
const keys = new Map<string, string>();

test.before(async () => {
  pki = await OpensslPki.create();
  for (const request of CERTIFICATES) {
    await pki.certificate(request);
    keys.set(request.name, await pki.key(request.key ?? request.name));
  }
});
test.after.always(() => pki.close());

for (const { title, ca, chain, code, unlike } of CASES) {
  for (const role of ['acceptor', 'dialer'] as const) {
    test.serial(`${title}, as ${role}: the verdict of openssl, on both transports`, async (t) => {
      const purpose = role === 'acceptor' ? 'sslserver' : 'sslclient';
      const verdict = await pki.verify(ca, chain, purpose, ['-verify_hostname', 'peer']);
      if (unlike !== undefined) t.not(verdict.isOk, unlike.isOk, unlike.why);
      const isOk = unlike?.isOk ?? verdict.isOk;
      if (!isOk && code === undefined) return t.fail(`openssl: ${verdict.text}`);
      for (const transport of TEST_TRANSPORTS) {
        const judge = await startJudge(t, transport, { ca });
        const peer = await startPeer(t, transport, chain);
        if (role === 'acceptor') await judgeAcceptor(t, judge, peer, isOk ? undefined : code);
        else await judgeDialer(t, judge, peer, isOk ? undefined : code);
        await Promise.all([judge.close(), peer.close()]);
      }
      t.log(verdict.text);
    });
  }
}

for (const name of NO_CAS) {
  test.serial(`${name} is no CA: InvalidOptions on both transports`, async (t) => {
    const tls = { cert: await pki.bundle(['judge']), key: keyOf('judge') };
    for (const transport of TEST_TRANSPORTS) {
      const create = createNode({
        nodeId: 'judge',
        cluster: 'test',
        tls: { ca: await pki.bundle(['judge-root', name]), ...tls },
        transports: [transport],
        logger: 'silent',
      });
      const error = await t.throwsAsync<MeshError>(create);
      t.is(error?.code, 'InvalidOptions');
      t.regex(error?.message ?? '', new RegExp(`CN=${name} may not issue`));
    }
  });
}

async function startJudge(
  t: ExecutionContext,
  transport: TestTransport,
  { ca, ...options }: { ca: readonly string[] } & Partial<NodeOptions>,
): Promise<MeshNode> {
  const tls = { ca: await pki.bundle(ca), cert: await pki.bundle(['judge']), key: keyOf('judge') };
  return start(t, { nodeId: 'judge', tls, transports: [transport], ...options });
}

async function startPeer(
  t: ExecutionContext,
  transport: TestTransport,
  chain: readonly string[],
): Promise<MeshNode> {
  const ca = await pki.bundle(['judge-root']);
  const tls = { ca, cert: await pki.bundle(chain), key: keyOf(chain[0] as string) };
  return start(t, { nodeId: 'peer', tls, transports: [transport] });
}

async function start(
  t: ExecutionContext,
  options: Pick<NodeOptions, 'nodeId' | 'tls'> & Partial<NodeOptions>,
): Promise<MeshNode> {
  const node = await createNode({
    cluster: 'test',
    listen: { host: '127.0.0.1', port: 0 },
    logger: 'silent',
    // The two need not share a CA to knock by.
    admission: { silent: 'off' },
    ...options,
  });
  t.teardown(() => node.close());
  return node;
}

function keyOf(certificate: string): string {
  return keys.get(certificate) as string;
}

/** The judge dials the peer. */
async function judgeAcceptor(
  t: ExecutionContext,
  judge: MeshNode,
  peer: MeshNode,
  code: MeshErrorCode | undefined,
): Promise<void> {
  const refused = nextRefusal(peer);
  const found = await outcomeOf(judge.connect({ nodeId: 'peer', ...addressOf(peer) }));
  t.is(found?.code, code, found?.message);
  if (code === undefined) return;
  t.is(found?.side, 'local');
  t.like(await refused, { code, side: 'remote' });
}

/** The peer dials the judge. */
async function judgeDialer(
  t: ExecutionContext,
  judge: MeshNode,
  peer: MeshNode,
  code: MeshErrorCode | undefined,
): Promise<void> {
  const refused = nextRefusal(judge);
  const found = await outcomeOf(peer.connect({ nodeId: 'judge', ...addressOf(judge) }));
  t.is(found?.code, code, found?.message);
  if (code === undefined) return;
  t.is(found?.side, 'remote');
  t.like(await refused, { code, side: 'local' });
}

function addressOf({ address }: MeshNode): { host: string; port: number } {
  if (address === undefined) throw new Error('the node does not listen');
  return address;
}

async function outcomeOf(connected: Promise<{ ping(): Promise<number> }>) {
  try {
    await (await connected).ping();
    return undefined;
  } catch (thrown) {
    return thrown as MeshError;
  }
}

async function nextRefusal(node: MeshNode): Promise<MeshError | undefined> {
  for await (const event of node.status()) {
    if (event.kind === 'refused') return event.error;
  }
  return undefined;
}
