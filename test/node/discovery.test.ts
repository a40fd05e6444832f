/** Peers by name, looked up by a real DNS server whose records change while the nodes run. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { freePort } from '../../scripts/mesh/ports.js';
import { dnsDiscovery, type MeshNode } from '../../src/index.js';
import { startNode, targetOf } from '../helpers/nodes.js';

const isMissing = spawnSync('dnsmasq', ['--version']).error !== undefined;

/** A test that needs dnsmasq, which Debian has in dnsmasq-base. CI must have it. */
function withDns(title: string, run: (t: ExecutionContext) => Promise<void>): void {
  test(title, async (t) => {
    if (!isMissing) return run(t);
    t.is(process.env.CI, undefined, 'CI must be able to run it: install dnsmasq-base');
    t.log('skipped: dnsmasq is missing');
  });
}

interface DnsServer {
  /** As name servers are written: address and port. */
  readonly server: string;
  /** Replaces all records: host files by SIGHUP, services by a new start. */
  serve(records: { hosts?: Record<string, string>; services?: readonly string[] }): Promise<void>;
}

const ANSWERS_WITHIN_MS = 20_000;

function isAlive({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode === null && signalCode === null;
}

async function startDns(t: ExecutionContext): Promise<DnsServer> {
  const directory = await mkdtemp(join(tmpdir(), 'quicmesh-dns-'));
  const hostsFile = join(directory, 'hosts');
  const port = await freePort();
  const server = `127.0.0.1:${port}`;
  let child: ChildProcess | undefined;
  const stop = async () => {
    if (child !== undefined && isAlive(child)) {
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    }
    child = undefined;
  };
  t.teardown(async () => {
    await stop();
    await rm(directory, { recursive: true });
  });
  const answers = async () => {
    const resolver = new Resolver({ timeout: 300, tries: 1 });
    resolver.setServers([server]);
    const deadlineMs = performance.now() + ANSWERS_WITHIN_MS;
    while (child !== undefined && isAlive(child) && performance.now() < deadlineMs) {
      try {
        await resolver.resolve4('ready.test');
        return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
    throw new Error(
      `dnsmasq does not answer; ended with ${child?.exitCode ?? child?.signalCode ?? 'nothing'}`,
    );
  };
  return {
    server,
    async serve({ hosts = {}, services = [] }) {
      const lines = Object.entries({ ...hosts, 'ready.test': '127.0.0.1' });
      await writeFile(hostsFile, lines.map(([name, address]) => `${address} ${name}\n`).join(''));
      await stop();
      child = spawn(
        'dnsmasq',
        [
          '--no-daemon',
          '--conf-file=/dev/null',
          '--no-resolv',
          '--no-hosts',
          '--bind-interfaces',
          '--listen-address=127.0.0.1',
          `--port=${port}`,
          `--addn-hosts=${hostsFile}`,
          '--pid-file=',
          '--user=root',
          '--local=/test/',
          ...services.map((service) => `--srv-host=${service}`),
        ],
        { stdio: 'ignore' },
      );
      await answers();
    },
  };
}

async function answering(t: ExecutionContext, nodeId: 'n2' | 'n3'): Promise<MeshNode> {
  const node = await startNode(t, nodeId);
  node.handle('query', () => ({ result: nodeId }));
  return node;
}

withDns('a peer is found by A record, and again where it is after it has moved', async (t) => {
  const dns = await startDns(t);
  const n2 = await answering(t, 'n2');
  const { port } = targetOf(n2);
  // 127.0.0.2 is a loopback address as well, where nobody listens.
  await dns.serve({ hosts: { 'n2.test': '127.0.0.2' } });
  const n1 = await startNode(t, 'n1', {
    discovery: dnsDiscovery({ servers: [dns.server] }),
    timeouts: { connectMs: 300 },
  });
  const target = { nodeId: 'n2', host: 'n2.test', port };
  t.is(((await t.throwsAsync(n1.connect(target))) as { code?: string }).code, 'ConnectFailed');
  await dns.serve({ hosts: { 'n2.test': '127.0.0.1' } });
  const peer = await n1.connect(target);
  t.is((await peer.request({ type: 'queryRequest', query: 'who' })).result, 'n2');
});

withDns(
  'a lost peer is looked up again for every dial, and found where it has moved to',
  async (t) => {
    const dns = await startDns(t);
    const n2 = await answering(t, 'n2');
    const { port } = targetOf(n2);
    await dns.serve({ hosts: { 'n2.test': '127.0.0.1' } });
    const n1 = await startNode(t, 'n1', {
      discovery: dnsDiscovery({ servers: [dns.server] }),
      timeouts: { connectMs: 1000 },
    });
    const peer = await n1.connect({ nodeId: 'n2', host: 'n2.test', port });
    await n2.close();
    const moved = await startNode(t, 'n2', { listen: { host: '127.0.0.2', port } });
    moved.handle('query', () => ({ result: 'moved' }));
    await dns.serve({ hosts: { 'n2.test': '127.0.0.2' } });
    const asked = peer.request({ type: 'queryRequest', query: 'who' }, { timeoutMs: 50_000 });
    t.is((await asked).result, 'moved');
    t.is(peer.connections[0]?.remoteAddress.host, '127.0.0.2');
  },
);

withDns('an SRV record with port 0 is left out, and said where there is no other', async (t) => {
  const dns = await startDns(t);
  const n2 = await answering(t, 'n2');
  const { port } = targetOf(n2);
  await dns.serve({
    hosts: { 'n2.test': '127.0.0.1' },
    services: [
      '_some._udp.db.test,n2.test,0,1',
      `_some._udp.db.test,n2.test,${port},2`,
      '_none._udp.db.test,n2.test,0,1',
    ],
  });
  const n1 = await startNode(t, 'n1', { discovery: dnsDiscovery({ servers: [dns.server] }) });
  const found = { nodeId: 'n2', addresses: [{ host: '_some._udp.db.test' }] };
  const peer = await n1.connect(found);
  t.is((await peer.request({ type: 'queryRequest', query: 'who' })).result, 'n2');
  const none = { nodeId: 'n3', addresses: [{ host: '_none._udp.db.test' }] };
  await t.throwsAsync(n1.connect(none), {
    code: 'ConnectFailed',
    message: /port of 127\.0\.0\.1 must be a whole number from 1/,
  });
});

withDns('a service is found by SRV records, which name the ports and the order', async (t) => {
  const dns = await startDns(t);
  const n2 = await answering(t, 'n2');
  const n3 = await answering(t, 'n3');
  const service = '_quicmesh._udp.db.test';
  const hosts = { 'a.test': '127.0.0.1' };
  const record = (node: MeshNode, priority: number) =>
    `${service},a.test,${targetOf(node).port},${priority},1`;
  const n1 = await startNode(t, 'n1', { discovery: dnsDiscovery({ servers: [dns.server] }) });
  const whoAnswers = async () => {
    const peer = await n1.connect({ addresses: [{ host: service }] });
    const { result } = await peer.request({ type: 'queryRequest', query: 'who' });
    await peer.close();
    return result;
  };
  await dns.serve({ hosts, services: [record(n2, 10), record(n3, 20)] });
  t.is(await whoAnswers(), 'n2');
  await dns.serve({ hosts, services: [record(n2, 20), record(n3, 10)] });
  t.is(await whoAnswers(), 'n3');
  // Whoever else stands first in the list: the node that is named is found.
  const n2AsWell = await n1.connect({ nodeId: 'n2', addresses: [{ host: service }] });
  t.is((await n2AsWell.request({ type: 'queryRequest', query: 'who' })).result, 'n2');
});

withDns(
  'a name without records, and a server that does not answer, are ConnectFailed',
  async (t) => {
    const dns = await startDns(t);
    await dns.serve({});
    const n1 = await startNode(t, 'n1', { discovery: dnsDiscovery({ servers: [dns.server] }) });
    const target = { host: 'nobody.test', port: 1 };
    t.like(await t.throwsAsync(n1.connect(target)), { code: 'ConnectFailed' });
    const silent = createSocket('udp4');
    silent.bind(0, '127.0.0.1');
    await once(silent, 'listening');
    t.teardown(() => silent.close());
    const servers = [`127.0.0.1:${silent.address().port}`];
    const n3 = await startNode(t, 'n3', {
      discovery: dnsDiscovery({ servers, timeoutMs: 100, tries: 1 }),
    });
    t.like(await t.throwsAsync(n3.connect(target)), { code: 'ConnectFailed' });
  },
);
