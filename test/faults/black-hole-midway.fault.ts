/** UDP that vanishes under calls, and comes back under calls. */
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { ChaosProxy } from '../helpers/chaos-proxy/proxy.js';
import { eventually, monotonicMs } from './helpers/clock.js';
import {
  assertAllAnswered,
  assertAllSettled,
  assertExecutions,
  backAfterMs,
  summarize,
} from './helpers/outcomes.js';
import { RemoteNode } from './helpers/remote-node.js';

const SERVICE_BACK_MS = 3000;
/** The first probe comes 5 s after TCP took over, the second after 10 s more. */
const QUIC_BACK_MS = 15_000;
const LOAD = { perSecond: 200, timeoutMs: 10_000, replaySafe: 'half' } as const;

test('calls go on over TCP when UDP vanishes, and over QUIC when it is back', async (t) => {
  const n2 = await RemoteNode.start(t, 'n2');
  const n1 = await RemoteNode.start(t, 'n1', { listens: false });
  const proxy = await ChaosProxy.start({ target: n2.target });
  t.teardown(() => proxy.close());
  t.log(`seed ${proxy.seed}`);
  const target = { ...n2.target, ...proxy.address };
  t.is((await n1.connect(target)).transport, 'quic');

  await n1.ask('startLoad', { name: 'vanishing', target, ...LOAD });
  await sleep(1000);
  proxy.change({ udp: { blackHole: true } });
  const vanishedMs = monotonicMs();
  await sleep(SERVICE_BACK_MS + 1000);
  const during = await n1.ask('stopLoad', { name: 'vanishing' });
  const backMs = backAfterMs(during, vanishedMs);
  t.log(`UDP vanishes: ${summarize(during)}; served again after ${backMs?.toFixed(0)} ms`);
  t.true(backMs !== undefined && backMs < SERVICE_BACK_MS, `served again after ${backMs} ms`);
  t.deepEqual([...new Set((await n1.links('n2')).map(({ transport }) => transport))], ['tcp']);
  assertAllSettled(t, during, LOAD.timeoutMs + 1000);
  assertAllAnswered(
    t,
    during.filter(({ isReplaySafe }) => isReplaySafe),
  );

  proxy.change({ udp: { blackHole: false } });
  const healedMs = monotonicMs();
  await n1.ask('startLoad', { name: 'healing', target, ...LOAD });
  const moved = await eventually(async () => {
    const events = await n1.events(healedMs);
    return events.find(({ kind, to }) => kind === 'transportChanged' && to === 'quic');
  }, QUIC_BACK_MS);
  // What was under way on TCP ends there.
  await eventually(async () => (await n1.links('n2')).length === 1 || undefined, 5000);
  const after = await n1.ask('stopLoad', { name: 'healing' });
  const movedMs = moved === undefined ? undefined : moved.atMs - healedMs;
  t.log(`UDP is back: ${summarize(after)}; on QUIC after ${movedMs?.toFixed(0)} ms`);
  t.true(movedMs !== undefined && movedMs < QUIC_BACK_MS, `on QUIC after ${movedMs} ms`);
  t.deepEqual(await n1.links('n2'), [{ transport: 'quic', role: 'dialer' }]);
  assertAllAnswered(t, after);
  assertExecutions(t, [...during, ...after], await n2.executions());
});
