/** What an observer of the network sees: QUIC version 1 and TLS 1.3, and none of what is said. Needs tshark. */
import { execFile, execFileSync, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import type { MeshNode } from '../../src/index.js';
import { startNode, type TestTransport, targetOf } from '../helpers/nodes.js';
import { until } from '../helpers/until.js';

type Target = ReturnType<typeof targetOf>;

const run = promisify(execFile);
const MARKER = 'a sentence that nobody else may read';

const canCapture = (() => {
  try {
    // Listing interfaces takes the right to capture, too.
    return execFileSync('tshark', ['-D'], { encoding: 'utf8', stdio: 'pipe' }).includes('lo');
  } catch {
    return false;
  }
})();

test.serial('on the UDP port everything is QUIC version 1, and nothing is plain', async (t) => {
  const capture = await captureCalls(t, 'quic');
  if (capture === undefined) return;
  const { file, port } = capture;
  const fields = await dissect(file, [
    '-d',
    `udp.port==${port},quic`,
    '-Y',
    `udp.port == ${port}`,
    '-T',
    'fields',
    '-e',
    'frame.protocols',
  ]);
  t.true(fields.length > 5);
  for (const protocols of fields) t.true(protocols.includes(':quic'), protocols);
  const versions = await dissect(file, [
    '-d',
    `udp.port==${port},quic`,
    '-T',
    'fields',
    '-e',
    'quic.version',
  ]);
  const stated = new Set(
    versions.flatMap((line) => line.split(',')).filter((version) => version !== ''),
  );
  t.deepEqual([...stated], ['0x00000001']);
});

test.serial('on the TCP port everything is TLS 1.3, and nothing is plain', async (t) => {
  const capture = await captureCalls(t, 'tcp');
  if (capture === undefined) return;
  const { file, port } = capture;
  const dissectAs = ['-d', `tcp.port==${port},tls`];
  const hellos = await dissect(file, [
    ...dissectAs,
    '-Y',
    'tls.handshake.type == 2',
    '-T',
    'fields',
    '-e',
    'tls.handshake.extensions.supported_version',
  ]);
  t.deepEqual(hellos, ['0x0304']);
  const others = await dissect(file, [
    ...dissectAs,
    '-Y',
    'tcp.len > 0 && !tls && !tcp.reassembled_in && !tcp.segment',
  ]);
  t.deepEqual(others, []);
});

test.serial(
  'with the key log the flights of a resumed connection are readable, 0-RTT among them',
  async (t) => {
    const capture = await captureCalls(t, 'quic', async (n1, target) => {
      for (let i = 0; i < 2; i += 1) {
        const peer = n1.connectEarly(target);
        const call = { type: 'request', method: 'echo', body: MARKER } as const;
        t.is((await peer.request(call, { replaySafe: true })).body, MARKER);
        await peer.ping();
        await peer.close();
      }
      t.like(n1.counters.transports.quic, { resumed: 1, earlyDialed: 1 });
    });
    if (capture === undefined) return;
    const { file, port, keys } = capture;
    const early = await readStreams(file, port, keys, 'quic.long.packet_type == 1');
    t.true(early.some((bytes) => bytes.includes(MARKER)));
    t.true(early.some((bytes) => bytes.includes('handshakeRequest')));
    const late = await readStreams(file, port, keys, 'quic.header_form == 0');
    t.true(late.some((bytes) => bytes.includes('handshakeResponse')));
    t.is((await readStreams(file, port, '/dev/null', 'quic')).length, 0);
  },
);

test.serial('with the key log what passes over TCP is readable', async (t) => {
  const capture = await captureCalls(t, 'tcp');
  if (capture === undefined) return;
  const { file, port, keys } = capture;
  const said = await dissect(file, [
    '-d',
    `tcp.port==${port},tls`,
    '-o',
    `tls.keylog_file:${keys}`,
    '-Y',
    'data',
    '-T',
    'fields',
    '-e',
    'data.data',
  ]);
  const frames = said.flatMap((line) => line.split(',')).map((hex) => Buffer.from(hex, 'hex'));
  t.true(frames.some((bytes) => bytes.includes('handshakeRequest')));
  t.true(frames.some((bytes) => bytes.includes(MARKER)));
});

/** The stream bytes of the packets that a filter picks, as far as they can be read with the keys. */
async function readStreams(
  file: string,
  port: number,
  keys: string,
  filter: string,
): Promise<Buffer[]> {
  const lines = await dissect(file, [
    '-d',
    `udp.port==${port},quic`,
    '-o',
    `tls.keylog_file:${keys}`,
    '-Y',
    `udp.port == ${port} && ${filter}`,
    '-T',
    'fields',
    '-e',
    'quic.stream_data',
  ]);
  return lines.flatMap((line) => line.split(',')).map((hex) => Buffer.from(hex, 'hex'));
}

interface Capture {
  readonly file: string;
  readonly port: number;
  /** The nodes' key log. */
  readonly keys: string;
}

/** Makes one call after the other. */
async function callOften(n1: MeshNode, target: Target, t: ExecutionContext): Promise<void> {
  const peer = await n1.connect(target);
  for (let i = 0; i < 20; i += 1) {
    const reply = await peer.request({ type: 'request', method: 'echo', body: MARKER });
    t.is(reply.body, MARKER);
  }
}

/** Captures a dialog of two nodes; `undefined` where nothing can be captured, which must not be so in CI. */
async function captureCalls(
  t: ExecutionContext,
  transport: TestTransport,
  talk: (n1: MeshNode, target: Target, t: ExecutionContext) => Promise<void> = callOften,
): Promise<Capture | undefined> {
  if (!canCapture) {
    t.is(process.env.CI, undefined, 'CI must be able to capture: install tshark');
    t.log('skipped: tshark is missing or may not capture');
    return undefined;
  }
  const directory = await mkdtemp(join(tmpdir(), 'quicmesh-capture-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const keys = join(directory, 'keys.txt');
  const options = { transports: [transport], keyLogFile: keys };
  const n2 = await startNode(t, 'n2', options);
  n2.handle('request', ({ body }) => ({ body }));
  const n1 = await startNode(t, 'n1', { ...options, listen: undefined });
  const target = targetOf(n2);
  const file = join(directory, 'capture.pcapng');
  const kind = transport === 'quic' ? 'udp' : 'tcp';
  const probe = createSocket('udp4');
  t.teardown(() => probe.close());
  await new Promise<void>((resolve) => probe.bind(0, '127.0.0.1', resolve));
  const probePort = probe.address().port;
  const filter = `${kind} port ${target.port} or udp port ${probePort}`;
  const tshark = spawn('tshark', ['-i', 'lo', '-f', filter, '-w', file], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  t.teardown(() => tshark.kill('SIGKILL'));
  let said = '';
  tshark.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  await until(() => said.includes('Capturing on'));
  // It says so before it does so: the first packet that it got is what tells.
  const sendProbe = setInterval(() => probe.send('probe', probePort, '127.0.0.1'), 20);
  t.teardown(() => clearInterval(sendProbe));
  await grown(file, (bytes) => bytes.includes('probe'));
  clearInterval(sendProbe);

  await talk(n1, target, t);
  await n1.close();

  // The peer's last packets may still be on their way to the file: this one comes behind them.
  probe.send('the end', probePort, '127.0.0.1');
  await grown(file, (bytes) => bytes.includes('the end'));
  tshark.kill('SIGINT');
  await until(() => tshark.exitCode !== null || tshark.signalCode !== null);
  const bytes = await readFile(file);
  t.false(bytes.includes(MARKER));
  t.false(bytes.includes('handshakeRequest'));
  return { file, port: target.port, keys };
}

async function dissect(file: string, options: readonly string[]): Promise<string[]> {
  const { stdout } = await run('tshark', ['-r', file, ...options], { maxBuffer: 64 * 1024 * 1024 });
  return stdout.split('\n').filter((line) => line.trim() !== '');
}

/** Waits until the capture holds something: packets reach the file in their own time. */
async function grown(file: string, isThere: (bytes: Buffer) => boolean): Promise<void> {
  for (let rounds = 0; rounds < 1000; rounds += 1) {
    const bytes = await readFile(file).catch(() => Buffer.alloc(0));
    if (isThere(bytes)) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error('tshark has captured nothing');
}
