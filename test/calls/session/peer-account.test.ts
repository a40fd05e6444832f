/** What one peer may make a node hold: a share for each purpose, and two in all. */
import test from 'ava';
import { NodeAccount, PeerAccount } from '../../../src/calls/session/peer-account.js';

const MIB = 1024 * 1024;
const LIMITS = { connectionBytes: 16 * MIB, peerBytes: 16 * MIB, callsPerPeer: 10 };

test('a peer has a share for each purpose, two in all, and others have theirs', (t) => {
  const node = new NodeAccount({ nodeBytes: 64 * MIB });
  const peer = new PeerAccount(node, LIMITS);
  const [first, second] = [peer.connectionBudgets(), peer.connectionBudgets()];
  first.receive.take(16 * MIB);
  t.false(second.receive.hasRoom);
  t.true(second.unread.hasRoom);
  t.true(second.nestedReceive.hasRoom);
  first.held.take(16 * MIB);
  for (const purpose of ['receive', 'nestedReceive', 'unread', 'held'] as const) {
    t.false(second[purpose].hasRoom, purpose);
  }
  // What this side sends does not depend on what the peer makes it hold.
  for (const purpose of ['send', 'nested', 'chunks'] as const) {
    t.true(second[purpose].hasRoom, purpose);
  }
  const other = new PeerAccount(node, LIMITS).connectionBudgets();
  for (const budget of Object.values(other)) t.true(budget.hasRoom);
  t.is(peer.usedBytes, 32 * MIB);
  first.held.give(MIB);
  t.true(second.unread.hasRoom);
});
