/** Certificates as large as they may be pass on both transports, in both directions. */
import test from 'ava';
import { QuicTransport } from '../../src/transport/quic/transport.js';
import { TcpTransport } from '../../src/transport/tcp/transport.js';
import { MAX_CHAIN_BYTES } from '../../src/transport/trust/chain-size.js';
import { parsePem } from '../../src/transport/trust/pem.js';
import { type NodeCredentials, nodeCert } from '../helpers/certs.js';
import { until } from '../helpers/until.js';

for (const [name, TransportOfName] of [
  ['quic', QuicTransport],
  ['tcp', TcpTransport],
] as const) {
  test(`${name}: certificates of 15 KB pass both ways`, async (t) => {
    const [n1, n2] = [padded(await nodeCert('n1')), padded(await nodeCert('n2'))];
    const listening = new TransportOfName({ tls: () => n2 });
    const dialing = new TransportOfName({ tls: () => n1 });
    t.teardown(() => Promise.all([listening.close(), dialing.close()]));
    let accepted = 0;
    const { address } = await listening.listen({
      host: '127.0.0.1',
      port: 0,
      onConnection: () => {
        accepted += 1;
      },
    });
    const connection = await dialing.dial({ ...address, nodeId: 'n2' });
    t.deepEqual(connection.peerIdentity.nodeIds, ['n2']);
    await until(() => accepted === 1);
  });
}

/** Its own certificate again and again, up to the limit. */
function padded({ cert, ...rest }: NodeCredentials): NodeCredentials {
  const [leaf] = parsePem(cert);
  return { ...rest, cert: cert.repeat(Math.floor(MAX_CHAIN_BYTES / (leaf?.raw.length ?? 1))) };
}
