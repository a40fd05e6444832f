/** Where an accepted connection's datagrams go while its peer's address changes, honestly or not. */
import test from 'ava';
import { PeerAddress } from '../../../../src/transport/quic/paths/peer-address.js';

const HOME = { host: '10.0.0.1', port: 1 };
const AWAY = { host: '10.0.0.1', port: 2 };
const ELSEWHERE = { host: '10.0.0.9', port: 3 };

test('an address that the nonce comes back from is the peer’s from then on', (t) => {
  const peer = new PeerAddress(HOME);
  t.deepEqual(peer.current, HOME);
  t.true(peer.mayFollowTo(AWAY, 0));
  const nonce = peer.follow(AWAY, 100, 0, counted());
  t.deepEqual(peer.current, AWAY);
  t.deepEqual(peer.proven, HOME);
  t.true(peer.isOnTrial);
  t.is(peer.prove(Buffer.alloc(16)), undefined);
  t.deepEqual(peer.prove(nonce as Buffer), { from: HOME, to: AWAY });
  t.false(peer.isOnTrial);
  t.deepEqual(peer.proven, AWAY);
  t.is(peer.prove(nonce as Buffer), undefined);
});

test('an address that is not proved is sent three times what came from it', (t) => {
  const peer = new PeerAddress(HOME);
  t.is(peer.credit, Number.POSITIVE_INFINITY);
  peer.received(50);
  const nonce = peer.follow(AWAY, 100, 0, counted());
  t.is(peer.credit, 300);
  peer.sent(250);
  peer.received(10);
  t.is(peer.credit, 80);
  peer.prove(nonce as Buffer);
  t.is(peer.credit, Number.POSITIVE_INFINITY);
});

test('a datagram from the proved address ends the trial of another, and its nonce is worth nothing', (t) => {
  const peer = new PeerAddress(HOME);
  const makeNonce = counted();
  const first = peer.follow(AWAY, 100, 0, makeNonce) as Buffer;
  t.is(peer.follow(HOME, 100, 0, makeNonce), undefined);
  t.deepEqual(peer.current, HOME);
  t.is(peer.prove(first), undefined);
  const second = peer.follow(AWAY, 100, 0, makeNonce) as Buffer;
  t.notDeepEqual(first, second);
  t.is(peer.prove(first), undefined);
  t.truthy(peer.prove(second));
});

test('an address that is not proved in time is left for the one that was', (t) => {
  const peer = new PeerAddress(HOME);
  const nonce = peer.follow(AWAY, 100, 1000, counted()) as Buffer;
  t.is(peer.expire(3999), undefined);
  t.deepEqual(peer.expire(4000), AWAY);
  t.deepEqual(peer.current, HOME);
  t.is(peer.prove(nonce), undefined);
  t.is(peer.expire(9000), undefined);
});

test('trials are rate limited; the way back is always open', (t) => {
  const peer = new PeerAddress(HOME);
  let trials = 0;
  while (peer.mayFollowTo(ELSEWHERE, 0) && trials < 100) {
    peer.follow({ ...ELSEWHERE, port: trials }, 100, 0, counted());
    trials += 1;
  }
  t.is(trials, 16);
  t.true(peer.mayFollowTo(HOME, 0));
  t.false(peer.mayFollowTo(ELSEWHERE, 200));
  t.true(peer.mayFollowTo(ELSEWHERE, 250));
});

/** Nonces that are all different. */
function counted(): () => Buffer {
  let count = 0;
  return () => {
    count += 1;
    return Buffer.alloc(16, count);
  };
}
