/**
 * What the guard against CVE-2025-7054 stands on: quiche 0.18.0 loops where a connection has two paths, which the packets
 * of `retire-loop.test.ts` show at a node, and never where it has one. Here the binding itself is fed at random.
 */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { TYPESCRIPT } from '../../../../scripts/typescript/arguments.js';
import { nodeCert } from '../../../helpers/certs.js';
import type { RetireFuzz, RetireFuzzResult } from '../../../helpers/quic/retire-fuzz.js';

const PROGRAM = fileURLToPath(new URL('../../../helpers/quic/retire-fuzz.ts', import.meta.url));

test('random retirements of connection IDs never make the binding loop over one path', async (t) => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  t.log(`seed ${seed}`);
  const result = await fuzz(t, { seed, connections: 500, ports: 1 }, 40_000);
  t.true(result !== undefined, 'the binding loops');
  // A good part of it is nothing that the binding refuses.
  t.true((result?.closed ?? 0) < 490);
});

test('over two paths they do: what remains for a dialer that has moved', async (t) => {
  t.is(await fuzz(t, { seed: 7, connections: 200, ports: 2 }, 12_000), undefined);
});

/** What the process tells; `undefined` when it has not by then. It is killed when the test ends. */
async function fuzz(
  t: ExecutionContext,
  options: Omit<RetireFuzz, 'client' | 'server'>,
  withinMs: number,
): Promise<RetireFuzzResult | undefined> {
  const child = fork(PROGRAM, { execArgv: [...TYPESCRIPT] });
  t.teardown(() => child.kill('SIGKILL'));
  const [client, server] = await Promise.all([nodeCert('n1'), nodeCert('n2')]);
  return new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`the process ended with ${code}`)));
    child.once('message', (result: RetireFuzzResult) => resolve(result));
    child.send({ ...options, client, server } satisfies RetireFuzz);
    setTimeout(() => resolve(undefined), withinMs).unref();
  });
}
