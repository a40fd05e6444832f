/** A node whose process has no descriptor left: who is there is served on, and so is who comes. */
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { Child } from '../../scripts/children/child.js';
import { nodeCert, type TestNodeId } from '../helpers/certs.js';
import { startNode } from '../helpers/nodes.js';
import type { ExhaustedCommand, ExhaustedReport } from './helpers/exhausted-node.js';

const PROGRAM = fileURLToPath(new URL('helpers/exhausted-node.ts', import.meta.url));
/** Few, but enough for Node itself, and what it loads when it starts. */
const LIMIT = ['bash', '-c', 'ulimit -n 160 && exec "$0" "$@"'];
const LOOK_MS = 100;
const QUERY = { type: 'queryRequest', query: 'still there' } as const;
const linuxTest = process.platform === 'linux' ? test : test.skip;

linuxTest(
  'peers of a node without descriptors are served by the socket that all share',
  async (t) => {
    t.timeout(120_000);
    const tell = startProcess(t);
    const { port } = await tell({ tls: await nodeCert('n2') });
    const connect = async (nodeId: TestNodeId) => {
      const node = await startNode(t, nodeId, {
        transports: ['quic'],
        cluster: 'faults',
        listen: undefined,
      });
      return node.connect({ nodeId: 'n2', host: '127.0.0.1', port });
    };
    const until = async (isSo: (report: ExhaustedReport) => boolean) => {
      while (!isSo(await tell({}))) await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    };

    const first = await connect('n1');
    await first.request(QUERY);
    await until(({ opened }) => opened === 1);
    t.true((await tell({ exhaust: true })).isExhausted);
    const second = await connect('n3');
    await second.request(QUERY);
    await until(({ refused }) => refused === 1);
    for (const peer of [first, second, first, second]) await peer.request(QUERY);
    t.like(await tell({}), { opened: 1, refused: 1 });
  },
);

function startProcess(t: ExecutionContext) {
  let answer: ((report: ExhaustedReport) => void) | undefined;
  const child = new Child({
    program: PROGRAM,
    wrapper: LIMIT,
    onMessage: (message) => answer?.(message as ExhaustedReport),
  });
  t.teardown(() => child.kill());
  return (command: ExhaustedCommand) =>
    new Promise<ExhaustedReport>((resolve, reject) => {
      answer = resolve;
      void child.gone.then(({ code }) => reject(new Error(`${code}: ${child.lastWords}`)));
      child.tell(command);
    });
}
