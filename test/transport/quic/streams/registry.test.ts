/** Which streams have a place on the wire, and what is kept about those that have none yet. */
import test from 'ava';
import { MeshError } from '../../../../src/errors.js';
import type { NativeConnection } from '../../../../src/transport/quic/binding/native.js';
import { StreamRegistry } from '../../../../src/transport/quic/streams/registry.js';
import type { QuicStream } from '../../../../src/transport/quic/streams/stream.js';

test('streams get ids in order, as far as QUIC and the handshake allow', (t) => {
  const registry = newRegistry({ streamsLeft: 3 });
  registry.maxOwnStreams = 2;
  const streams = [own(registry), own(registry), own(registry)] as const;
  t.true(registry.hasRoom);
  t.true(registry.place(streams[0]));
  t.true(registry.place(streams[1]));
  t.false(registry.place(streams[2]));
  t.false(registry.hasRoom);
  t.deepEqual(
    streams.map(({ id }) => id),
    [0, 4, -1],
  );
  t.is(registry.unplacedStreams, 1);
  t.true(registry.remove(streams[0]));
  t.true(registry.place(streams[2]));
  t.is(streams[2].id, 8);
  t.is(registry.everPlaced, 3);
});

test('no more streams wait in line than may, and those that are given up leave it', (t) => {
  const registry = newRegistry({ streamsLeft: 0, maxQueuedStreams: 1 });
  const stream = own(registry);
  registry.wait(stream);
  t.throws(() => registry.addOwn(), { code: 'Overloaded' });
  registry.stopWaiting(stream);
  t.false(registry.remove(stream));
  t.false(registry.hasStreams);
  t.notThrows(() => registry.addOwn());
});

test("what the peer says about its own stream is kept until that comes, and of no other's", (t) => {
  const registry = newRegistry({ streamsLeft: 0 });
  const error = new MeshError('Cancelled', 'gone');
  registry.keepNotice(1, error);
  registry.keepNotice(4, error);
  registry.accept(stream('remote'), 1);
  t.is(registry.takeNotice(1), error);
  t.is(registry.takeNotice(1), undefined);
  t.is(registry.takeNotice(4), undefined);
  registry.keepNotice(1, error);
  t.is(registry.takeNotice(1), undefined);
});

test('notices about streams that are still to come are bounded', (t) => {
  const registry = newRegistry({ streamsLeft: 0 });
  const error = new MeshError('Cancelled', 'gone');
  for (let count = 0; count < 1025; count += 1) registry.keepNotice(1 + 4 * count, error);
  t.is(registry.takeNotice(1 + 4 * 1023), error);
  t.is(registry.takeNotice(1 + 4 * 1024), undefined);
});

/** A dialer's. */
function newRegistry({ streamsLeft = 0, maxQueuedStreams = 10 }): StreamRegistry {
  return new StreamRegistry({
    native: { peerStreamsLeftBidi: () => streamsLeft } as NativeConnection,
    role: 'dialer',
    maxQueuedStreams,
    counters: {
      framesSent: 0,
      framesReceived: 0,
      bytesSent: 0,
      bytesReceived: 0,
      streamsOpened: 0,
      streamsAccepted: 0,
      streamsReset: 0,
    },
  });
}

function own(registry: StreamRegistry): QuicStream {
  registry.addOwn();
  return stream('local');
}

function stream(initiator: 'local' | 'remote'): QuicStream {
  return { id: -1, initiator } as QuicStream;
}
