/**
 * A client on an independent QUIC stack, over networks that change the client's address, carry only small datagrams or lose
 * some: neither side knows anything of the other but SPEC.md.
 */
import test from 'ava';
import type { MeshNode, NodeEvent } from '../../src/index.js';
import { ChaosProxy, type ChaosProxyOptions } from '../helpers/chaos-proxy/proxy.js';
import type { LossyLinkOutcome } from '../helpers/network/lossy-link.js';
import { runInNamespace } from '../helpers/network/namespace.js';
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

// With the windows that SPEC.md asks for, and with one that the datagrams which a rebind loses use up.
for (const window of [undefined, 64 * 1024]) {
  const windows = window === undefined ? 'windows without end' : `a window of ${window} bytes`;
  interop(
    `a NAT that rebinds every half second under a download to ${windows}, while the client sends nothing but acknowledgements`,
    async (t, { node, run }) => {
      const faults = { udp: { delayMs: 20, toClient: { bytesPerSecond: BYTES_PER_SECOND } } };
      await using proxy = await proxyTo(node, { faults, rebindEveryMs: 500, keepOldPorts: false });
      const bytes = window === undefined ? TRANSFER_BYTES : 3_000_000;
      const options = { ...proxy.address, count: 1, bytes };
      const scenario = await run(
        'downloads',
        window === undefined ? options : { ...options, window },
      );
      await scenario.said('ready');
      scenario.goOn();
      t.log(`${await scenario.said('transferred')} ms`);
      await t.notThrowsAsync(scenario.succeeded());
      t.true((node.counters.transports.quic?.peerMigrations ?? 0) >= 3);
    },
  );
}

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

interop(
  'a client that acknowledges what it does not prove to have received is closed in the end',
  async (t, { node, run }) => {
    const scenario = await run('proofs', { kind: 'unanswered', bytes: 1_000_000_000 });
    // The close may be lost in the flood, and is a stateless reset then.
    t.like(await scenario.said('failed'), { where: 'close' });
    await scenario.succeeded();
    t.is(node.counters.transports.quic?.closedForFalseAcks, 1);
  },
);

for (const maxDatagramBytes of [1252, 1280, 1340]) {
  interop(
    `5 MB up and down over a path that carries ${maxDatagramBytes} bytes`,
    async (t, { node, run }) => {
      await using proxy = await proxyTo(node, { faults: { udp: { maxDatagramBytes } } });
      const scenario = await run('lossy', { ...proxy.address, bytes: 5_000_000 });
      await scenario.said('ready');
      t.log(await scenario.said('transferred'));
      await t.notThrowsAsync(scenario.succeeded());
      t.true(proxy.counters.udp.toClient.largestForwardedBytes <= maxDatagramBytes);
    },
  );
}

interop(
  '5 MB up and down beside calls over a link that loses 3 % each way',
  async (t, { client }) => {
    const seeds = [1, 2, 3, 4];
    // Nodes treat loopback in ways of its own.
    const outcomes = await runInNamespace(t, 'test/helpers/network/lossy-link.ts', {
      args: [client.directory, ...seeds.map(String)],
      limitMs: 80_000,
    });
    if (outcomes === undefined) return;
    t.log(JSON.stringify(outcomes));
    for (const { seed, failure, accepted } of outcomes as LossyLinkOutcome[]) {
      // Where silences grow without bound, the client is ended before it is done.
      t.is(failure, undefined, `seed ${seed}`);
      t.is(accepted, 1, `seed ${seed}`);
    }
    t.deepEqual(
      (outcomes as LossyLinkOutcome[]).map(({ seed }) => seed),
      seeds,
    );
  },
);

for (const seed of [1, 2]) {
  interop(
    `calls, then 2 MB up and down over loopback that loses 3 % each way (seed ${seed})`,
    async (t, { node, run }) => {
      const faults = { udp: { loss: 0.03, delayMs: 0.5 } };
      await using proxy = await proxyTo(node, { faults, seed });
      const scenario = await run('lossy', { ...proxy.address, count: 400, bytes: 2_000_000 });
      await scenario.said('ready');
      // A second or two; several where the calls before have made round trips seem long. The client is ended after a minute.
      t.log(await scenario.said('transferred'));
      await t.notThrowsAsync(scenario.succeeded());
      t.is(node.counters.transports.quic?.accepted, 1);
    },
  );
}

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
