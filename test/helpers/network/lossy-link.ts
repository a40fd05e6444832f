/**
 * For a network namespace of its own: the client in `test/interop/go` makes calls beside 5 MB up and down, over a link
 * that loses 3 % each way, once for each seed. Takes the directory of the built client and the seeds; prints as one line
 * of JSON a {@link LossyLinkOutcome} of each.
 */
import { execFileSync } from 'node:child_process';
import { createNode } from '../../../src/index.js';
import { GoClient } from '../../interop/go-client.js';
import { serveClient } from '../../interop/go-node.js';
import { nodeCert } from '../certs.js';
import { ChaosProxy } from '../chaos-proxy/proxy.js';

/** What came of one run. */
export interface LossyLinkOutcome {
  readonly seed: number;
  /** Of the client; undefined where all went well, and left out of the JSON then. */
  readonly failure: string | undefined;
  /** The call that took longest. */
  readonly slowestMs: number;
  /** Connections that the node accepted. */
  readonly accepted: number;
}

/** Any but loopback's. */
const HOST = '10.9.0.1';
const BYTES = 5_000_000;

const [directory = '', ...seeds] = process.argv.slice(2);
// As a link's, not as loopback's.
execFileSync('ip', ['link', 'set', 'lo', 'mtu', '1500']);
execFileSync('ip', ['addr', 'add', `${HOST}/32`, 'dev', 'lo']);
const client = new GoClient(directory);
const outcomes: LossyLinkOutcome[] = [];
for (const seed of seeds) outcomes.push(await outcomeOf(Number(seed)));
console.log(JSON.stringify(outcomes));

async function outcomeOf(seed: number): Promise<LossyLinkOutcome> {
  const ends: (() => unknown)[] = [];
  await using node = await createNode({
    nodeId: 'n2',
    cluster: 'test',
    tls: await nodeCert('n2'),
    listen: { host: HOST, port: 0 },
    transports: ['quic'],
    logger: 'silent',
    timeouts: { drainMs: 2000 },
  });
  serveClient(node);
  const { host, port } = node.address ?? { host: HOST, port: 0 };
  await using proxy = await ChaosProxy.start({
    target: { host, port },
    host,
    protocols: ['udp'],
    faults: { udp: { loss: 0.03, delayMs: 1 } },
    seed,
  });
  let slowestMs = Number.MAX_SAFE_INTEGER;
  let failure: string | undefined;
  try {
    const scenario = await client.start({ teardown: (end) => void ends.push(end) }, 'lossy', {
      'node-id': 'n2',
      tls: await nodeCert('n1'),
      ...proxy.address,
      bytes: BYTES,
    });
    await scenario.said('ready');
    ({ slowestMs } = (await scenario.said('transferred')) as { slowestMs: number });
    await scenario.succeeded();
  } catch (thrown) {
    failure = String(thrown);
  } finally {
    for (const end of ends) await end();
  }
  const accepted = node.counters.transports.quic?.accepted ?? 0;
  return { seed, failure, slowestMs, accepted };
}
