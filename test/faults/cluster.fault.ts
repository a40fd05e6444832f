/** Under `node:cluster` every worker's node has an address of its own, and a taken one is an error. Real workers. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import test from 'ava';
import { TYPESCRIPT } from '../../scripts/children/typescript.js';
import { freePort } from '../../scripts/mesh/ports.js';
import { TEST_TRANSPORTS } from '../helpers/nodes.js';

const run = promisify(execFile);

for (const transport of TEST_TRANSPORTS) {
  test(`workers over ${transport}: with port 0 a port each, of a fixed port one has it and the others an error`, async (t) => {
    const hosts = ['127.0.0.1', '0.0.0.0'];
    const fixed = await Promise.all(hosts.map(async (host) => `${host} ${await freePort()}`));
    const picked = hosts.map((host) => `${host} 0`);
    const results = await runCluster(transport, [...picked, ...fixed]);
    for (const [index, place] of picked.entries()) {
      const workers = results[index] ?? [];
      t.deepEqual(
        workers.map(({ body }) => body),
        ['n1', 'n2', 'n3'].map((nodeId) => `${nodeId} at ${place}`),
      );
      t.is(new Set(workers.map(({ port }) => port)).size, 3, place);
    }
    for (const [index, place] of fixed.entries()) {
      const [first, ...others] = results[picked.length + index] ?? [];
      t.is(first?.body, `n1 at ${place}`);
      const failed = others.map((worker) => worker.failed);
      t.deepEqual(failed, ['ConnectFailed EADDRINUSE', 'ConnectFailed EADDRINUSE'], place);
    }
  });
}

interface Result {
  readonly nodeId: string;
  readonly body?: string;
  readonly port?: number;
  readonly failed?: string;
}

async function runCluster(transport: string, places: readonly string[]): Promise<Result[][]> {
  const script = [...TYPESCRIPT, 'test/helpers/cluster-nodes.ts', transport, ...places];
  const { stdout } = await run(process.execPath, script, { timeout: 55_000 });
  return JSON.parse(stdout);
}
