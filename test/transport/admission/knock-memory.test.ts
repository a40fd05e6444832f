/** A knock belongs to one address at a time, leads to one connection, and is forgotten with its slot. */
import test from 'ava';
import { KNOCK_SLOT_MS, slotAt } from '../../../src/protocol/knock.js';
import { KnockMemory } from '../../../src/transport/admission/knock-memory.js';

const NOW = 1_000 * KNOCK_SLOT_MS;
const SLOT = slotAt(NOW);

test('a knock stays good at its address, and is no good at another', (t) => {
  const memory = new KnockMemory();
  t.is(memory.claim('knock', SLOT, 'a', NOW), 'good');
  t.is(memory.claim('knock', SLOT, 'b', NOW + 10), 'replayed');
  t.is(memory.claim('knock', SLOT, 'a', NOW + 20), 'good');
  t.is(memory.claim('other', SLOT, 'b', NOW + 20), 'good');
});

test('a NAT may give the dialer another address, as long as there is no connection', (t) => {
  const memory = new KnockMemory();
  memory.claim('knock', SLOT, 'a', NOW);
  t.is(memory.claim('knock', SLOT, 'b', NOW + 1000), 'good');
  t.is(memory.claim('knock', SLOT, 'a', NOW + 1001), 'replayed');
});

test('a knock leads to one connection, from whatever address', (t) => {
  const memory = new KnockMemory();
  memory.claim('knock', SLOT, 'a', NOW);
  memory.spend('knock');
  for (const address of ['a', 'b']) {
    t.is(memory.claim('knock', SLOT, address, NOW + KNOCK_SLOT_MS), 'replayed');
  }
});

test('knocks are forgotten once their slot is no longer good', (t) => {
  const memory = new KnockMemory();
  for (let i = -1; i <= 1; i += 1) memory.claim(`knock ${i}`, SLOT + i, 'a', NOW);
  t.is(memory.size, 3);
  memory.claim('later', SLOT + 2, 'a', NOW + KNOCK_SLOT_MS);
  t.is(memory.size, 3);
  memory.claim('much later', SLOT + 100, 'a', NOW + 100 * KNOCK_SLOT_MS);
  t.is(memory.size, 1);
});

test('a clock that was set back leaves nothing behind for ever', (t) => {
  const memory = new KnockMemory();
  memory.claim('ahead', SLOT, 'a', NOW);
  memory.claim('now', SLOT - 100, 'a', NOW - 100 * KNOCK_SLOT_MS);
  t.is(memory.size, 1);
});

test('a full memory says so, keeps what it has, and has room again in time', (t) => {
  const memory = new KnockMemory(100);
  for (let i = 0; i < 100; i += 1) t.is(memory.claim(`${i}`, SLOT, 'a', NOW), 'good');
  t.is(memory.claim('one more', SLOT, 'a', NOW), 'full');
  t.is(memory.size, 100);
  memory.spend('one more');
  t.is(memory.claim('one more', SLOT, 'a', NOW), 'full');
  t.is(memory.claim('7', SLOT, 'b', NOW), 'replayed');
  const later = NOW + 2 * KNOCK_SLOT_MS;
  t.is(memory.claim('one more', SLOT + 2, 'a', later), 'good');
  t.is(memory.size, 1);
});
