/**
 * For a network namespace of its own: makes a router and another machine behind it, and a node on either end. Sends calls
 * and transfers while links carry different sizes, and the router says so by ICMP or does not. Prints one line of JSON.
 */
import { execFileSync, type StdioOptions, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { TYPESCRIPT } from '../../../scripts/children/typescript.js';
import { createNode, type MeshNode, type NodeBulkOptions, type Peer } from '../../../src/index.js';
import { devCerts } from '../certs.js';

const TRANSFER_BYTES = 5_000_000;
const CALL_BYTES = 30_000;
const CALLS = 10;
/** A search is over, or goes on, within that. */
const SETTLED_MS = 3000;
const BOUNDS = { timeoutMs: 30_000 };

const { ca, nodes } = await devCerts();
const router = await machine(['sleep', '3600'], 'ignore');
const far = await machine(
  [process.execPath, ...TYPESCRIPT, 'test/helpers/network/echo-machine.ts'],
  ['pipe', 'pipe', 'inherit'],
);
link('nr0', 'nr1', router.pid);
link('rf0', 'rf1', far.pid, router);
run('ip', 'addr', 'add', '10.9.0.1/24', 'dev', 'nr0');
router.run('ip', 'addr', 'add', '10.9.0.254/24', 'dev', 'nr1');
router.run('ip', 'addr', 'add', '10.9.1.254/24', 'dev', 'rf0');
far.run('ip', 'addr', 'add', '10.9.1.2/24', 'dev', 'rf1');
run('ip', 'link', 'set', 'nr0', 'up');
for (const name of ['nr1', 'rf0']) router.run('ip', 'link', 'set', name, 'up');
far.run('ip', 'link', 'set', 'rf1', 'up');
router.run('sysctl', '-qw', 'net.ipv4.ip_forward=1');
run('ip', 'route', 'add', '10.9.1.0/24', 'via', '10.9.0.254');
far.run('ip', 'route', 'add', '10.9.0.0/24', 'via', '10.9.1.254');

far.child.stdin?.write(`${JSON.stringify({ ca, ...nodes.n2 })}\n`);
const [line] = (await once(far.child.stdout as NodeJS.ReadableStream, 'data')) as [Buffer];
const { port } = JSON.parse(line.toString()) as { port: number };

// Systems remember for minutes what was reported, so that comes last.
router.run('nft', 'add table ip t; add chain ip t o { type filter hook output priority 0; }');
router.run('nft', 'add rule ip t o icmp type destination-unreachable drop');
const outcomes: Record<string, unknown> = {};
outcomes.wide = await over(1500, 1500);
outcomes.narrowInterface = await over(1280, 1500);
outcomes.narrowAndSilent = await over(1500, 1280);
const halfway = () => setMtu('rf0', 'rf1', 1280);
outcomes.narrowFromTheMiddleOn = await over(1500, 1500, { halfway });
outcomes.sameFromTheMiddleOn = await over(1500, 1500, { halfway, bulk: { transport: 'same' } });
outcomes.narrowBetween = await over(1500, 1500, { betweenMtu: 1280 });
router.run('nft', 'delete table ip t');
outcomes.narrowAndReported = await over(1500, 1280);
console.log(JSON.stringify(outcomes));
far.child.stdin?.end();
await once(far.child, 'exit');
router.child.kill();

interface OverOptions {
  /** Called in the midst of the transfer. */
  readonly halfway?: () => void;
  /** Of the router's own end of the far link. */
  readonly betweenMtu?: number;
  readonly bulk?: NodeBulkOptions;
}

/** Calls and a transfer each way, over links of these MTUs. */
async function over(nearMtu: number, farMtu: number, options: OverOptions = {}): Promise<unknown> {
  const { halfway = () => {}, betweenMtu = farMtu, bulk } = options;
  setMtu('nr0', 'nr1', nearMtu);
  setMtu('rf0', 'rf1', farMtu);
  // Both ends offer full segments, and the router between them carries none.
  if (betweenMtu !== farMtu) router.run('ip', 'link', 'set', 'rf0', 'mtu', String(betweenMtu));
  const node = await createNode({
    nodeId: 'n1',
    cluster: 't',
    tls: { ca, ...nodes.n1 },
    bulk,
    logger: 'silent',
  });
  try {
    const fragmentsBefore = fragments();
    const peer = await node.connect({ nodeId: 'n2', host: '10.9.1.2', port });
    await call(peer);
    const received = await transfer(peer, halfway);
    const found = await settledSize(peer);
    return {
      received,
      transport: peer.transport,
      datagramBytes: found,
      bulk: bulkOf(peer),
      fragments: fragments() - fragmentsBefore,
      dialed: dialed(node),
    };
  } finally {
    await node.close();
  }
}

async function call(peer: Peer): Promise<void> {
  const calls = Array.from({ length: CALLS }, async () => {
    const body = randomBytes(CALL_BYTES);
    const reply = await peer.request({ type: 'request', method: 'echo', body }, BOUNDS);
    if (!body.equals(reply.body as Uint8Array)) throw new Error('another body came back');
  });
  await Promise.all(calls);
}

/** The size of datagrams that the connection comes to, while calls go on. */
async function settledSize(peer: Peer): Promise<number | undefined> {
  let sameSinceMs = performance.now();
  let size: number | undefined;
  while (performance.now() - sameSinceMs < SETTLED_MS) {
    await call(peer);
    const now = peer.connections.find(
      ({ connectionClass }) => connectionClass === 'calls',
    )?.datagramBytes;
    if (now !== size) sameSinceMs = performance.now();
    size = now;
  }
  return size;
}

async function transfer(peer: Peer, halfway: () => void): Promise<number> {
  const transferId = randomBytes(4).toString('hex');
  const body = randomBytes(TRANSFER_BYTES);
  let received = 0;
  const from = (offset: number) => pieces(body.subarray(offset));
  for await (const chunk of peer.stream({ transferId }, { resume: true, body: from, ...BOUNDS })) {
    const before = received;
    received += chunk.length;
    if (before < TRANSFER_BYTES / 2 && received >= TRANSFER_BYTES / 2) halfway();
  }
  return received;
}

function* pieces(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
}

/** The transport of the connection for bulk transfers. */
function bulkOf({ connections }: Peer): string | undefined {
  return connections.find(({ connectionClass }) => connectionClass === 'bulk')?.transport;
}

function dialed({ counters }: MeshNode): Record<string, number | undefined> {
  const { quic, tcp } = counters.transports;
  return { quic: quic?.dialed, tcp: tcp?.dialed, blackHoles: quic?.blackHoles };
}

/** Datagrams that this system cut in pieces. */
function fragments(): number {
  const [names = '', values = ''] = readFileSync('/proc/self/net/snmp', 'utf8')
    .split('\n')
    .filter((text) => text.startsWith('Ip:'));
  return Number(values.split(' ')[names.split(' ').indexOf('FragOKs')]);
}

function setMtu(near: string, other: string, mtu: number): void {
  const inner = near === 'nr0';
  const set = (name: string) => ['link', 'set', name, 'mtu', String(mtu)];
  if (inner) run('ip', ...set(near));
  else router.run('ip', ...set(near));
  if (inner) router.run('ip', ...set(other));
  else far.run('ip', ...set(other));
}

function link(near: string, other: string, pid: number, at = { run }): void {
  at.run('ip', 'link', 'add', near, 'type', 'veth', 'peer', 'name', other);
  at.run('ip', 'link', 'set', other, 'netns', String(pid));
}

/** A process in a network namespace of its own. */
async function machine(command: readonly string[], stdio: StdioOptions) {
  const child = spawn('unshare', ['--net', ...command], { stdio });
  await once(child, 'spawn');
  const pid = child.pid as number;
  process.once('exit', () => child.kill());
  await waitForNamespace(pid);
  const there = (...inner: string[]) => run('nsenter', '-t', String(pid), '-n', ...inner);
  there('ip', 'link', 'set', 'lo', 'up');
  return { child, pid, run: there };
}

/** Until the process has left this namespace for its own. */
async function waitForNamespace(pid: number): Promise<void> {
  const own = namespaceOf('self');
  while (namespaceOf(pid) === own) await new Promise((resolve) => setTimeout(resolve, 10));
}

function namespaceOf(pid: number | 'self'): string {
  return execFileSync('readlink', [`/proc/${pid}/ns/net`], { encoding: 'utf8' });
}

function run(command: string, ...args: string[]): void {
  execFileSync(command, args, { stdio: ['ignore', 'ignore', 'inherit'] });
}
