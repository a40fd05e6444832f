import test from 'ava';
import { PeerErrors } from '../../src/node/peer-errors.js';
import type { PeerIdentity } from '../../src/transport/connection.js';

const peer = (nodeId: string): PeerIdentity => ({
  nodeIds: [nodeId],
  fingerprint256: '00',
  keyFingerprint256: '00',
  validToMs: Number.MAX_SAFE_INTEGER,
  chain: [],
});

test('errors of all connections of a peer count together, and are forgiven with time', (t) => {
  const errors = new PeerErrors(100);
  for (let count = 0; count < 100; count += 1) t.false(errors.noteMessage(peer('n1'), 0));
  t.true(errors.noteMessage(peer('n1'), 0));
  t.true(errors.isOver(peer('n1'), 9));
  t.false(errors.isOver(peer('n1'), 10));
  t.false(errors.isOver(peer('n2'), 0));
});

test('a connection that is closed over an error counts as twenty-five messages', (t) => {
  const errors = new PeerErrors(100);
  for (let count = 0; count < 4; count += 1) errors.noteConnection(peer('n1'), 0);
  t.false(errors.isOver(peer('n1'), 0));
  errors.noteConnection(peer('n1'), 0);
  t.true(errors.isOver(peer('n1'), 249));
  t.false(errors.isOver(peer('n1'), 250));
});
