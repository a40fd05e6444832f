/**
 * For a network namespace of its own: a node listens on all addresses, which come and go under its connections. Prints
 * what became of them as one line of JSON. The argument is the wildcard.
 */
import { execFileSync } from 'node:child_process';
import { createNode, type MeshNode, type NodeOptions, type Peer } from '../../../src/index.js';
import { nodeCert } from '../certs.js';
import { until } from '../until.js';

const [wildcard = '0.0.0.0'] = process.argv.slice(2);
const isV6 = wildcard === '::';
const [first, fresh, unused] = isV6
  ? ['fd09::1', 'fd09::2', 'fd09::3']
  : ['10.9.0.1', '10.9.0.2', '10.9.0.3'];
/** Longer than the script runs: no connection is given up, or made anew, for being silent. */
const PATIENT = { intervalMs: 60_000 };

addAddress(first);
addAddress(unused);
const n2 = await start('n2', { listen: { host: wildcard, port: 0 } });
n2.handle('query', ({ query }) => ({ result: query }));
const port = n2.address?.port ?? 0;
const n1 = await start('n1', {});
const n3 = await start('n3', {});
const old = await n1.connect({ nodeId: 'n2', host: first, port });

// A dialer that comes before the new address has its socket is served from the wildcard, and goes on after.
addAddress(fresh);
const peer = await n3.connect({ nodeId: 'n2', host: fresh, port });
const atNewAddress = `over ${peer.transport}`;
await until(() => hasSocket(fresh));
const whenItsSocketCame = await ask(peer, n3);
const atOldAddress = await ask(old, n1);

// A call that is made while the address is gone is answered when it is back. A socket that nobody uses goes.
removeAddress(fresh);
removeAddress(unused);
await until(() => !hasSocket(unused));
const asked = peer.request({ type: 'queryRequest', query: 'x' });
await new Promise((resolve) => setTimeout(resolve, 300));
addAddress(fresh);
const { result } = await asked;
const whenTheAddressWasBack = { answer: result, connections: dialed(n3) };
const names = new Map([
  [first, 'first'],
  [fresh, 'new'],
]);
const addressesAtTheEnd = n2.addresses.flatMap(({ host }) => names.get(host) ?? []).sort();
console.log(
  JSON.stringify({
    atNewAddress,
    whenItsSocketCame,
    atOldAddress,
    whenTheAddressWasBack,
    addressesAtTheEnd,
  }),
);
await Promise.all([n1.close(), n2.close(), n3.close()]);

async function ask(to: Peer, by: MeshNode) {
  const { result: answer } = await to.request({ type: 'queryRequest', query: 'x' });
  return { answer, connections: dialed(by) };
}

function dialed({ counters }: MeshNode): number | undefined {
  return counters.transports.quic?.dialed;
}

function hasSocket(host: string): boolean {
  const sockets = execFileSync('ss', ['-Huln'], { encoding: 'utf8' });
  return sockets.includes(isV6 ? ` [${host}]:${port} ` : ` ${host}:${port} `);
}

async function start(nodeId: 'n1' | 'n2' | 'n3', options: Partial<NodeOptions>) {
  return createNode({
    nodeId,
    cluster: 't',
    tls: await nodeCert(nodeId),
    quic: { required: true },
    health: PATIENT,
    logger: 'silent',
    ...options,
  });
}

function addAddress(host: string): void {
  execFileSync('ip', ['addr', 'add', host, 'dev', 'lo', ...(isV6 ? ['nodad'] : [])]);
}

function removeAddress(host: string): void {
  execFileSync('ip', ['addr', 'del', `${host}/${isV6 ? 128 : 32}`, 'dev', 'lo']);
}
