/**
 * A client on an independent QUIC stack, over networks that change the client's address: neither side
 * knows anything of the other but SPEC.md.
 */
import test from 'ava';
import type { MeshNode, NodeEvent } from '../../src/index.js';
import { ChaosProxy, type ChaosProxyOptions } from '../helpers/chaos-proxy/proxy.js';
import { targetOf } from '../helpers/nodes.js';
import { until } from '../helpers/until.js';
import { goInterop } from '../interop/go-setup.js';

const interop = goInterop(test);

const TRANSFER_BYTES = 20_000_000;
/** Both directions together take some seconds at it. */
const BYTES_PER_SECOND = 4_500_000;

for (const kind of ['upload', 'download'] as const) {
  for (const keepOldPorts of [true, false]) {
    const late = keepOldPorts
      ? 'late datagrams come by the old ports'
      : 'nothing comes by the old ports';
    interop(
      `${kind} of 20 MB through a NAT that rebinds every second; ${late}`,
      async (t, { node, run }) => {
        const direction = kind === 'upload' ? 'toServer' : 'toClient';
        const faults = { udp: { [direction]: { bytesPerSecond: BYTES_PER_SECOND } } };
        await using proxy = await proxyTo(node, { faults, rebindEveryMs: 1000, keepOldPorts });
        const scenario = await run(kind, { ...proxy.address, bytes: TRANSFER_BYTES });
        await scenario.said('ready');
        t.log(await scenario.said('transferred'));
        await scenario.succeeded();
        t.true((node.counters.transports.quic?.peerMigrations ?? 0) >= 3);
        t.is(node.counters.transports.quic?.accepted, 1);
      },
    );
  }
}

interop(
  'a NAT that rebinds every half second under a download, while the client sends nothing but acknowledgements',
  async (t, { node, run }) => {
    const faults = { udp: { toClient: { bytesPerSecond: BYTES_PER_SECOND } } };
    await using proxy = await proxyTo(node, { faults, rebindEveryMs: 500, keepOldPorts: false });
    const scenario = await run('downloads', { ...proxy.address, count: 1, bytes: TRANSFER_BYTES });
    await scenario.said('ready');
    scenario.goOn();
    t.log(`${await scenario.said('transferred')} ms`);
    await t.notThrowsAsync(scenario.succeeded());
    t.true((node.counters.transports.quic?.peerMigrations ?? 0) >= 6);
  },
);

interop(
  'a NAT that rebinds an idle connection before each of ten downloads',
  async (t, { node, run }) => {
    await using proxy = await proxyTo(node, { keepOldPorts: false });
    const scenario = await run('downloads', { ...proxy.address, count: 10, bytes: 2_000_000 });
    for (let i = 0; i < 10; i += 1) {
      await scenario.said('ready');
      await proxy.rebind();
      scenario.goOn();
      t.log(`${await scenario.said('transferred')} ms`);
    }
    await t.notThrowsAsync(scenario.succeeded());
  },
);

interop(
  'a NAT that rebinds while the client waits in silence for its answer',
  async (t, { node, run, seen }) => {
    const events = eventsOf(node);
    await using proxy = await proxyTo(node, { keepOldPorts: false });
    const scenario = await run('held', { ...proxy.address });
    await scenario.said('held');
    await until(() => seen.methods.includes('hold'));
    await proxy.rebind();
    // The client's keep-alive shows its new address, and the answer goes there.
    await until(() => events.some(({ kind }) => kind === 'migrated'));
    seen.release();
    await t.notThrowsAsync(scenario.succeeded());
  },
);

async function proxyTo(
  node: MeshNode,
  options: Omit<ChaosProxyOptions, 'target' | 'protocols'>,
): Promise<ChaosProxy> {
  const { host, port } = targetOf(node);
  return ChaosProxy.start({ ...options, target: { host, port }, protocols: ['udp'] });
}

function eventsOf(node: MeshNode): NodeEvent[] {
  const events: NodeEvent[] = [];
  void (async () => {
    for await (const event of node.status()) events.push(event);
  })();
  return events;
}
