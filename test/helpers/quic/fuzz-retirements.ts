/** Feeds the binding with retirements of connection IDs at random, in a process of its own: it may loop for ever. */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { TYPESCRIPT } from '../../../scripts/children/typescript.js';
import { nodeCert } from '../certs.js';
import type { RetireFuzz, RetireFuzzResult } from './retire-fuzz.js';

const PROGRAM = fileURLToPath(new URL('retire-fuzz.ts', import.meta.url));

/** What the process tells; `undefined` when it has not by then. It is killed when the test ends. */
export async function fuzzRetirements(
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
