import test from 'ava';
import {
  chainKey,
  type VerifiedChain,
  VerifiedChains,
} from '../../../src/transport/trust/verified-chains.js';

function chainOf(nodeId: string): VerifiedChain {
  const identity = {
    nodeIds: [nodeId],
    fingerprint256: nodeId,
    keyFingerprint256: nodeId,
    validToMs: 1,
    chain: [],
  };
  return { identity, validities: {} };
}

test('so many chains are kept, those that were asked for last', (t) => {
  const chains = new VerifiedChains();
  for (let at = 0; at < 128; at += 1) chains.put(`${at}`, chainOf(`${at}`));
  t.deepEqual(chains.get('0')?.identity.nodeIds, ['0']);
  chains.put('new', chainOf('new'));
  t.is(chains.get('1'), undefined);
  for (const kept of ['0', '2', '127', 'new']) t.truthy(chains.get(kept), kept);
});

test('a key belongs to one chain, cut up as it is', (t) => {
  const bytes = (...values: number[]) => Uint8Array.from(values);
  const chains = [
    [bytes(1, 2, 3)],
    [bytes(1, 2), bytes(3)],
    [bytes(1), bytes(2, 3)],
    [bytes(3), bytes(1, 2)],
    [bytes(1, 2, 3), bytes()],
    [bytes(1, 2)],
    [],
  ];
  t.is(new Set(chains.map(chainKey)).size, chains.length);
  t.is(chainKey([bytes(1, 2), bytes(3)]), chainKey([Buffer.from([1, 2]), Buffer.from([3])]));
});
