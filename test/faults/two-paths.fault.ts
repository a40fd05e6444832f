/** What remains of CVE-2025-7054 for a dialer that has moved: its connection has two paths, and the binding may loop. */
import test from 'ava';
import { fuzzRetirements } from '../helpers/quic/fuzz-retirements.js';

test('over two paths retirements of connection IDs make the binding loop: what remains for a dialer that has moved', async (t) => {
  t.is(await fuzzRetirements(t, { seed: 7, connections: 200, ports: 2 }, 12_000), undefined);
});
