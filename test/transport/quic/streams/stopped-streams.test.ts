/** Whom the binding is asked about, and what is kept of those that are over. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import test from 'ava';
import { NO_HANDLER } from '../../../../src/transport/connection.js';
import { StoppedStreams } from '../../../../src/transport/quic/streams/stopped-streams.js';
import { QuicStream, type StreamIo } from '../../../../src/transport/quic/streams/stream.js';
import { collectGarbage } from '../../../helpers/collect-garbage.js';

function newStream(): QuicStream {
  return new QuicStream({} as StreamIo, 'remote', NO_HANDLER);
}

test('streams are asked about in turns, two with each datagram, wherever others come and go', (t) => {
  const asked: QuicStream[] = [];
  const stopped = new StoppedStreams({ ask: (stream) => asked.push(stream), guard: () => {} });
  const streams = Array.from({ length: 5 }, newStream);
  for (const stream of streams) stopped.add(stream);
  stopped.received();
  stopped.delete(streams[2] as QuicStream);
  stopped.received();
  stopped.received();
  const order = asked.map((stream) => streams.indexOf(stream));
  t.deepEqual(order, [0, 1, 3, 4, 0, 1]);
  stopped.end();
  stopped.received();
  t.is(asked.length, 6);
});

test('a stream that is asked about in its turn may leave, and others with it', (t) => {
  const asked: QuicStream[] = [];
  const streams = Array.from({ length: 4 }, newStream);
  const stopped = new StoppedStreams({
    ask: (stream) => {
      asked.push(stream);
      for (const other of streams.slice(0, 3)) stopped.delete(other);
    },
    guard: () => {},
  });
  for (const stream of streams) stopped.add(stream);
  stopped.received();
  t.deepEqual(asked, [streams[0], streams[3]]);
  stopped.end();
});

test('nothing is kept of streams that are over, however long no datagram comes', async (t) => {
  const stopped = new StoppedStreams({ ask: () => {}, guard: () => {} });
  const references = watchAndForget(stopped);
  await nextTurn();
  collectGarbage();
  t.is(references.filter((reference) => reference.deref() !== undefined).length, 0);
  stopped.end();
});

/** So many that what they stand in is rebuilt as they leave. */
function watchAndForget(stopped: StoppedStreams): WeakRef<QuicStream>[] {
  const streams = Array.from({ length: 200 }, newStream);
  for (const stream of streams) stopped.add(stream);
  stopped.received();
  for (const stream of streams) stopped.delete(stream);
  return streams.map((stream) => new WeakRef(stream));
}
