/** Knocks: the vectors, and what must not pass whatever it is. */
import test from 'ava';
import fc from 'fast-check';
import {
  createKnock,
  KNOCK_BYTES,
  KNOCK_RANDOM_BYTES,
  KNOCK_SLOT_MS,
  knockKeyOfCa,
  knockKeyOfSecret,
  slotAt,
  verifyKnock,
} from '../../src/protocol/knock.js';
import { holds } from './properties.js';
import { type KnockFile, type KnockKeySource, readVectors } from './vectors.js';

const { vectors, certificates } = readVectors('knocks.json') as KnockFile;

function keyOf(source: KnockKeySource, cluster: string): Buffer {
  if ('secret' in source) return knockKeyOfSecret(source.secret, cluster);
  return knockKeyOfCa(Buffer.from(certificates[source.ca] as string, 'hex'), cluster);
}

for (const vector of vectors) {
  const { name, hex, random, madeAtMs, isAltered = false, dialer, listener, expect } = vector;
  test(`knocks.json: ${name}`, (t) => {
    const { transport, cluster, nodeId } = dialer;
    const target = { transport, nodeId: nodeId ?? undefined };
    const key = keyOf(dialer.key, cluster);
    const made = createKnock(key, target, madeAtMs, Buffer.from(random, 'hex'));
    if (isAltered) t.not(made.toString('hex'), hex);
    else t.is(made.toString('hex'), hex);
    const keys = listener.keys.map((source) => keyOf(source, listener.cluster));
    const who = { transport: listener.transport, nodeIds: [listener.nodeId], keys };
    const slot = verifyKnock(Buffer.from(hex, 'hex'), who, listener.nowMs);
    t.is(slot, 'slot' in expect ? expect.slot : undefined);
  });
}

test('there are vectors of both outcomes, both kinds of keys and both transports', (t) => {
  t.true(vectors.filter(({ expect }) => 'slot' in expect).length >= 12);
  t.true(vectors.filter(({ expect }) => 'refused' in expect).length >= 12);
  for (const kind of ['ca', 'secret']) t.true(vectors.some(({ dialer }) => kind in dialer.key));
  for (const transport of ['quic', 'tcp']) {
    t.true(vectors.some(({ dialer }) => dialer.transport === transport));
  }
});

const CLUSTER = 'demo';
const KEYS = ['one', 'two', 'three'].map((secret) => knockKeyOfSecret(secret, CLUSTER));
const LISTENER = { transport: 'quic', nodeIds: ['n2', 'n2.example'], keys: KEYS } as const;

const nowMs = fc.integer({ min: 0, max: 2 ** 43 });
const random = fc
  .uint8Array({ minLength: KNOCK_RANDOM_BYTES, maxLength: KNOCK_RANDOM_BYTES })
  .map((bytes) => Buffer.from(bytes));
const key = fc.constantFrom(...KEYS);
const nodeId = fc.constantFrom(undefined, 'n2', 'N2', 'n2.example');

test('a knock is good for a slot before and after its own, by any key and name of the listener', (t) => {
  const skewMs = fc.integer({ min: -KNOCK_SLOT_MS, max: KNOCK_SLOT_MS });
  const property = fc.property(nowMs, skewMs, random, key, nodeId, (now, skew, bytes, by, name) => {
    const knock = createKnock(by, { transport: 'quic', nodeId: name }, now, bytes);
    const seenAt = Math.max(0, now + skew);
    return knock.length === KNOCK_BYTES && verifyKnock(knock, LISTENER, seenAt) === slotAt(now);
  });
  holds(t, property);
});

test('a knock is no good two slots away', (t) => {
  const slots = fc.integer({ min: 2, max: 1000 });
  const property = fc.property(nowMs, slots, random, key, (now, away, bytes, by) => {
    const knock = createKnock(by, { transport: 'quic', nodeId: 'n2' }, now, bytes);
    return verifyKnock(knock, LISTENER, now + away * KNOCK_SLOT_MS) === undefined;
  });
  holds(t, property);
});

test('a knock with any bit flipped is no good', (t) => {
  const bit = fc.integer({ min: 0, max: 8 * KNOCK_BYTES - 1 });
  const property = fc.property(nowMs, random, key, nodeId, bit, (now, bytes, by, name, at) => {
    const knock = createKnock(by, { transport: 'quic', nodeId: name }, now, bytes);
    knock[at >> 3] = (knock[at >> 3] as number) ^ (1 << (at & 7));
    return verifyKnock(knock, LISTENER, now) === undefined;
  });
  holds(t, property);
});

test('bytes without a key are no knock', (t) => {
  const bytes = fc.uint8Array({ maxLength: 2 * KNOCK_BYTES });
  const property = fc.property(nowMs, bytes, (now, knock) => {
    return verifyKnock(knock, LISTENER, now) === undefined;
  });
  holds(t, property, 1000);
});

test('a knock needs all its random bytes', (t) => {
  const target = { transport: 'quic', nodeId: undefined } as const;
  for (const bytes of [0, 7, 9]) {
    t.throws(() => createKnock(KEYS[0] as Buffer, target, 0, Buffer.alloc(bytes)), {
      code: 'InvalidArgument',
    });
  }
});
