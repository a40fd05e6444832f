/** Transports and listeners that are closed while something begins on them. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { MeshError } from '../../src/errors.js';
import type { Transport } from '../../src/transport/connection.js';
import { QuicTransport } from '../../src/transport/quic/transport.js';
import { TcpTransport } from '../../src/transport/tcp/transport.js';
import { nodeCert, type TestNodeId } from '../helpers/certs.js';

/** Far longer than any of this takes. */
const connectTimeoutMs = 50_000;
const HOST = '127.0.0.1';
/** Steps of a dial, or of listening, after each of which it may be closed. */
const STEPS = 24;

const KINDS = { quic: QuicTransport, tcp: TcpTransport } as const;
type Kind = keyof typeof KINDS;

async function start(t: ExecutionContext, kind: Kind, nodeId: TestNodeId): Promise<Transport> {
  const tls = await nodeCert(nodeId);
  const transport: Transport = new KINDS[kind]({ tls: () => tls, connectTimeoutMs });
  t.teardown(() => transport.close());
  return transport;
}

/** Lets so many callbacks of promises run, or, beyond the half of them, some turns of the event loop. */
async function pass(steps: number): Promise<void> {
  if (steps < STEPS / 2) for (let step = 0; step < steps; step += 1) await null;
  else for (let turn = STEPS / 2; turn <= steps; turn += 3) await nextTurn();
}

/** Listeners that do nothing. */
function listen(transport: Transport) {
  return transport.listen({ host: HOST, port: 0, onConnection: () => {} });
}

function outcomeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'done',
    ({ code }: MeshError) => code,
  );
}

for (const kind of ['quic', 'tcp'] as const) {
  test(`${kind}: a dial ends at once when its transport closes`, async (t) => {
    const acceptor = await start(t, kind, 'n2');
    const { port } = (await listen(acceptor)).address;
    for (const listens of [false, true]) {
      for (let steps = 0; steps < STEPS; steps += 1) {
        const dialer = await start(t, kind, 'n1');
        if (listens) await listen(dialer);
        const beganMs = performance.now();
        const outcome = outcomeOf(dialer.dial({ nodeId: 'n2', host: HOST, port }));
        await pass(steps);
        await dialer.close();
        t.not(await outcome, 'ConnectTimeout');
        t.true(performance.now() - beganMs < connectTimeoutMs);
      }
    }
  });

  test(`${kind}: a dial succeeds although the listener beside it closes`, async (t) => {
    const acceptor = await start(t, kind, 'n2');
    const { port } = (await listen(acceptor)).address;
    for (let steps = 0; steps < STEPS; steps += 1) {
      const dialer = await start(t, kind, 'n1');
      const listener = await listen(dialer);
      const outcome = outcomeOf(dialer.dial({ nodeId: 'n2', host: HOST, port }));
      await pass(steps);
      await listener.close();
      t.is(await outcome, 'done', `closed after step ${steps}`);
      await dialer.close();
    }
  });

  test(`${kind}: a transport that closes while it begins to listen keeps no port`, async (t) => {
    for (let steps = 0; steps < STEPS; steps += 1) {
      const transport = await start(t, kind, 'n1');
      const listening = listen(transport);
      const outcome = outcomeOf(listening);
      await pass(steps);
      await transport.close();
      if ((await outcome) !== 'done') continue;
      const { address } = await listening;
      const next = await start(t, kind, 'n2');
      await t.notThrowsAsync(next.listen({ ...address, onConnection: () => {} }));
      await next.close();
    }
  });
}
