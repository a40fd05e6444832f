/** Which transports bulk connections are dialed by, after failures. */
import test from 'ava';
import type { NodeOptions } from '../../src/index.js';
import { BulkRoutes } from '../../src/node/bulk-routes.js';
import { resolveOptions } from '../../src/node/options/resolve.js';
import { nodeCert } from '../helpers/certs.js';

const MINUTE_MS = 60_000;

async function routes(options: Partial<NodeOptions> = {}): Promise<BulkRoutes> {
  const tls = await nodeCert('n1');
  return new BulkRoutes(resolveOptions({ nodeId: 'n1', cluster: 'test', tls, ...options }));
}

test('TCP comes first, where the node may choose', async (t) => {
  t.deepEqual((await routes()).to('n2', 0), ['tcp', 'quic']);
  t.deepEqual((await routes({ transports: ['quic'] })).to('n2', 0), ['quic']);
  for (const transport of ['tcp', 'quic'] as const) {
    t.deepEqual((await routes({ bulk: { transport } })).to('n2', 0), [transport]);
  }
  t.deepEqual((await routes({ quic: { required: true } })).to('n2', 0), ['quic']);
});

test('what failed is avoided to that peer, for twice as long each time, up to half an hour', async (t) => {
  const tried = await routes();
  let nowMs = 0;
  for (const avoidedMs of [0.5, 1, 2, 4, 8, 16, 30, 30].map((minutes) => minutes * MINUTE_MS)) {
    tried.failed('n2', 'tcp', nowMs);
    t.deepEqual(tried.to('n2', nowMs), ['quic']);
    t.deepEqual(tried.to('n3', nowMs), ['tcp', 'quic']);
    t.deepEqual(tried.to('n2', nowMs + avoidedMs - 1), ['quic']);
    nowMs += avoidedMs;
    t.deepEqual(tried.to('n2', nowMs), ['tcp', 'quic']);
  }
  tried.failed('n2', 'tcp', nowMs);
  tried.failed('n2', 'quic', nowMs);
  t.deepEqual(tried.to('n2', nowMs), []);
});

test('one that has served is as good as new', async (t) => {
  const tried = await routes();
  for (let i = 0; i < 5; i += 1) tried.failed('n2', 'tcp', 0);
  tried.served('n2', 'tcp');
  t.deepEqual(tried.to('n2', 0), ['tcp', 'quic']);
  tried.failed('n2', 'tcp', 0);
  t.deepEqual(tried.to('n2', MINUTE_MS / 2), ['tcp', 'quic']);
});

test('of thousands of peers it remembers those that failed last', async (t) => {
  const tried = await routes();
  for (let i = 0; i < 5000; i += 1) tried.failed(`n${i}`, 'tcp', 0);
  const avoided = Array.from({ length: 5000 }, (_, i) => tried.to(`n${i}`, 0).length === 1);
  t.is(avoided.filter(Boolean).length, 1024);
  t.true(avoided[4999]);
  t.false(avoided[0]);
});
