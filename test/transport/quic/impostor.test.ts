/** Early data counts on a session. Who cannot show that it is the node of the session gets none of it. */
import { randomBytes } from 'node:crypto';
import test from 'ava';
import type { MeshError } from '../../../src/errors.js';
import type { Connection, TlsMaterial } from '../../../src/transport/connection.js';
import { QuicTransport } from '../../../src/transport/quic/transport.js';
import { certNamed, nodeCert, otherCaCert } from '../../helpers/certs.js';
import { Collector } from '../../helpers/frame-client.js';
import { startNode, targetOf } from '../../helpers/nodes.js';
import { shakeHands } from '../../helpers/shake-hands.js';
import { until } from '../../helpers/until.js';

const IMPOSTORS: Record<string, () => Promise<TlsMaterial>> = {
  'a certificate of another CA': async () => ({
    ...(await otherCaCert('n2')),
    ca: (await nodeCert('n1')).ca,
  }),
  'a certificate of another name': () => certNamed('n4'),
};

for (const [title, certificate] of Object.entries(IMPOSTORS)) {
  test(`early data is not sent again to who took the address with ${title}`, async (t) => {
    const n2 = await startNode(t, 'n2', { transports: ['quic'] });
    const target = targetOf(n2);
    const tls = await nodeCert('n1');
    const dialer = new QuicTransport({ tls: () => tls });
    t.teardown(() => dialer.close());
    const first = await shakeHands(await dialer.dial(target));
    await first.close();
    await until(() => n2.peers.length === 0 || n2.peer('n1')?.isConnected === false);
    await n2.close();

    const other = await certificate();
    const impostor = new QuicTransport({ tls: () => other });
    t.teardown(() => impostor.close());
    const received: Collector[] = [];
    const ends: Promise<MeshError>[] = [];
    const refusals: MeshError[] = [];
    await impostor.listen({
      host: target.host,
      port: target.port,
      onConnection: (connection: Connection) => {
        ends.push(connection.closed);
        connection.onStream = () => {
          const collector = new Collector();
          received.push(collector);
          return collector;
        };
      },
      onRefused: ({ error }) => refusals.push(error),
    });
    let wasEarly = false;
    const dialed = dialer.dial(target, {
      onEarly: (connection) => {
        wasEarly = true;
        for (let n = 0; n < 200; n += 1) {
          const stream = connection.openStream(new Collector(), { early: true });
          stream.send(randomBytes(500));
          stream.end();
        }
      },
    });
    const error = await t.throwsAsync(dialed);
    t.true(wasEarly);
    t.like(error, { side: 'local' });
    await until(() => ends.length + refusals.length > 0);
    const told = refusals[0] ?? (await (ends[0] as Promise<MeshError>));
    t.like(told, { code: (error as MeshError).code, side: 'remote' });
    const payloads = received.flatMap((collector) => collector.payloads);
    t.is(payloads.length, 0);
  });
}
