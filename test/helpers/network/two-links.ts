/**
 * For a network namespace of its own: makes another one, with two links between them, and dials from nodes that listen
 * in one place to nodes in another. Prints as one line of JSON what became of each dial, by transport.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { TYPESCRIPT } from '../../../scripts/children/typescript.js';
import { toMeshError } from '../../../src/errors.js';
import { createNode } from '../../../src/index.js';
import { devCerts } from '../certs.js';

const { ca, nodes } = await devCerts();
const script = [...TYPESCRIPT, 'test/helpers/network/other-machine.ts'];
const other = spawn('unshare', ['--net', process.execPath, ...script], {
  stdio: ['pipe', 'pipe', 'inherit'],
});
await once(other, 'spawn');

/** Runs a command on the other machine, whose namespace is that of the process. */
const there = (...command: string[]) => run('nsenter', '-t', String(other.pid), '-n', ...command);
await waitForNamespace();
for (const [index, link] of ['a', 'b'].entries()) {
  run('ip', 'link', 'add', `sk${link}0`, 'type', 'veth', 'peer', 'name', `sk${link}1`);
  run('ip', 'link', 'set', `sk${link}1`, 'netns', String(other.pid));
  // The address that the system would generate comes into use after two seconds, and is preferred from then on: a dialer's
  // address would change within its handshake.
  run('ip', 'link', 'set', `sk${link}0`, 'addrgenmode', 'none');
  there('ip', 'link', 'set', `sk${link}1`, 'addrgenmode', 'none');
  run('ip', 'addr', 'add', `10.9.${index}.1/24`, 'dev', `sk${link}0`);
  run('ip', 'addr', 'add', `fe80::9:${index}:1/64`, 'dev', `sk${link}0`, 'nodad');
  run('ip', 'link', 'set', `sk${link}0`, 'up');
  there('ip', 'addr', 'add', `10.9.${index}.2/24`, 'dev', `sk${link}1`);
  there('ip', 'addr', 'add', `fe80::9:${index}:2/64`, 'dev', `sk${link}1`, 'nodad');
  there('ip', 'link', 'set', `sk${link}1`, 'up');
}
there('ip', 'link', 'set', 'lo', 'up');
run('ip', 'addr', 'add', '10.9.0.3/24', 'dev', 'ska0');
// Drops what does not come over the link that the answer would take, as many systems do.
for (const name of ['all', 'ska1', 'skb1'])
  there('sysctl', '-qw', `net.ipv4.conf.${name}.rp_filter=1`);

other.stdin.write(JSON.stringify({ ca, ...nodes.n2 }));
const [line] = (await once(other.stdout, 'data')) as [Buffer];
const ports = JSON.parse(line.toString()) as Record<'quic' | 'tcp', number>;

const outcomes: Record<string, unknown> = {};
const dials: readonly (readonly [listen: string | undefined, to: string])[] = [
  ['127.0.0.1', '10.9.0.2'],
  ['10.9.0.1', '10.9.1.2'],
  ['10.9.0.1', '10.9.0.2'],
  ['10.9.0.3', '10.9.0.2'],
  ['0.0.0.0', '10.9.1.2'],
  ['::1', 'fe80::9:0:2%ska0'],
  ['::', 'fe80::9:1:2%skb0'],
  ['fe80::9:0:1%ska0', 'fe80::9:0:2%ska0'],
  ['fe80::9:0:1%ska0', 'fe80::9:1:2%skb0'],
  [undefined, `FE80:0::9:1:2%${indexOf('skb0')}`],
  [undefined, '0:0:0:0:0:ffff:10.9.1.2'],
];
for (const [listen, to] of dials) {
  const outcome = [await dial('quic', listen, to), await dial('tcp', listen, to)];
  outcomes[`${listen ?? 'nowhere'} -> ${to.replace(/%\d+$/, '%number')}`] = outcome.join(', ');
}
outcomes['no way'] = await dial('quic', '127.0.0.1', '10.99.0.1');
console.log(JSON.stringify(outcomes));
other.stdin.end();
await once(other, 'exit');

async function dial(
  transport: 'quic' | 'tcp',
  listen: string | undefined,
  host: string,
): Promise<string> {
  const node = await createNode({
    nodeId: 'n1',
    cluster: 't',
    tls: { ca, ...nodes.n1 },
    listen: listen === undefined ? undefined : { host: listen, port: 0 },
    transports: [transport],
    logger: 'silent',
  });
  try {
    const peer = await node.connect({ nodeId: 'n2', host, port: ports[transport] });
    const { body } = await peer.request({ type: 'request', method: transport });
    return String(body);
  } catch (thrown) {
    const { code, message } = toMeshError(thrown);
    return `${code}: ${message}`;
  } finally {
    await node.close();
  }
}

function run(command: string, ...args: string[]): void {
  execFileSync(command, args, { stdio: ['ignore', 'ignore', 'inherit'] });
}

function indexOf(link: string): string {
  const [shown = ''] = execFileSync('ip', ['-o', 'link', 'show', link], { encoding: 'utf8' }).split(
    ':',
  );
  return shown;
}

/** Until the process has left this namespace for its own, where there are no links yet. */
async function waitForNamespace(): Promise<void> {
  const own = execFileSync('readlink', ['/proc/self/ns/net'], { encoding: 'utf8' });
  for (;;) {
    const its = execFileSync('readlink', [`/proc/${other.pid}/ns/net`], { encoding: 'utf8' });
    if (its !== own) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
