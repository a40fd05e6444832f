/**
 * What the guard against CVE-2025-7054 stands on: quiche 0.18.0 loops where a connection has two paths, which the packets
 * of `retire-loop.test.ts` show at a node, and never where it has one. Here the binding itself is fed at random.
 */
import test from 'ava';
import { fuzzRetirements } from '../../../helpers/quic/fuzz-retirements.js';

test('random retirements of connection IDs never make the binding loop over one path', async (t) => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  t.log(`seed ${seed}`);
  const result = await fuzzRetirements(t, { seed, connections: 500, ports: 1 }, 40_000);
  t.true(result !== undefined, 'the binding loops');
  // A good part of it is nothing that the binding refuses.
  t.true((result?.closed ?? 0) < 490);
});
