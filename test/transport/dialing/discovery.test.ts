import test from 'ava';
import fc from 'fast-check';
import {
  type Discovery,
  locate as locateWithin,
  type PeerTarget,
  staticDiscovery,
} from '../../../src/transport/dialing/discovery.js';
import {
  orderServices,
  type ServiceRecord,
  selectServices,
} from '../../../src/transport/dialing/dns-discovery.js';
import { holds, holdsAsync } from '../../protocol/properties.js';

const locate = (target: PeerTarget, discovery: Discovery) =>
  locateWithin(target, discovery, { timeoutMs: 10_000 });

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
  t.like(await t.throwsAsync(locateWithin(name, silent, { timeoutMs: 20 })), {
    code: 'ConnectFailed',
  });
  const numeric = { host: '127.0.0.1', port: 2 };
  t.deepEqual(await locateWithin({ addresses: [name, numeric] }, silent, { timeoutMs: 20 }), [
    numeric,
  ]);
  const cancel = new AbortController();
  const cancelled = locateWithin({ addresses: [name, numeric] }, silent, {
    timeoutMs: 60_000,
    signal: cancel.signal,
  });
  cancel.abort();
  t.like(await t.throwsAsync(cancelled), { code: 'Cancelled' });
});

test('sixteen addresses at a time, turn by turn all of them, whatever a place and how many places there are', async (t) => {
  const places = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 50 });
  await holdsAsync(
    t,
    fc.asyncProperty(places, async (sizes) => {
      const table = Object.fromEntries(
        sizes.map((size, place) => [
          `p${place}`,
          Array.from({ length: size }, (_, i) => ({ host: `10.0.${place}.${i}`, port: 1 })),
        ]),
      );
      const target = { addresses: Object.keys(table).map((host) => ({ host })) };
      const left = new Set(
        Object.values(table)
          .flat()
          .map(({ host }) => host),
      );
      const rounds = Math.ceil(sizes.length / 16);
      // A dial asks sixteen places, and of all their addresses takes sixteen.
      const turns = rounds * Math.ceil((16 * Math.max(...sizes)) / 16);
      for (let turn = 0; turn < turns; turn += 1) {
        const tried = await locateWithin(target, staticDiscovery(table), {
          timeoutMs: 10_000,
          turn,
        });
        if (tried.length === 0 || tried.length > 16) return false;
        for (const { host } of tried) left.delete(host);
      }
      return left.size === 0;
    }),
  );
});

test('of a service with many hosts the first are always looked up, and sooner or later all', (t) => {
  const records = Array.from({ length: 60 }, (_, i) => ({
    name: `h${i}`,
    port: 1,
    priority: i,
    weight: 1,
  }));
  const seen = new Set<ServiceRecord>();
  for (let drawn = 0; drawn < 100; drawn += 1) {
    const chosen = selectServices(records, () => drawn / 100);
    t.deepEqual(chosen.slice(0, 8), records.slice(0, 8));
    t.is(new Set(chosen).size, 16);
    t.deepEqual(
      chosen,
      [...chosen].sort((a, b) => a.priority - b.priority),
    );
    for (const record of chosen) seen.add(record);
  }
  t.is(seen.size, 60);
  t.deepEqual(selectServices(records.slice(0, 12), Math.random), records.slice(0, 12));
});

test('no more than sixteen addresses are tried at once', async (t) => {
  const many = Array.from({ length: 40 }, (_, i) => ({ host: '10.0.0.1', port: 1 + i }));
  t.is((await locate({ host: 'many', port: 1 }, staticDiscovery({ many }))).length, 16);
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
