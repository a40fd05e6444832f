/** Scripts that get a network of their own, in which they are root: a user namespace with a network namespace in it. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';
import { TYPESCRIPT } from '../../../scripts/children/typescript.js';

const run = promisify(execFile);
/** The system's commands: packages bring others of the same names, such as `nft`. */
const PATH = (process.env.PATH ?? '')
  .split(':')
  .filter((folder) => !folder.endsWith('node_modules/.bin'))
  .join(':');
const env = { ...process.env, PATH };
const NAMESPACE = ['--user', '--map-root-user', '--net'];

export interface NamespaceOptions {
  readonly args?: readonly string[];
  /** What the script needs besides `unshare` and `ip`. */
  readonly commands?: readonly string[];
  /** After which it is ended. */
  readonly limitMs?: number;
}

/**
 * Runs a script of TypeScript there, with loopback up, and reads the JSON that it prints.
 * @returns `undefined` where that cannot be done; then the test is over, and has said so
 */
export async function runInNamespace(
  t: ExecutionContext,
  script: string,
  { args = [], commands = [], limitMs = 55_000 }: NamespaceOptions = {},
): Promise<unknown> {
  try {
    await run('unshare', [...NAMESPACE, 'ip', 'link'], { env });
    for (const command of commands) await run('sh', ['-c', `command -v ${command}`], { env });
  } catch {
    const needed = ['unshare', 'ip', ...commands].join(', ');
    t.is(process.env.CI, undefined, `CI must be able to run it: it takes ${needed}`);
    t.log(`skipped: it takes network namespaces and ${needed}`);
    return undefined;
  }
  const node = [process.execPath, ...TYPESCRIPT, script, ...args];
  const shell = ['sh', '-c', 'ip link set lo up && exec "$@"', 'sh', ...node];
  const { stdout } = await run('unshare', [...NAMESPACE, ...shell], { env, timeout: limitMs });
  return JSON.parse(stdout);
}
