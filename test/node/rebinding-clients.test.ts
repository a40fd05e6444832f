/** Clients of another stack, with windows as such have them, behind a NAT that forgets them. SPEC.md, "QUIC", paths. */
import test, { type ExecutionContext } from 'ava';
import type { MeshNode } from '../../src/index.js';
import { nodeCert } from '../helpers/certs.js';
import { ChaosProxy } from '../helpers/chaos-proxy/proxy.js';
import { startNode, targetOf } from '../helpers/nodes.js';
import { PlainClient } from '../helpers/quic/plain-client.js';
import { until } from '../helpers/until.js';

const MIB = 1024 * 1024;
const CHUNK = Buffer.alloc(64 * 1024, 7);
const TRANSFER_BYTES = 12 * MIB;
const REBINDS = 3;
/** Nothing passes for so long: what is under way is lost. */
const GAP_MS = 100;
/** Datagrams of the client's until it has proved where it is: a node that crawls needs many hundreds. */
const MAX_UNPROVED = 200;
/**
 * More than is ever sent on a stream, so that no stream's window has to grow. quiche 0.18.0 would have the connection's grow
 * with it, above its maximum, and takes that back with the next credit it gives: then it closes the connection over what
 * came by the credit it had given before.
 */
const STREAM_BYTES = 4 * TRANSFER_BYTES;
/** What the connection may have under way, when nothing else does: nodes allow each other any number. */
const WINDOWS = { default: undefined, small: 256 * 1024, tiny: 64 * 1024 } as const;

for (const [name, connectionBytes] of Object.entries(WINDOWS)) {
  test.serial(
    `a download goes on at once at each new port of a client with a ${name} window`,
    async (t) => {
      const { node, client, proxy } = await setUp(t, connectionBytes);
      const bytes = connectionBytes === WINDOWS.tiny ? TRANSFER_BYTES / 8 : TRANSFER_BYTES;
      node.handle('dataTransfer', async function* () {
        for (let sent = 0; sent < bytes; sent += CHUNK.length) yield CHUNK;
      });
      const call = client.call({ type: 'dataTransfer', transferId: 'down', offset: 0 });
      for (let i = 1; i <= REBINDS; i += 1) {
        await until(() => call.bytes >= (bytes / (REBINDS + 1)) * i);
        const since = await forget(proxy);
        // The client says nothing but what it acknowledges, and is silent once nothing comes.
        await until(() => migrations(node) === i);
        t.log(`${since.datagrams} datagrams until its proof`);
        t.true(since.datagrams <= MAX_UNPROVED, `${since.datagrams} datagrams`);
      }
      await until(() => call.ended);
      t.is(call.error, undefined);
      t.true(call.bytes >= bytes);
      t.is(node.counters.transports.quic?.accepted, 1);
    },
  );
}

test.serial('an upload goes on at each new port of the client', async (t) => {
  const { node, client, proxy } = await setUp(t, WINDOWS.small);
  let arrived = 0;
  node.handle('dataTransfer', async (_, { body }) => {
    for await (const chunk of body) arrived += chunk.length;
  });
  const call = client.call({ type: 'dataTransfer', transferId: 'up', offset: 0 }, { end: false });
  for (let offset = 0; offset < TRANSFER_BYTES / 4; offset += CHUNK.length) {
    client.send(call, { type: 'dataTransfer', transferId: 'up', offset, data: CHUNK });
  }
  const offset = TRANSFER_BYTES / 4;
  client.send(call, { type: 'dataTransfer', transferId: 'up', offset }, { end: true });
  for (let i = 1; i <= REBINDS; i += 1) {
    await until(() => arrived >= (offset / (REBINDS + 1)) * i);
    await forget(proxy);
    await until(() => migrations(node) === i);
  }
  await until(() => call.ended);
  t.is(call.error, undefined);
  t.is(arrived, offset);
});

test.serial(
  'an idle client is followed by its signs of life, also where the first requests for a proof are lost',
  async (t) => {
    const { node, client, proxy } = await setUp(t, WINDOWS.small);
    for (let i = 1; i <= REBINDS; i += 1) {
      let lost = 0;
      proxy.onDatagram = (direction) => {
        if (direction === 'toServer' || lost === i - 1) return undefined;
        lost += 1;
        return 'drop';
      };
      await proxy.rebind();
      await until(() => migrations(node) === i);
    }
    proxy.onDatagram = undefined;
    const call = client.call({ type: 'ping' });
    await until(() => call.ended);
    t.is(client.messages(call)[0]?.type, 'pong');
  },
);

async function setUp(
  t: ExecutionContext,
  connectionBytes: number | undefined,
): Promise<{ node: MeshNode; client: PlainClient; proxy: ChaosProxy }> {
  const node = await startNode(t, 'n2', { transports: ['quic'] });
  const faults = { udp: { delayMs: 1 } };
  const proxy = await ChaosProxy.start({ target: targetOf(node), keepOldPorts: false, faults });
  t.teardown(() => proxy.close());
  const client = await PlainClient.connect(t, proxy.address, await nodeCert('n1'), {
    askAfterMs: 250,
    configure: (config) => {
      if (connectionBytes === undefined) return;
      config.setInitialMaxData(connectionBytes);
      config.setMaxConnectionWindow(connectionBytes);
      config.setInitialMaxStreamDataBidiLocal(STREAM_BYTES);
    },
  });
  return { node, client, proxy };
}

/**
 * The NAT is gone for a while, and with it what is under way; then it has another port.
 * @returns what the client has sent since
 */
async function forget(proxy: ChaosProxy): Promise<{ datagrams: number }> {
  const since = { datagrams: 0 };
  proxy.onDatagram = () => 'drop';
  await proxy.rebind();
  await new Promise((resolve) => setTimeout(resolve, GAP_MS));
  proxy.onDatagram = (direction) => {
    if (direction === 'toServer') since.datagrams += 1;
    return undefined;
  };
  return since;
}

function migrations(node: MeshNode): number {
  return node.counters.transports.quic?.peerMigrations ?? 0;
}
