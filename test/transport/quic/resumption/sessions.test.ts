import test from 'ava';
import { MemorySessionStore } from '../../../../src/transport/quic/resumption/sessions.js';

const LATER = Number.MAX_SAFE_INTEGER;

test('a session is taken once, the newest first', (t) => {
  const store = new MemorySessionStore();
  for (const id of [1, 2, 3]) store.put('peer', Buffer.of(id), LATER);
  t.is(store.size, 3);
  for (const id of [3, 2, 1]) t.deepEqual(store.take('peer'), Buffer.of(id));
  t.is(store.take('peer'), undefined);
  t.is(store.take('another'), undefined);
  t.is(store.size, 0);
});

test('a session that has expired is gone, and with it those before', (t) => {
  const store = new MemorySessionStore();
  store.put('peer', Buffer.of(1), Date.now() - 2);
  store.put('peer', Buffer.of(2), Date.now() - 1);
  t.is(store.take('peer'), undefined);
  t.is(store.size, 0);
});

test('so many sessions of a peer are kept, and those of so many peers', (t) => {
  const store = new MemorySessionStore({ maxPeers: 3, maxPerPeer: 2 });
  for (const id of [1, 2, 3]) store.put('a', Buffer.of(id), LATER);
  t.is(store.size, 2);
  for (const peer of ['b', 'c']) store.put(peer, Buffer.of(0), LATER);
  // Met again, so that b is the one met longest ago.
  store.put('a', Buffer.of(4), LATER);
  store.put('d', Buffer.of(0), LATER);
  t.is(store.take('b'), undefined);
  t.deepEqual([store.take('a'), store.take('a')], [Buffer.of(4), Buffer.of(3)]);
  t.truthy(store.take('c'));
  t.truthy(store.take('d'));
});
