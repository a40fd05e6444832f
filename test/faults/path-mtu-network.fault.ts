/** Paths of the system's own: interfaces with a smaller MTU, and a router that reports it by ICMP, or does not. */
import test from 'ava';
import { runInNamespace } from '../helpers/network/namespace.js';

const BYTES = 5_000_000;

test('calls go over QUIC, and transfers arrive, whatever interfaces and routers on the way carry', async (t) => {
  t.timeout(240_000);
  const script = 'test/helpers/network/narrow-path.ts';
  const options = { commands: ['nft', 'nsenter', 'sysctl'], limitMs: 200_000 };
  const outcome = await runInNamespace(t, script, options);
  if (outcome === undefined) return;
  t.log(JSON.stringify(outcome));
  const usual = { received: BYTES, transport: 'quic', bulk: 'tcp' };
  const once = { quic: 1, tcp: 1, blackHoles: 0 };
  t.like(outcome, {
    wide: { ...usual, datagramBytes: 1452, fragments: 0, dialed: once },
    narrowInterface: { ...usual, datagramBytes: 1232, fragments: 0, dialed: once },
    narrowAndSilent: { ...usual, datagramBytes: 1232, fragments: 0, dialed: once },
    // The bulk connection is lost, and another one carries the rest.
    narrowFromTheMiddleOn: { received: BYTES, transport: 'quic', fragments: 0 },
    // The path is asked for more again after a minute.
    sameFromTheMiddleOn: {
      received: BYTES,
      transport: 'quic',
      datagramBytes: 1200,
      fragments: 0,
      dialed: { quic: 1, blackHoles: 1 },
    },
    // TCP connects, and shows in its handshake that no full segments pass.
    narrowBetween: {
      ...usual,
      bulk: 'quic',
      datagramBytes: 1232,
      fragments: 0,
      dialed: { tcp: 1 },
    },
    // The system cuts what is larger into fragments, once it has the report.
    narrowAndReported: { ...usual, dialed: { quic: 1, tcp: 1 } },
  });
});
