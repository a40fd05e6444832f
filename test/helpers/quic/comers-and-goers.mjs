/**
 * Counts what is left of connections that came and went, after a minor collection of garbage. JavaScript, and the package
 * as it is installed: what loads TypeScript on the fly gives functions properties of their own, which V8 keeps for long.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { getHeapSpaceStatistics } from 'node:v8';
import { generateDevCerts } from 'quicmesh/certs';
import { QuicTransport } from 'quicmesh/transport';

const CONNECTIONS = 200;
const AT_ONCE = 8;

if (process.send === undefined) await accept();
else await dial();

async function accept() {
  const certs = await generateDevCerts(['n1', 'n2']);
  const tls = (nodeId) => ({ ca: certs.ca, ...certs.nodes[nodeId] });
  const transport = new QuicTransport({ cluster: 'test', tls: () => tls('n1') });
  const listener = await transport.listen({ host: '127.0.0.1', port: 0, onConnection() {} });
  const dialer = fork(process.argv[1]);
  const connections = async () => {
    dialer.send({ target: listener.address, tls: tls('n2') });
    await once(dialer, 'message');
    // The last ones say goodbye.
    await sleep(500);
  };
  await connections();
  globalThis.gc();
  globalThis.gc();
  const before = newSpaceBytes();
  await connections();
  globalThis.gc({ type: 'minor' });
  const bytes = (newSpaceBytes() - before) / CONNECTIONS;
  process.stdout.write(JSON.stringify({ bytes, accepted: transport.counters.accepted }));
  dialer.disconnect();
  await transport.close();
}

async function dial() {
  for await (const [{ target, tls }] of messages()) {
    const transport = new QuicTransport({ cluster: 'test', tls: () => tls });
    const lane = async () => {
      for (let i = 0; i < CONNECTIONS / AT_ONCE; i += 1) {
        await (await transport.dial(target)).close();
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, lane));
    await transport.close();
    process.send('done');
  }
}

async function* messages() {
  for (;;) yield await once(process, 'message');
}

function newSpaceBytes() {
  return getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space')
    .space_used_size;
}
