/** Paths of the system's own: interfaces with a smaller MTU, and a router that reports it by ICMP, or does not. */
import test from 'ava';
import { runInNamespace } from '../helpers/network/namespace.js';

const BYTES = 5_000_000;

test('calls and transfers go over QUIC whatever interfaces and routers on the way carry', async (t) => {
  t.timeout(240_000);
  const script = 'test/helpers/network/narrow-path.ts';
  const options = { commands: ['nft', 'nsenter', 'sysctl'], limitMs: 200_000 };
  const outcome = await runInNamespace(t, script, options);
  if (outcome === undefined) return;
  t.log(JSON.stringify(outcome));
  const overQuic = { received: BYTES, transport: 'quic' };
  t.like(outcome, {
    wide: { ...overQuic, datagramBytes: 1452, fragments: 0, dialed: { quic: 1, blackHoles: 0 } },
    narrowInterface: {
      ...overQuic,
      datagramBytes: 1232,
      fragments: 0,
      dialed: { quic: 1, blackHoles: 0 },
    },
    narrowAndSilent: { ...overQuic, datagramBytes: 1232, fragments: 0, dialed: { quic: 1 } },
    // It is asked again after a minute.
    narrowFromTheMiddleOn: {
      ...overQuic,
      datagramBytes: 1200,
      fragments: 0,
      dialed: { quic: 1, blackHoles: 1 },
    },
    // The system cuts what is larger into fragments, once it has the report.
    narrowAndReported: { ...overQuic, dialed: { quic: 1 } },
  });
});
