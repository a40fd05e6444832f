/** When a peer is asked for a proof that it receives, and what goes by its answer. */
import test from 'ava';
import { ReceiptProof } from '../../../../src/transport/quic/guards/receipt-proof.js';

const MIB = 1024 * 1024;
const NONCE = Buffer.alloc(16, 5);
const makeNonce = () => NONCE;

test('a peer is asked after 16 MiB, and gets 64 MiB more until it has answered', (t) => {
  const proof = new ReceiptProof();
  t.is(proof.dueAtBytes, 16 * MIB);
  t.is(proof.limitBytes, Number.POSITIVE_INFINITY);
  t.deepEqual(proof.next(17 * MIB, 1000, makeNonce), { kind: 'ask', nonce: NONCE });
  t.is(proof.limitBytes, 81 * MIB);
  t.is(proof.dueAtBytes, 81 * MIB);
  t.true(proof.arrived(NONCE, 40 * MIB));
  t.is(proof.limitBytes, Number.POSITIVE_INFINITY);
  t.is(proof.dueAtBytes, 56 * MIB);
});

test('who has not answered when all that is used up, and 3 s are over, is overdue', (t) => {
  const proof = new ReceiptProof();
  proof.next(16 * MIB, 1000, makeNonce);
  t.deepEqual(proof.next(80 * MIB, 3999, makeNonce), { kind: 'wait' });
  t.is(proof.limitBytes, 80 * MIB);
  t.deepEqual(proof.next(80 * MIB, 4000, makeNonce), { kind: 'overdue' });
});

test('an answer counts once, and only the one that was asked for', (t) => {
  const proof = new ReceiptProof();
  t.false(proof.arrived(NONCE, 0));
  proof.next(16 * MIB, 0, makeNonce);
  t.false(proof.arrived(Buffer.alloc(16), 20 * MIB));
  t.is(proof.limitBytes, 80 * MIB);
  t.true(proof.arrived(NONCE, 20 * MIB));
  t.false(proof.arrived(NONCE, 30 * MIB));
  t.is(proof.dueAtBytes, 36 * MIB);
});
