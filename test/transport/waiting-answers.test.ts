/** Answers that have arrived, and wait for their peer's turn to be read, are not lost with the connection. */
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import type { Frame } from '../../src/protocol/frame.js';
import type { Connection, Transport } from '../../src/transport/connection.js';
import { QuicTransport } from '../../src/transport/quic/transport.js';
import { TcpTransport } from '../../src/transport/tcp/transport.js';
import { nodeCert } from '../helpers/certs.js';
import { Collector } from '../helpers/frame-client.js';
import { until } from '../helpers/until.js';

const STREAMS = 100;
const WORK_MS = 1;

/** Computes for each frame, so that few are read in a turn. */
class BusyCollector extends Collector {
  override onFrame(frame: Frame): void {
    for (const endMs = performance.now() + WORK_MS; performance.now() < endMs; );
    super.onFrame(frame);
  }
}

for (const Kind of [QuicTransport, TcpTransport]) {
  test(`${Kind.name}: answers that wait to be read when their peer closes are read`, async (t) => {
    const [n1, n2] = await Promise.all([nodeCert('n1'), nodeCert('n2')]);
    const dialing: Transport = new Kind({ tls: () => n1 });
    const listening: Transport = new Kind({ tls: () => n2 });
    t.teardown(() => Promise.all([dialing.close(), listening.close()]));
    let acceptor: Connection | undefined;
    let answered = 0;
    const listener = await listening.listen({
      host: '127.0.0.1',
      port: 0,
      onConnection: (connection) => {
        acceptor = connection;
        connection.onStream = (stream) => ({
          onFrame: ({ payload }) => {
            answered += 1;
            stream.send(payload, { end: true });
          },
          onEnd() {},
          onReset() {},
        });
      },
    });
    const dialer = await dialing.dial({ ...listener.address, nodeId: 'n2' });
    const answers = Array.from({ length: STREAMS }, (_, i) => {
      const answer = new BusyCollector();
      dialer.openStream(answer).send(Buffer.from(`${i}`), { end: true });
      return answer;
    });
    await until(() => answered === STREAMS);
    await sleep(5);
    const isWaiting = answers.some(({ payloads }) => payloads.length === 0);
    void acceptor?.close();
    const texts = await Promise.all(answers.map(({ ended }) => ended));
    t.true(isWaiting, 'nothing waited: the test says nothing');
    t.deepEqual(
      texts.map(String),
      answers.map((_, i) => `${i}`),
    );
  });
}
