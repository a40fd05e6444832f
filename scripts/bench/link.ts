/** Links between two network namespaces: one that somebody brings, or one of our own that loses packets. */
import { execFile, execFileSync } from 'node:child_process';
import { promisify } from 'node:util';
import { isError, textOf } from '../../src/base/realms.js';

export interface Link {
  /** Network namespaces of the server and of the client. */
  readonly namespaces: readonly [server: string, client: string];
  /** The server's address. */
  readonly host: string;
}

/** The system's own tools: npm puts programs of packages before them, one of which is an `nft` too. */
const env = {
  ...process.env,
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
};

function run(program: string, parameters: readonly string[]): Promise<{ stdout: string }> {
  return promisify(execFile)(program, parameters, { env });
}

/** @throws Error when the server's namespace has no address that others could reach */
export async function findLink(namespaces: readonly [string, string]): Promise<Link> {
  const [server] = namespaces;
  const { stdout } = await run('ip', ['-n', server, '-j', '-4', 'address', 'show', 'up']);
  const devices = JSON.parse(stdout) as {
    addr_info?: { local?: string; scope?: string }[];
  }[];
  const host = devices
    .flatMap(({ addr_info = [] }) => addr_info)
    .find(({ scope }) => scope === 'global')?.local;
  if (host === undefined) throw new Error(`namespace ${server} has no IPv4 address`);
  return { namespaces, host };
}

/** Reserved for documentation (RFC 5737): nothing outside of the two namespaces is reached by these. */
const SERVER_HOST = '192.0.2.1';
const CLIENT_HOST = '192.0.2.2';
const DEVICE = 'veth0';

/**
 * A pair of namespaces on one wire that drops `lossPercent` of the packets each way. Gone when it is disposed of, or
 * with this process.
 * @throws Error why it cannot be made here
 */
export async function createLossyLink(lossPercent: number): Promise<Link & AsyncDisposable> {
  if (process.platform !== 'linux') throw new Error('network namespaces are a thing of Linux');
  if (process.getuid?.() !== 0) throw new Error('network namespaces need root');
  const server = `quicmesh-bench-${process.pid}-a`;
  const client = `quicmesh-bench-${process.pid}-b`;
  const made: string[] = [];
  const onExit = (): void => {
    for (const name of made)
      execFileSync('ip', ['netns', 'delete', name], { stdio: 'ignore', env });
  };
  process.once('exit', onExit);
  const dispose = async (): Promise<void> => {
    process.off('exit', onExit);
    // A device goes with its namespace, and the other end of the wire with it.
    for (const name of made.splice(0)) await run('ip', ['netns', 'delete', name]);
  };
  try {
    for (const name of [server, client]) {
      await run('ip', ['netns', 'add', name]);
      made.push(name);
    }
    const ends = ['netns', server, 'type', 'veth', 'peer', 'name', DEVICE, 'netns', client];
    await run('ip', ['link', 'add', DEVICE, ...ends]);
    await setUp(server, SERVER_HOST, lossPercent);
    await setUp(client, CLIENT_HOST, lossPercent);
  } catch (thrown) {
    await dispose();
    throw new Error(firstLine(thrown));
  }
  return { namespaces: [server, client], host: SERVER_HOST, [Symbol.asyncDispose]: dispose };
}

async function setUp(namespace: string, host: string, lossPercent: number): Promise<void> {
  const ip = (...command: string[]) => run('ip', ['-n', namespace, ...command]);
  await ip('address', 'add', `${host}/30`, 'dev', DEVICE);
  // TCP would hand over many segments as one packet, to be lost together.
  await ip('link', 'set', DEVICE, 'gso_max_segs', '1', 'up');
  await ip('link', 'set', 'lo', 'up');
  const perMille = Math.round(lossPercent * 10);
  await run('ip', [
    ...['netns', 'exec', namespace, 'nft'],
    `add table inet bench
add chain inet bench loss { type filter hook input priority 0 ; }
add rule inet bench loss iifname "${DEVICE}" numgen random mod 1000 < ${perMille} drop`,
  ]);
}

/** Of what a program said, where it said something. */
function firstLine(thrown: unknown): string {
  const said = isError(thrown) && 'stderr' in thrown ? String(thrown.stderr).trim() : '';
  return (said || textOf(thrown)).split('\n')[0] ?? '';
}
