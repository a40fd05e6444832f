/** What has arrived over a socket and waits for its peer's turn, when the socket ends. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { encodeReset } from '../../../src/protocol/control.js';
import { encodeFrame, FrameFlag } from '../../../src/protocol/frame.js';
import type { MuxConnection } from '../../../src/transport/mux/connection.js';
import { TURN_MS } from '../../../src/transport/reading-turns.js';
import { Collector } from '../../helpers/frame-client.js';
import { memoryConnection } from '../../helpers/memory-pair.js';

const ANSWERS = 20;
const CLOSE = {
  control: FrameFlag.reset,
  payload: encodeReset({ code: 'GoingAway', reason: 'bye' }),
};

test('answers that wait for their turn are read, and the reason behind them, though the peer has ended', async (t) => {
  const { connection, peer } = await socketPair(t);
  const answers = await ask(connection, peer);
  peer.end(Buffer.concat([...answersTo(connection), frame(0, CLOSE)]));
  t.like(await connection.closed, { code: 'GoingAway', message: 'bye', side: 'remote' });
  t.is(connection.state.kind, 'closed');
  for (const { ended } of answers) t.is((await ended).toString(), 'answer');
});

test('a connection whose peer ended without a word is lost once all is read', async (t) => {
  const { connection, peer } = await socketPair(t);
  const [unanswered, ...answers] = await ask(connection, peer);
  peer.end(Buffer.concat(answersTo(connection).slice(1)));
  t.like(await connection.closed, { code: 'ConnectionLost' });
  for (const { ended } of answers) t.is((await ended).toString(), 'answer');
  t.like(await unanswered?.reset, { code: 'ConnectionLost' });
});

test('a connection that this side closes before all is read is closed all the same', async (t) => {
  const { connection, peer } = await socketPair(t);
  const answers = await ask(connection, peer, () => void connection.close());
  peer.end(Buffer.concat(answersTo(connection)));
  t.like(await connection.closed, { code: 'NoError', side: 'local' });
  await Promise.all(answers.slice(1).map(({ reset }) => reset));
});

/** Reads for longer than a turn, so that each of a peer's frames has a turn of its own. */
class SlowCollector extends Collector {
  readonly #onRead: () => void;

  constructor(onRead: () => void) {
    super();
    this.#onRead = onRead;
  }

  override onFrame(...parameters: Parameters<Collector['onFrame']>): void {
    super.onFrame(...parameters);
    for (const endMs = performance.now() + 2 * TURN_MS; performance.now() < endMs; );
    this.#onRead();
  }
}

/** Opens streams, and waits until the peer has them. */
async function ask(
  connection: MuxConnection,
  peer: Socket,
  onRead = () => {},
): Promise<readonly Collector[]> {
  const arrived = once(peer, 'data');
  const collectors = Array.from({ length: ANSWERS }, () => {
    const collector = new SlowCollector(onRead);
    connection.openStream(collector).send(Buffer.of(1), { end: true });
    return collector;
  });
  await arrived;
  return collectors;
}

/** Its streams have the odd ids, from 1 on. */
function answersTo(connection: MuxConnection): Buffer[] {
  const payload = Buffer.from('answer');
  return Array.from({ length: connection.openStreams }, (_, i) =>
    frame(2 * i + 1, { control: FrameFlag.end, payload }),
  );
}

function frame(messageId: number, fields: { control: number; payload: Uint8Array }): Buffer {
  return encodeFrame({ messageId, checksum: true, ...fields });
}

/** Real sockets: a pause does not keep them from telling their end. */
async function socketPair(
  t: ExecutionContext,
): Promise<{ connection: MuxConnection; peer: Socket }> {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
  t.teardown(() => server.close());
  await once(server, 'listening');
  const near = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1' });
  const [peer] = (await once(server, 'connection')) as [Socket];
  peer.on('error', () => {});
  t.teardown(() => peer.destroy());
  return { connection: memoryConnection(near, 'dialer'), peer };
}
