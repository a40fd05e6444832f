import test from 'ava';
import { KnownPeers, MAX_GONE_PEERS } from '../../src/node/known-peers.js';
import { collectGarbage } from '../helpers/collect-garbage.js';
import { until } from '../helpers/until.js';
import { ManualClock } from '../pool/manual-clock.js';

class FakePeer {
  readonly nodeId: string;
  isInUse = true;

  constructor(nodeId: string) {
    this.nodeId = nodeId;
  }
}

function create() {
  const clock = new ManualClock();
  const peers = new KnownPeers<FakePeer>((nodeId) => new FakePeer(nodeId), clock);
  const leave = (peer: FakePeer) => {
    peer.isInUse = false;
    peers.reviewOne(peer.nodeId);
  };
  return { clock, peers, leave };
}

test('a peer that is gone is known for a minute, and one that is in use for ever', async (t) => {
  const { clock, peers, leave } = create();
  const staying = peers.obtain('staying');
  leave(peers.obtain('gone'));
  await clock.advance(59_000);
  t.not(peers.get('gone'), undefined);
  await clock.advance(20_000);
  t.is(peers.get('gone'), undefined);
  await clock.advance(3_600_000);
  t.deepEqual(peers.all, [staying]);
});

test('a peer that comes back in time has its minute again', async (t) => {
  const { clock, peers, leave } = create();
  const peer = peers.obtain('n1');
  leave(peer);
  await clock.advance(50_000);
  t.is(peers.obtain('n1'), peer);
  peer.isInUse = true;
  await clock.advance(50_000);
  leave(peer);
  await clock.advance(50_000);
  t.is(peers.get('n1'), peer);
  await clock.advance(25_000);
  t.is(peers.get('n1'), undefined);
});

test('one that became idle without a word is found, and forgotten too', async (t) => {
  const { clock, peers } = create();
  const peer = peers.obtain('quiet');
  peer.isInUse = false;
  await clock.advance(90_000);
  t.deepEqual(peers.all, []);
  t.is(clock.pending, 0, 'nothing is looked at where there is nobody');
});

test('however many come and go, no more are known than are in use, and a number of those that went last', (t) => {
  const { peers, leave } = create();
  const staying = Array.from({ length: 20 }, (_, i) => peers.obtain(`staying-${i}`));
  for (let i = 0; i < 10_000; i += 1) {
    leave(peers.obtain(`job-${i}`));
    t.true(peers.all.length <= staying.length + MAX_GONE_PEERS);
  }
  t.is(peers.all.length, staying.length + MAX_GONE_PEERS);
  t.true(staying.every((peer) => peers.all.includes(peer)));
  t.not(peers.get('job-9999'), undefined);
  t.is(peers.get('job-0'), undefined);
});

test('one that is forgotten and held is the same when it is back, and leaves nothing when it is not held', async (t) => {
  const { clock, peers, leave } = create();
  const held = peers.obtain('held');
  leave(held);
  for (let i = 0; i < 1000; i += 1) leave(peers.obtain(`job-${i}`));
  await clock.advance(90_000);
  t.deepEqual(peers.all, []);
  t.true(peers.held.includes(held));
  await until(() => {
    collectGarbage();
    return peers.forgottenCount === 1;
  });
  t.deepEqual(peers.held, [held]);
  t.is(peers.obtain('held'), held);
  t.deepEqual(peers.all, [held]);
  t.is(peers.forgottenCount, 0);
});
