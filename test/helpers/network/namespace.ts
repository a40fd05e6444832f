/** Scripts that get a network of their own, in which they are root: a user namespace with a network namespace in it. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';

const run = promisify(execFile);
const NAMESPACE = ['--user', '--map-root-user', '--net'];

/**
 * Runs a script of TypeScript there, with loopback up, and reads the JSON that it prints.
 * @param commands that it needs besides `unshare` and `ip`
 * @returns `undefined` where that cannot be done; then the test is over, and has said so
 */
export async function runInNamespace(
  t: ExecutionContext,
  script: string,
  { args = [], commands = [] }: { args?: readonly string[]; commands?: readonly string[] } = {},
): Promise<unknown> {
  try {
    await run('unshare', [...NAMESPACE, 'ip', 'link']);
    for (const command of commands) await run('sh', ['-c', `command -v ${command}`]);
  } catch {
    const needed = ['unshare', 'ip', ...commands].join(', ');
    t.is(process.env.CI, undefined, `CI must be able to run it: it takes ${needed}`);
    t.log(`skipped: it takes network namespaces and ${needed}`);
    t.pass();
    return undefined;
  }
  const node = [process.execPath, '--import=tsx', script, ...args];
  const shell = ['sh', '-c', 'ip link set lo up && exec "$@"', 'sh', ...node];
  const { stdout } = await run('unshare', [...NAMESPACE, ...shell], { timeout: 55_000 });
  return JSON.parse(stdout);
}
