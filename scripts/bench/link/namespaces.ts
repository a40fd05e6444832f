/** Network namespaces: those that somebody brings, and pairs that the benchmark makes and removes. */
import { execFile, execFileSync } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { promisify } from 'node:util';

/** Two namespaces that something joins. */
export interface Link {
  /** Network namespaces of the server and of the client. */
  readonly namespaces: readonly [server: string, client: string];
  /** The server's address. */
  readonly host: string;
}

/** The system's own tools: npm puts programs of packages before them. */
const env = {
  ...process.env,
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
};

export async function runTool(program: string, parameters: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(program, parameters, { env });
  return stdout;
}

/** @throws Error when the server's namespace has no address that others could reach */
export async function findLink(namespaces: readonly [string, string]): Promise<Link> {
  const [server] = namespaces;
  const listed = await runTool('ip', ['-n', server, '-j', '-4', 'address', 'show', 'up']);
  const devices = JSON.parse(listed) as {
    addr_info?: { local?: string; scope?: string }[];
  }[];
  const host = devices
    .flatMap(({ addr_info = [] }) => addr_info)
    .find(({ scope }) => scope === 'global')?.local;
  if (host === undefined) throw new Error(`namespace ${server} has no IPv4 address`);
  return { namespaces, host };
}

/** A namespace's name has the process in it, so that those of a killed one are known. */
const PREFIX = 'quicmesh-bench-';
const NAMESPACES = '/var/run/netns';

/** A pair with loopback devices and nothing else. Gone when it is disposed of, or with this process. */
export class NamespacePair implements AsyncDisposable {
  readonly server = `${PREFIX}${process.pid}-server`;
  readonly client = `${PREFIX}${process.pid}-client`;
  readonly #made: string[] = [];
  readonly #onExit = (): void => {
    for (const name of this.#made) {
      execFileSync('ip', ['netns', 'delete', name], { stdio: 'ignore', env });
    }
  };

  /** @throws Error why they cannot be made here */
  static async create(): Promise<NamespacePair> {
    if (process.platform !== 'linux') throw new Error('network namespaces are a thing of Linux');
    if (process.getuid?.() !== 0) throw new Error('network namespaces need root');
    await removeAbandoned();
    const pair = new NamespacePair();
    process.once('exit', pair.#onExit);
    try {
      for (const name of [pair.server, pair.client]) await pair.#make(name);
    } catch (thrown) {
      await pair[Symbol.asyncDispose]();
      throw thrown;
    }
    return pair;
  }

  async #make(name: string): Promise<void> {
    await runTool('ip', ['netns', 'add', name]);
    this.#made.push(name);
    await runTool('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
    // What a former connection learnt about the path is not for the next one.
    const noMemory = 'echo 1 > /proc/sys/net/ipv4/tcp_no_metrics_save';
    await runTool('ip', ['netns', 'exec', name, 'sh', '-c', noMemory]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    process.off('exit', this.#onExit);
    for (const name of this.#made.splice(0)) await runTool('ip', ['netns', 'delete', name]);
  }
}

/** Those of a process that was killed have nobody else to remove them. */
async function removeAbandoned(): Promise<void> {
  const names = await readdir(NAMESPACES).catch(() => []);
  for (const name of names) {
    const [, pid] = /^quicmesh-bench-(\d+)-(?:server|client)$/.exec(name) ?? [];
    if (pid === undefined || isAlive(Number(pid))) continue;
    // Another run may do the same.
    await runTool('ip', ['netns', 'delete', name]).catch(() => {});
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
