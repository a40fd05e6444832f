/** 2,000 attempts to connect at once, half of which never finish, while others call: they are answered, and memory comes back. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { QuicTransport } from '../../src/transport/quic/transport.js';
import { TcpTransport } from '../../src/transport/tcp/transport.js';
import { nodeCert } from '../helpers/certs.js';
import { createForger, strangerAt } from '../helpers/quic/forger.js';
import { eventually } from './helpers/clock.js';
import { assertAllAnswered, summarize } from './helpers/outcomes.js';
import type { Outcome, Target } from './helpers/protocol.js';
import { RemoteNode } from './helpers/remote-node.js';

const ATTEMPTS = 2000;
const AT_ONCE = 32;
const IDLE_MS = 5000;
const MINUTE_MS = 60_000;
const MAX_GROWTH_BYTES = 64_000_000;
const MAX_KEPT_BYTES = 20_000_000;
/** Each look collects garbage; memory of TLS comes back with what held it. */
const BACK_MS = 90_000;

for (const transport of ['quic', 'tcp'] as const) {
  test(`${transport}: ${ATTEMPTS} attempts to connect disturb nobody who is connected`, async (t) => {
    // As many as the node takes may come from one source: here all do.
    const options = {
      transports: [transport],
      admission: { silent: 'off', maxHalfOpenPerSource: 1024 },
    } as const;
    const n2 = await RemoteNode.start(t, 'n2', { options });
    const n1 = await RemoteNode.start(t, 'n1', { listens: false, options });
    await n1.connect(n2.target, true);
    const load = {
      target: n2.target,
      perSecond: 200,
      timeoutMs: 10_000,
      replaySafe: 'none',
    } as const;
    const calls = async (
      name: string,
      meanwhile: Promise<unknown>,
    ): Promise<readonly Outcome[]> => {
      await n1.ask('startLoad', { name, ...load });
      await meanwhile;
      const outcomes = await n1.ask('stopLoad', { name });
      assertAllAnswered(t, outcomes);
      t.log(`${name}: ${summarize(outcomes)}`);
      return outcomes;
    };
    await calls('warm-up', sleep(IDLE_MS));
    await calls('idle', sleep(IDLE_MS));
    const before = await n2.ask('usage', {});
    const attack = transport === 'quic' ? attackQuic(t, n2.target) : attackTcp(t, n2.target);
    await calls('beside', attack);
    const after = await n2.ask('usage', {});
    let kept = Number.POSITIVE_INFINITY;
    await eventually(async () => {
      kept = (await n2.ask('usage', {})).rssBytes - before.rssBytes;
      return kept < MAX_KEPT_BYTES || undefined;
    }, BACK_MS);
    const growth = after.rssBytes - before.rssBytes;
    t.log(`${mb(growth)} MB more at once, ${mb(kept)} MB later`);
    t.true(growth < MAX_GROWTH_BYTES);
    t.true(kept < MAX_KEPT_BYTES);
    t.is((await n1.links('n2')).length, 1);
  });
}

/** First packets that nothing follows, and connections that are closed once TLS is done. */
async function attackQuic(t: ExecutionContext, target: Target): Promise<void> {
  const tls = await nodeCert('n3');
  const forger = await createForger(tls);
  const stranger = await strangerAt('127.0.0.1');
  t.teardown(() => stranger.close());
  const transport = new QuicTransport({
    cluster: 'faults',
    tls: () => tls,
    connectTimeoutMs: MINUTE_MS,
  });
  t.teardown(() => transport.close());
  await inLanes(async (attempt) => {
    if (attempt % 2 === 0) await stranger.send(forger.initial(), target);
    else await (await transport.dial(target)).close();
  });
}

/** Sockets that say nothing, and connections that are closed once TLS is done. */
async function attackTcp(t: ExecutionContext, target: Target): Promise<void> {
  const tls = await nodeCert('n3');
  const silent: Socket[] = [];
  t.teardown(() => {
    for (const socket of silent) socket.destroy();
  });
  const transport = new TcpTransport({
    cluster: 'test',
    tls: () => tls,
    connectTimeoutMs: MINUTE_MS,
  });
  t.teardown(() => transport.close());
  await inLanes(async (attempt) => {
    if (attempt % 2 === 1) {
      await (await transport.dial(target)).close();
      return;
    }
    const socket = connect(target.port, target.host);
    silent.push(socket);
    socket.on('error', () => {});
    await once(socket, 'connect');
  });
}

async function inLanes(attempt: (number: number) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < ATTEMPTS) {
      const number = next;
      next += 1;
      await attempt(number);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
}

function mb(bytes: number): string {
  return (bytes / 1_000_000).toFixed(1);
}
