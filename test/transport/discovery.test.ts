import test from 'ava';
import fc from 'fast-check';
import {
  type Discovery,
  locate as locateWithin,
  type PeerTarget,
  staticDiscovery,
} from '../../src/transport/discovery.js';
import { orderServices, type ServiceRecord } from '../../src/transport/dns-discovery.js';
import { holds } from '../protocol/properties.js';

const locate = (target: PeerTarget, discovery: Discovery) =>
  locateWithin(target, discovery, 10_000);

const nowhere: Discovery = {
  resolve: async () => {
    throw new Error('nobody knows');
  },
};

test('numeric addresses need no discovery', async (t) => {
  t.deepEqual(await locate({ host: '127.0.0.1', port: 5 }, nowhere), [
    { host: '127.0.0.1', port: 5 },
  ]);
  const addresses = [
    { host: '::1', port: 6 },
    { host: '127.0.0.1', port: 5 },
  ];
  t.deepEqual(await locate({ nodeId: 'n1', addresses }, nowhere), addresses);
  t.like(await t.throwsAsync(locate({ addresses: [{ host: '::1' }] }, nowhere)), {
    code: 'InvalidArgument',
  });
});

test('addresses keep their order, each comes once, and what cannot be resolved is left out', async (t) => {
  const a = { host: '10.0.0.1', port: 1 };
  const b = { host: '10.0.0.2', port: 2 };
  const discovery: Discovery = {
    resolve: ({ host }) =>
      host === 'gone'
        ? nowhere.resolve({ host })
        : staticDiscovery({ ab: [a, b] }).resolve({ host }),
  };
  const addresses = [b, { host: 'gone' }, { host: 'ab' }, { host: 'unknown' }];
  t.deepEqual(await locate({ addresses }, discovery), [b, a]);
});

test('a name that leads nowhere is ConnectFailed', async (t) => {
  for (const discovery of [nowhere, staticDiscovery({})]) {
    const error = await t.throwsAsync(locate({ host: 'db.example', port: 1 }, discovery));
    t.like(error, { code: 'ConnectFailed', message: 'cannot resolve db.example' });
  }
  t.like(await t.throwsAsync(locate({ addresses: [] }, nowhere)), { code: 'ConnectFailed' });
  // A table has no entries but its own.
  t.like(await t.throwsAsync(locate({ host: 'toString', port: 1 }, staticDiscovery({}))), {
    code: 'ConnectFailed',
  });
});

test('a discovery that never answers holds nobody up for ever, and other addresses serve', async (t) => {
  const silent: Discovery = { resolve: () => new Promise(() => {}) };
  // The process must outlive a timeout that does not keep it alive.
  const alive = setInterval(() => {}, 1000);
  t.teardown(() => clearInterval(alive));
  const name = { host: 'db.example', port: 1 };
  t.like(await t.throwsAsync(locateWithin(name, silent, 20)), { code: 'ConnectFailed' });
  const numeric = { host: '127.0.0.1', port: 2 };
  t.deepEqual(await locateWithin({ addresses: [name, numeric] }, silent, 20), [numeric]);
  const cancel = new AbortController();
  const cancelled = locateWithin({ addresses: [name, numeric] }, silent, 60_000, cancel.signal);
  cancel.abort();
  t.like(await t.throwsAsync(cancelled), { code: 'Cancelled' });
});

test('no more than sixteen addresses are tried', async (t) => {
  const many = Array.from({ length: 40 }, (_, i) => ({ host: '10.0.0.1', port: 1 + i }));
  t.is((await locate({ host: 'many', port: 0 }, staticDiscovery({ many }))).length, 16);
  t.is((await locate({ addresses: many }, nowhere)).length, 16);
});

test('services are ordered by priority, and by weight within one', (t) => {
  const record = fc.record({
    name: fc.string({ minLength: 1, maxLength: 4 }),
    port: fc.nat(65_535),
    priority: fc.nat(3),
    weight: fc.nat(10),
  });
  const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  holds(
    t,
    fc.property(fc.array(record, { maxLength: 20 }), random, (records, drawn) => {
      const ordered = orderServices(records, () => drawn);
      const priorities = ordered.map(({ priority }) => priority);
      return (
        ordered.length === records.length &&
        records.every((one) => ordered.includes(one)) &&
        priorities.every((priority, i) => i === 0 || priority >= (priorities[i - 1] as number))
      );
    }),
  );
  const heavy: ServiceRecord = { name: 'heavy', port: 1, priority: 1, weight: 90 };
  const light: ServiceRecord = { name: 'light', port: 1, priority: 1, weight: 10 };
  const first = Array.from(
    { length: 100 },
    (_, i) => orderServices([light, heavy], () => i / 100)[0],
  );
  t.is(first.filter((one) => one === heavy).length, 90);
});
