import { randomBytes } from 'node:crypto';
import { type Duplex, duplexPair } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import { MeshError, type MeshErrorCode } from '../../../src/errors.js';
import {
  decodeCredit,
  decodeGoAway,
  decodeReset,
  encodeCredit,
  encodeGoAway,
  encodeReset,
} from '../../../src/protocol/control.js';
import {
  Compression,
  encodeFrame,
  type Frame,
  FrameDecoder,
  FrameFlag,
} from '../../../src/protocol/frame.js';
import {
  DEFAULT_STREAM_LIMITS,
  type FrameStream,
  type StreamLimits,
} from '../../../src/transport/connection.js';
import type { MuxConnection } from '../../../src/transport/mux/connection.js';
import { ReceiveWindow, SendCredit } from '../../../src/transport/mux/credit.js';
import {
  type CollectedStream,
  Collector,
  collectStreams,
  echoAcceptor,
  openCollected,
  request,
  thrownBy,
} from '../../helpers/frame-client.js';
import { memoryConnection, memoryPair } from '../../helpers/memory-pair.js';
import { until } from '../../helpers/until.js';

const MIB = 1024 * 1024;
/** Of what is cut: so large, and so many to 1 MiB. */
const PIECE = 64 * 1024;
const PIECES = 16;
const ONE = Buffer.of(1);

// What a peer does wrong, frame by frame, and the code that the connection closes with.

const violations: Record<string, [MeshErrorCode, (peer: RawPeer) => void]> = {
  "a first id that is not the opener's lowest": ['ProtocolViolation', (peer) => peer.data(3, ONE)],
  'an id that skips one': [
    'ProtocolViolation',
    (peer) => {
      peer.data(1, ONE);
      peer.data(5, ONE);
    },
  ],
  "an id of the other side's, never opened there": [
    'ProtocolViolation',
    (peer) => peer.data(2, ONE),
  ],
  'a stream that a reset opens': ['ProtocolViolation', (peer) => peer.reset(1, 'Cancelled')],
  'a stream that a credit opens': ['ProtocolViolation', (peer) => peer.credit(1, 1)],
  'data for the connection itself': ['ProtocolViolation', (peer) => peer.data(0, ONE)],
  'an end for the connection itself': ['ProtocolViolation', (peer) => peer.end(0)],
  'going away in seven bytes': [
    'ProtocolViolation',
    (peer) => peer.frame({ control: FrameFlag.end, messageId: 0, payload: Buffer.alloc(7) }),
  ],
  'going away after 2^53 streams': [
    'ProtocolViolation',
    (peer) =>
      peer.frame({
        control: FrameFlag.end,
        messageId: 0,
        payload: Buffer.from('0020000000000000', 'hex'),
      }),
  ],
  'going away twice': [
    'ProtocolViolation',
    (peer) => {
      peer.goAway(0);
      peer.goAway(0);
    },
  ],
  'going away after fewer streams than were opened': [
    'ProtocolViolation',
    (peer) => {
      peer.data(1, ONE);
      peer.goAway(0);
    },
  ],
  'going away after more streams than were opened': [
    'ProtocolViolation',
    (peer) => {
      peer.data(1, ONE);
      peer.goAway(2);
    },
  ],
  'a stream that is opened after going away': [
    'ProtocolViolation',
    (peer) => {
      peer.data(1, ONE);
      peer.goAway(1);
      peer.data(1, ONE);
      peer.data(3, ONE);
    },
  ],
  'the end of all streams before this side has gone away': [
    'ProtocolViolation',
    (peer) => {
      peer.goAway(0);
      peer.end(0);
    },
  ],
  'data after the end': [
    'ProtocolViolation',
    (peer) => {
      peer.end(1);
      peer.data(1, ONE);
    },
  ],
  'a second end': [
    'ProtocolViolation',
    (peer) => {
      peer.end(1);
      peer.end(1);
    },
  ],
  'a frame that says nothing': ['ProtocolViolation', (peer) => peer.data(1, Buffer.alloc(0))],
  'a reserved flag': [
    'ProtocolViolation',
    (peer) => peer.frame({ control: 0x1000, messageId: 1, payload: ONE }),
  ],
  'two control flags at once': [
    'ProtocolViolation',
    (peer) => peer.frame({ control: FrameFlag.end | FrameFlag.reset, messageId: 1, payload: ONE }),
  ],
  'a frame without the checksum that was agreed': [
    'ProtocolViolation',
    (peer) => peer.frame({ messageId: 1, payload: ONE, checksum: false }),
  ],
  'a checksum that does not match': ['ChecksumMismatch', (peer) => peer.flipLastByte(1, ONE)],
  'a compression that was not agreed': [
    'UnsupportedCompression',
    (peer) => peer.frame({ messageId: 1, payload: ONE, compression: Compression.lz4 }),
  ],
  'another wire version': [
    'VersionUnsupported',
    (peer) => peer.bytes('0000000500020000000000000001'),
  ],
  'a credit of zero': [
    'ProtocolViolation',
    (peer) => peer.frame({ control: FrameFlag.credit, messageId: 0, payload: Buffer.alloc(4) }),
  ],
  'a credit of three bytes': [
    'ProtocolViolation',
    (peer) => peer.frame({ control: FrameFlag.credit, messageId: 0, payload: Buffer.alloc(3) }),
  ],
  'a close without a code': [
    'ProtocolViolation',
    (peer) => peer.frame({ control: FrameFlag.reset, messageId: 0, payload: ONE }),
  ],
  'a frame above the size limit': [
    'FrameTooLarge',
    (peer) => peer.data(1, Buffer.alloc(16 * MIB + 1)),
  ],
  'more on one stream than it has credit for': [
    'FlowControlViolation',
    (peer) => {
      peer.data(1, Buffer.alloc(MIB));
      peer.data(1, ONE);
    },
  ],
  'an end within a message in pieces': [
    'ProtocolViolation',
    (peer) => {
      peer.piece(1, ONE);
      peer.end(1);
    },
  ],
  'a fifth message in pieces at a time': [
    'ProtocolViolation',
    (peer) => {
      for (let id = 1; id <= 9; id += 2) peer.piece(id, ONE);
    },
  ],
  'pieces that are together above the size limit': [
    'FrameTooLarge',
    (peer) => {
      for (let piece = 0; piece < 17; piece += 1) peer.piece(1, Buffer.alloc(MIB - 1));
      peer.data(1, Buffer.alloc(18));
    },
  ],
  'more streams than allowed': [
    'StreamLimitExceeded',
    (peer) => {
      for (let id = 1; id <= 2 * 80 + 1; id += 2) peer.data(id, ONE);
    },
  ],
};

for (const [title, [code, misbehave]] of Object.entries(violations)) {
  test(`${title} closes the connection with ${code}`, async (t) => {
    const { connection, peer } = rawPair(t, { limits: { maxIncomingStreams: 80 } });
    // Readers are paused, so that what they do not read is not granted again.
    const collectors: Collector[] = [];
    connection.onStream = (stream) => {
      stream.pause();
      collectors.push(new Collector());
      return collectors.at(-1) as Collector;
    };
    const own = openCollected(connection);
    misbehave(peer);
    const error = await connection.closed;
    t.like(error, { code, side: 'local' });
    t.is(own.collector.calls.onReset, 1);
    t.true(collectors.every(({ calls }) => calls.onReset === 1));
    t.is((await own.collector.reset).code, code);

    const farewell = (await peer.until(isClose)) as Frame;
    t.is(decodeReset(farewell.payload, 'InternalError').code, code);
    await peer.ended;
  });
}

test('pieces of messages arrive as the messages, whatever comes between', async (t) => {
  const { connection, peer } = rawPair(t);
  const arrivals = collectStreams(connection);
  peer.piece(1, Buffer.from('to'));
  peer.piece(3, Buffer.from('an'));
  peer.data(5, Buffer.from('alone'));
  peer.credit(1, 1);
  peer.piece(1, Buffer.from('ge'));
  peer.data(3, Buffer.from('other'));
  peer.frame({ control: FrameFlag.end, messageId: 1, payload: Buffer.from('ther') });
  const [first, second, third] = [
    await arrivals.next(),
    await arrivals.next(),
    await arrivals.next(),
  ];
  t.is((await first.collector.ended).toString(), 'together');
  t.is(first.collector.payloads.length, 1);
  await until(() => second.collector.payloads.length === 1);
  t.deepEqual(second.collector.payloads.map(String), ['another']);
  t.deepEqual(third.collector.payloads.map(String), ['alone']);
});

test('a message in pieces may be larger than a window, and owes its credit until it is read', async (t) => {
  const { connection, peer } = rawPair(t);
  const arrivals = collectStreams(connection);
  const piece = Buffer.alloc(MIB / 2, 'p');
  peer.piece(1, piece);
  const { stream, collector } = await arrivals.next();
  stream.pause();
  // Of the stream alone: half a window each time.
  for (let count = 1; count <= 5; count += 1) {
    await until(() => peer.frames.filter(isCredit).length === count);
    peer.piece(1, piece);
  }
  peer.data(1, piece);
  await synchronize(connection, peer);
  t.is(peer.frames.filter(isCredit).length, 6);
  t.is(collector.payloads.length, 0);
  stream.resume();
  t.is(collector.payloads[0]?.length, 7 * piece.length);
  await until(() => peer.frames.filter(isCredit).length === 7);
  t.is(decodeCredit((peer.frames.filter(isCredit).at(-1) as Frame).payload), MIB / 2);
});

test('pieces of one message have one compression', async (t) => {
  const { connection, peer } = rawPair(t);
  const limits = { maxMessageBytes: MIB, maxOutgoingStreams: 9, maxIncomingStreams: 9 };
  const compressions = [Compression.none, Compression.lz4];
  connection.applyLimits({ ...limits, checksum: true, compressions });
  const arrivals = collectStreams(connection);
  for (const control of [FrameFlag.more, 0]) {
    peer.frame({ control, messageId: 1, payload: ONE, compression: Compression.lz4 });
  }
  const { collector } = await arrivals.next();
  await until(() => collector.payloads.length === 1);
  t.deepEqual(collector.compressions, [Compression.lz4]);
  peer.frame({ control: FrameFlag.more, messageId: 1, payload: ONE, compression: Compression.lz4 });
  peer.data(1, ONE);
  t.like(await connection.closed, { code: 'ProtocolViolation' });
});

test('a message in pieces that is reset makes room for another', async (t) => {
  const { connection, peer } = rawPair(t);
  const arrivals = collectStreams(connection);
  for (let id = 1; id <= 7; id += 2) peer.piece(id, ONE);
  const { stream } = await arrivals.next();
  stream.reset('Cancelled');
  const second = await arrivals.next();
  peer.reset(3, 'Cancelled');
  await second.collector.reset;
  peer.piece(1, ONE);
  for (const id of [9, 11]) peer.piece(id, ONE);
  for (const id of [9, 11]) peer.data(id, ONE);
  const rest = [arrivals.next(), arrivals.next(), arrivals.next(), arrivals.next()];
  const [, , fifth, sixth] = await Promise.all(rest);
  await until(() => fifth?.collector.bytes.length === 2 && sixth?.collector.bytes.length === 2);
  t.is(connection.state.kind, 'open');
});

test('an overdraft of one frame is allowed', async (t) => {
  const { connection, peer } = rawPair(t);
  const arrivals = collectStreams(connection);
  peer.data(1, Buffer.alloc(MIB - 1));
  peer.data(1, Buffer.alloc(3 * MIB));
  peer.end(1);
  t.is((await (await arrivals.next()).collector.ended).length, 4 * MIB - 1);
});

test('credit is granted once 128 KiB of a stream were read, or half a window has arrived in all', async (t) => {
  const step = 128 * 1024;
  const { connection, peer } = rawPair(t);
  const arrivals = collectStreams(connection);
  peer.data(1, Buffer.alloc(step - 1));
  const { stream } = await arrivals.next();
  peer.data(1, ONE);
  const grant = await peer.until(isCredit);
  t.is(grant.messageId, 1);
  t.is(decodeCredit(grant.payload), step);
  stream.pause();
  peer.data(1, Buffer.alloc(8 * MIB - step));
  // Paused: the stream's is granted when it is read, and not before. Other streams have nothing to do with that.
  await synchronize(connection, peer);
  t.is(peer.frames.filter(isCredit).length, 2);
  stream.resume();
  await until(() => peer.frames.filter(isCredit).length === 3);
  const grants = peer.frames.filter(isCredit).slice(1);
  t.deepEqual(
    grants.map((frame) => [frame.messageId, decodeCredit(frame.payload)]),
    [
      [0, 8 * MIB],
      [1, 8 * MIB - step],
    ],
  );
});

test('the stream whose reader has been slow for the longest is given up when too much is held', async (t) => {
  const { connection, peer } = rawPair(t, { limits: { maxConnectionWindowBytes: 3 * MIB - 100 } });
  const arrivals = collectStreams(connection);
  const slow: CollectedStream[] = [];
  for (let id = 1; id <= 7; id += 2) {
    peer.data(id, ONE);
    slow.push(await arrivals.next());
    slow.at(-1)?.stream.pause();
  }
  // The first has nothing to read: the one that holds some for the longest is the second.
  for (const id of [3, 5]) peer.data(id, Buffer.alloc(MIB - 1));
  peer.data(7, Buffer.alloc(MIB - 200));
  await synchronize(connection, peer);
  t.true(slow.every(({ collector }) => collector.calls.onReset === 0));
  peer.data(7, Buffer.alloc(150));
  t.like(await slow[1]?.collector.reset, { code: 'Overloaded', side: 'local' });
  const reset = await peer.until(({ flags }) => (flags & FrameFlag.reset) !== 0);
  t.is(reset.messageId, 3);
  // What it held is gone, and there is room again.
  peer.data(9, Buffer.alloc(MIB - 20));
  const last = await arrivals.next();
  await until(() => last.collector.payloads.length === 1);
  for (const { stream } of slow) stream.resume();
  t.is(slow[2]?.collector.bytes.length, MIB);
  t.is(slow[3]?.collector.bytes.length, MIB - 49);
  t.is(connection.state.kind, 'open');
});

test('a stream that its peer has ended is granted nothing more', async (t) => {
  const { connection, peer } = rawPair(t);
  const arrivals = collectStreams(connection);
  peer.frame({ control: FrameFlag.end, messageId: 1, payload: Buffer.alloc(MIB) });
  await (await arrivals.next()).collector.ended;
  await synchronize(connection, peer);
  t.false(peer.frames.some(isCredit));
});

test('windows above the initial ones are granted at once', async (t) => {
  const limits = { streamWindowBytes: 3 * MIB, connectionWindowBytes: 64 * MIB };
  const { connection, peer } = rawPair(t, { limits });
  const forConnection = await peer.until(isCredit);
  t.is(forConnection.messageId, 0);
  t.is(decodeCredit(forConnection.payload), 48 * MIB);

  openCollected(connection).stream.send(ONE);
  await until(() => peer.frames.length === 3);
  t.like(peer.frames[1], { messageId: 2, payload: ONE });
  t.is(peer.frames[2]?.messageId, 2);
  t.is(decodeCredit(peer.frames[2]?.payload as Buffer), 2 * MIB);

  echoAcceptor(connection);
  peer.data(1, ONE);
  await until(() => peer.frames.length === 5);
  t.is(peer.frames[3]?.messageId, 1);
  t.is(decodeCredit(peer.frames[3]?.payload as Buffer), 2 * MIB);
});

test('a sender without credit sends nothing but ends, resets and credit', async (t) => {
  const { connection, peer } = rawPair(t);
  const streams = Array.from({ length: 18 }, () => openCollected(connection));
  const [first, second, ...others] = streams.map(({ stream }) => stream);
  // Sixteen times a stream's whole window: the connection's.
  for (const stream of others) stream.send(Buffer.alloc(MIB));
  await until(() => peer.frames.length === 16 * PIECES);
  first?.send(ONE);
  second?.end();
  others[0]?.reset('Cancelled');
  await until(() => peer.frames.length === 16 * PIECES + 2);
  const [end, reset] = [FrameFlag.end, FrameFlag.reset].map((flag) =>
    peer.frames.filter((frame) => (frame.flags & flag) !== 0),
  );
  t.is(reset?.length, 1);
  t.is(end?.length, 1);
  t.is(first?.messageId, 0);
  peer.credit(0, 1);
  await until(() => first?.messageId !== 0);
});

test('a large message goes in pieces, between which others get their turn', async (t) => {
  const { connection, peer } = rawPair(t);
  const large = openCollected(connection).stream;
  const [head, tail] = [randomBytes(1000), randomBytes(MIB - 1000)];
  large.send(head, { tail, end: true });
  tail.fill(0);
  openCollected(connection, { priority: 'control' }).stream.send(ONE);
  await until(() => peer.frames.length === PIECES + 1);
  const pieces = peer.frames.filter(({ messageId }) => messageId === 2);
  t.deepEqual(
    pieces.map(({ flags }) => flags & (FrameFlag.more | FrameFlag.end)),
    [...Array<number>(PIECES - 1).fill(FrameFlag.more), FrameFlag.end],
  );
  const payload = Buffer.concat(pieces.map((piece) => piece.payload));
  t.is(payload.length, MIB);
  t.deepEqual(payload.subarray(0, 1000), head);
  // What had not left was copied: the caller may write to it again.
  t.false(payload.subarray(1000).equals(tail));
  t.true(peer.frames.findIndex(({ messageId }) => messageId === 4) < PIECES);
});

test('large messages of a class go one after the other, those of others beside them', async (t) => {
  const { connection, peer } = rawPair(t);
  const classes = ['normal', 'normal', 'bulk', 'high', 'bulk'] as const;
  const streams = classes.map((priority) => openCollected(connection, { priority }).stream);
  for (const stream of streams) stream.send(Buffer.alloc(MIB / 2));
  await until(() => peer.frames.length === (classes.length * PIECES) / 2);
  const ids = peer.frames.map(({ messageId }) => messageId);
  for (const priority of ['normal', 'bulk']) {
    const [one, other] = streams.filter((_, index) => classes[index] === priority);
    const [first, second] = [one?.messageId as number, other?.messageId as number];
    t.true(ids.lastIndexOf(first) < ids.indexOf(second), priority);
  }
  // The first was alone when it began; what is more urgent did not wait for its end.
  t.true(ids.indexOf(streams[3]?.messageId as number) < ids.lastIndexOf(2));
});

for (const window of [1, 16]) {
  test(`bulk data beside other calls goes on with a peer that grants at half of ${window} MiB`, async (t) => {
    const { connection, peer } = rawPair(t);
    const windowBytes = window * MIB;
    if (window > 1) peer.credit(0, 16 * windowBytes);
    let last: FrameStream | undefined;
    const call = () => {
      if (last !== undefined && last.messageId > 0) peer.end(last.messageId);
      last = openCollected(connection).stream;
      last.send(ONE, { end: true });
    };
    call();
    const busy = setInterval(call, 5);
    t.teardown(() => clearInterval(busy));
    const { stream, collector } = openCollected(connection, { priority: 'bulk' });
    const total = 4 * windowBytes;
    const sending = (async () => {
      for (let sent = 0; sent < total; sent += PIECE) {
        if (!stream.send(Buffer.alloc(PIECE))) await collector.drained();
      }
    })();
    await until(() => peer.frames.some(({ messageId }) => messageId === stream.messageId));
    const { messageId } = stream;
    if (window > 1) peer.credit(messageId, windowBytes - MIB);
    let granted = 0;
    const arrived = () =>
      peer.frames.reduce(
        (sum, frame) => sum + (frame.messageId === messageId ? frame.payload.length : 0),
        0,
      );
    while (granted < total) {
      await until(() => arrived() - granted >= windowBytes / 2);
      // The connection's as well.
      peer.credit(0, windowBytes / 2);
      peer.credit(messageId, windowBytes / 2);
      granted += windowBytes / 2;
    }
    await sending;
    t.is(arrived(), total);
  });
}

test('a stream without credit waits alone, and goes on where it stopped', async (t) => {
  const { connection, peer } = rawPair(t);
  const { stream, collector } = openCollected(connection);
  stream.send(Buffer.alloc(MIB));
  await until(() => peer.frames.length === PIECES);
  t.is(collector.calls.onDrain, 1, 'the socket had to drain first');
  t.true(stream.send(Buffer.from('second')));
  t.false(stream.send(Buffer.alloc(MIB)));
  stream.end();
  openCollected(connection).stream.send(Buffer.from('other'));
  await peer.until((frame) => frame.messageId === 4);
  t.is(peer.frames.length, PIECES + 1);
  peer.credit(2, 6);
  await peer.until((frame) => frame.payload.toString() === 'second');
  t.is(collector.calls.onDrain, 1);
  peer.credit(2, MIB);
  const last = await peer.until((frame) => (frame.flags & FrameFlag.end) !== 0);
  t.is(last.payload.length, PIECE, 'the end travels with the last piece that waits');
  t.is(collector.calls.onDrain, 2);
});

test('streams take turns, frame by frame', async (t) => {
  const { connection, peer } = rawPair(t);
  const streams = [1, 2, 3].map(() => openCollected(connection).stream);
  const filler = openCollected(connection).stream;
  // Takes the socket's room, so that all others have to wait.
  filler.send(Buffer.alloc(MIB - 1));
  for (const stream of streams) {
    for (let i = 0; i < 3; i += 1) stream.send(Buffer.of(i));
  }
  const own = () => peer.frames.filter(({ messageId }) => messageId !== filler.messageId);
  await until(() => own().length === 9);
  t.deepEqual(
    own().map(({ messageId, payload }) => [messageId, payload[0]]),
    [0, 1, 2].flatMap((i) => [4, 6, 8].map((id) => [id, i])),
  );
});

test('send throws Overloaded when its answer is not heeded', async (t) => {
  const limits = { maxMessageBytes: MIB, sendHighWaterBytes: 1024 };
  const { connection } = rawPair(t, { limits });
  const { stream } = openCollected(connection);
  const error = thrownBy(() => {
    for (let i = 0; i < 100; i += 1) stream.send(Buffer.alloc(64 * 1024));
  });
  t.is(error.code, 'Overloaded');
  t.is(connection.state.kind, 'open');
});

test('payloads that the peer would close the connection over are refused', (t) => {
  const { connection } = rawPair(t, { limits: { maxMessageBytes: 1000 } });
  const { stream } = openCollected(connection);
  t.is(thrownBy(() => stream.send(Buffer.alloc(1001))).code, 'MessageTooLarge');
  t.is(thrownBy(() => stream.send(Buffer.alloc(0))).code, 'InvalidArgument');
  t.true(stream.send(Buffer.alloc(1000)));
});

test('frames for a stream that is over are dropped, and their credit is returned', async (t) => {
  const { connection, peer } = rawPair(t);
  const arrivals = collectStreams(connection);
  peer.data(1, ONE);
  const { stream, collector } = await arrivals.next();
  stream.reset('Cancelled');
  for (let i = 0; i < 8; i += 1) peer.data(1, Buffer.alloc(MIB));
  peer.credit(1, 1);
  peer.reset(1, 'Cancelled');
  const grant = await peer.until(isCredit);
  t.is(grant.messageId, 0);
  t.is(decodeCredit(grant.payload), 8 * MIB + 1);
  await synchronize(connection, peer);
  t.is(connection.counters.lateFrames, 10);
  t.is(collector.payloads.length, 1);
  t.is(connection.state.kind, 'open');
});

test('what a reset stream held unread is returned to the connection', async (t) => {
  const { connection, peer } = rawPair(t);
  const arrivals = collectStreams(connection);
  peer.data(1, ONE);
  const { stream } = await arrivals.next();
  stream.pause();
  peer.data(1, Buffer.alloc(9 * MIB));
  await synchronize(connection, peer);
  stream.reset('Cancelled');
  const grant = await peer.until(isCredit);
  t.deepEqual([grant.messageId, decodeCredit(grant.payload)], [0, 9 * MIB + 1]);
});

test('what a paused reader has not taken is delivered after the connection is over', async (t) => {
  const { connection, peer } = rawPair(t);
  const arrivals = collectStreams(connection);
  peer.data(1, ONE);
  const { stream, collector } = await arrivals.next();
  stream.pause();
  stream.end();
  peer.frame({ control: FrameFlag.end, messageId: 1, payload: Buffer.of(2) });
  await synchronize(connection, peer);
  await connection.close();
  t.is(collector.payloads.length, 1);
  stream.resume();
  t.deepEqual(await collector.ended, Buffer.of(1, 2));
  t.is(collector.calls.onReset, 0);
});

test('a handler may pause and resume from within a frame', async (t) => {
  const { connection, peer } = rawPair(t);
  const seen: number[] = [];
  const ended = new Promise<void>((resolve) => {
    connection.onStream = (stream) => ({
      onFrame({ payload }) {
        stream.pause();
        stream.resume();
        seen.push(payload[0] as number);
        if (payload[0] === 1) stream.pause();
      },
      onEnd: resolve,
      onReset() {},
    });
    for (const i of [0, 1]) peer.data(1, Buffer.of(i));
  });
  await until(() => seen.length === 2);
  t.deepEqual(seen, [0, 1]);
  peer.reset(1, 'Cancelled');
  await Promise.race([ended, synchronize(connection, peer)]);
  t.deepEqual(seen, [0, 1]);
});

test('a stream may be reset by the one who takes it, before it has read a byte', async (t) => {
  const { connection, peer } = rawPair(t);
  const collector = new Collector();
  connection.onStream = (stream) => {
    stream.reset('NoHandler');
    return collector;
  };
  peer.data(1, ONE);
  peer.data(3, ONE);
  await until(() => peer.frames.length === 2);
  t.true(peer.frames.every((frame) => (frame.flags & FrameFlag.reset) !== 0));
  t.is(collector.payloads.length, 0);
  t.is(connection.state.kind, 'open');
});

test('a handler that throws closes its connection, and the text stays here', async (t) => {
  const { connection, peer } = rawPair(t);
  connection.onStream = () => ({
    onFrame() {
      throw new TypeError('secret');
    },
    onEnd() {},
    onReset() {},
  });
  peer.data(1, ONE);
  const error = await connection.closed;
  t.like(error, { code: 'InternalError', message: 'secret' });
  const farewell = await peer.until(isClose);
  t.like(decodeReset(farewell.payload, 'NoError'), {
    code: 'InternalError',
    reason: 'internal error',
  });
});

test('resets and closes of a later version have a code that this one knows', async (t) => {
  const { connection, peer } = rawPair(t);
  const arrivals = collectStreams(connection);
  const unknown = Buffer.from([0, 0, 0x7f, 0x7f]);
  peer.data(1, ONE);
  const { collector } = await arrivals.next();
  peer.frame({ control: FrameFlag.reset, messageId: 1, payload: unknown });
  t.like(await collector.reset, { code: 'StreamReset', side: 'remote' });
  peer.frame({ control: FrameFlag.reset, messageId: 0, payload: unknown });
  t.like(await connection.closed, { code: 'ConnectionClosed', side: 'remote' });
});

test('a close is answered with the end of the stream and not with a close', async (t) => {
  const { connection, peer } = rawPair(t);
  peer.reset(0, 'GoingAway', 'bye');
  await peer.ended;
  t.is(peer.frames.length, 0);
  peer.duplex.end();
  t.like(await connection.closed, { code: 'GoingAway', message: 'bye', side: 'remote' });
});

test('a closing side waits for the peer to end, but not for ever', async (t) => {
  const { connection, peer } = rawPair(t, { lingers: true });
  const before = performance.now();
  void connection.close();
  await peer.ended;
  peer.data(1, Buffer.alloc(MIB));
  t.is(connection.state.kind, 'closing');
  await until(() => connection.state.kind === 'closed');
  t.true(performance.now() - before >= 950);
});

test('going away is told behind the first frames of streams that were opened before', async (t) => {
  const { connection, peer } = rawPair(t);
  const first = openCollected(connection).stream;
  const second = openCollected(connection).stream;
  let told = 0;
  connection.onGoAway = () => {
    told += 1;
  };
  first.send(ONE);
  peer.goAway(0);
  await until(() => told === 1);
  t.true(connection.isGoingAway);
  t.false(peer.frames.some(isEndOfConnection));
  second.send(ONE, { end: true });
  await peer.until(isEndOfConnection);
  t.deepEqual(
    peer.frames.map(({ messageId }) => messageId),
    [2, 4, 0],
  );
  t.is(decodeGoAway(peer.frames[2]?.payload as Buffer), 2);
  first.reset('Cancelled');
  peer.end(4);
  await until(() => peer.frames.length === 5);
  t.like(peer.frames[3], { messageId: 2 });
  t.true(isEndOfConnection(peer.frames[4] as Frame));
  t.is(peer.frames[4]?.payload.length, 0);

  let isDrained = false;
  const drained = connection.drained.then(() => {
    isDrained = true;
  });
  peer.credit(0, 1);
  await new Promise((resolve) => setTimeout(resolve, 20));
  t.false(isDrained, 'what was sent may not have arrived yet');
  peer.end(0);
  await drained;
  t.is(connection.state.kind, 'open');
});

test('a connection that goes away and is lost is drained', async (t) => {
  const [near] = duplexPair();
  const connection = memoryConnection(near, 'acceptor');
  openCollected(connection);
  connection.goAway();
  const { drained } = connection;
  near.destroy();
  await drained;
  await connection.drained;
  t.is((await connection.closed).code, 'ConnectionLost');
});

test('a failure ends the connection although the peer neither reads nor ends', async (t) => {
  const [near, far] = duplexPair();
  const connection = memoryConnection(near, 'acceptor');
  const peer = new RawPeer(far, { reads: false, lingers: true });
  t.teardown(() => peer.duplex.destroy());
  const { stream, collector } = openCollected(connection);
  stream.send(Buffer.alloc(MIB));
  const error = new MeshError('IdleTimeout', 'nothing was heard');
  connection.fail(error);
  t.is(await collector.reset, error);
  t.is(await connection.closed, error);
  t.is(connection.state.kind, 'closed');
});

test('bytes count as signs of life before they make a frame', async (t) => {
  const { connection, peer } = rawPair(t);
  const before = connection.lastReceivedMs;
  await new Promise((resolve) => setTimeout(resolve, 5));
  peer.duplex.write(encode({}).subarray(0, 3));
  await until(() => connection.lastReceivedMs > before);
  t.is(connection.counters.framesReceived, 0);
});

for (const [title, cut] of [
  ['half a frame and then the end', (peer) => peer.duplex.end(encode({}).subarray(0, 9))],
  ['the end without a close', (peer) => peer.duplex.end()],
] as [string, (peer: RawPeer) => void][]) {
  test(`${title} is a lost connection`, async (t) => {
    const { connection, peer } = rawPair(t);
    const { collector } = openCollected(connection);
    cut(peer);
    t.is((await collector.reset).code, 'ConnectionLost');
    t.is((await connection.closed).code, 'ConnectionLost');
    t.is(collector.calls.onReset, 1);
  });
}

test('a socket that fails is a lost connection, with the cause', async (t) => {
  const [near] = duplexPair();
  const connection = memoryConnection(near, 'acceptor');
  const { collector } = openCollected(connection);
  const cause = new Error('broken');
  near.destroy(cause);
  t.like(await collector.reset, { code: 'ConnectionLost', cause });
  t.is(await connection.closed, await collector.reset);
});

test('a peer that provokes resets and does not read them is Overloaded', async (t) => {
  const [near, far] = duplexPair();
  const connection = memoryConnection(near, 'acceptor');
  connection.onStream = (stream) => {
    stream.reset('NoHandler', 'x'.repeat(200));
    return new Collector();
  };
  const peer = new RawPeer(far, { reads: false });
  for (let id = 1; connection.state.kind === 'open' && id < 40_000; id += 2) {
    peer.data(id, ONE);
    if (id % 1000 === 1) await new Promise(setImmediate);
  }
  await until(() => connection.state.kind === 'closed');
  t.is((await connection.closed).code, 'Overloaded');
});

test('limits that a handshake agreed on come into force', async (t) => {
  const { connection, peer } = rawPair(t);
  const streams = Array.from({ length: 3 }, () => openCollected(connection).stream);
  const agreed = {
    maxMessageBytes: 10,
    maxIncomingStreams: 1,
    checksum: false,
    compressions: [Compression.none],
  };
  connection.applyLimits({ ...agreed, maxOutgoingStreams: 4 });
  const waiting = [openCollected(connection).stream, openCollected(connection).stream];
  for (const stream of [...waiting, ...streams]) stream.send(ONE);
  await until(() => peer.frames.length === 4);
  t.is(waiting[1]?.messageId, 0, 'the fifth waits');
  t.true(peer.frames.every((frame) => (frame.flags & FrameFlag.checksum) === 0));
  streams[0]?.reset('Cancelled');
  await until(() => waiting[1]?.messageId === 10);

  peer.frame({ messageId: 1, payload: ONE, checksum: false });
  peer.data(1, Buffer.alloc(11));
  t.is((await connection.closed).code, 'FrameTooLarge');
});

test('a limit that is raised lets waiting streams go', async (t) => {
  const { connection, peer } = rawPair(t);
  const limits = { ...DEFAULT_STREAM_LIMITS, checksum: true, compressions: [Compression.none] };
  connection.applyLimits({ ...limits, maxOutgoingStreams: 1 });
  for (let i = 0; i < 5; i += 1) openCollected(connection).stream.send(Buffer.of(i));
  await peer.until(({ messageId }) => messageId === 2);
  connection.applyLimits({ ...limits, maxOutgoingStreams: 3 });
  await peer.until(({ messageId }) => messageId === 6);
  t.is(peer.frames.length, 3);
});

test('frames of one turn are written in one go', async (t) => {
  const [near, far] = duplexPair();
  let writes = 0;
  near._writev = (chunks, callback) => {
    writes += 1;
    for (const { chunk } of chunks) far.push(chunk);
    callback();
  };
  near._write = (chunk, _encoding, callback) => {
    writes += 1;
    far.push(chunk);
    callback();
  };
  const dialer = memoryConnection(near, 'dialer');
  const acceptor = memoryConnection(far, 'acceptor');
  t.teardown(() => Promise.all([dialer.close(), acceptor.close()]));
  echoAcceptor(acceptor);
  await Promise.all([1, 2, 3, 4, 5].map((i) => request(dialer, Buffer.of(i))));
  t.is(writes, 1);
});

test('held frames do not keep the memory that they came in', async (t) => {
  const { connection, peer } = rawPair(t);
  const kept: Frame[] = [];
  const arrived = new Promise<FrameStream>((resolve) => {
    connection.onStream = (stream) => {
      stream.pause();
      resolve(stream);
      return { onFrame: (frame) => kept.push(frame), onEnd() {}, onReset() {} };
    };
  });
  const small = encode({ messageId: 1, payload: ONE });
  peer.duplex.write(Buffer.concat([small, encode({ messageId: 3, payload: Buffer.alloc(MIB) })]));
  (await arrived).resume();
  await until(() => kept.length === 1);
  t.true((kept[0]?.payload.buffer.byteLength as number) < MIB / 4);
});

test('paused readers hold a bounded number of frames', async (t) => {
  const { connection, peer } = rawPair(t);
  const collectors: Collector[] = [];
  connection.onStream = (stream) => {
    stream.pause();
    collectors.push(new Collector());
    return collectors.at(-1) as Collector;
  };
  const frames = Buffer.concat(Array.from({ length: 4096 }, () => encode({ messageId: 1 })));
  for (let i = 0; i < 65; i += 1) peer.duplex.write(frames);
  await until(() => collectors[0]?.calls.onReset === 1);
  t.like(await collectors[0]?.reset, { code: 'Overloaded', side: 'local' });
  t.is(connection.state.kind, 'open');
  t.like(await peer.until((frame) => (frame.flags & FrameFlag.reset) !== 0), { messageId: 1 });
});

test('random frames never get through to the process', async (t) => {
  const seed = randomBytes(4).readUInt32BE();
  t.log(`seed ${seed}`);
  const random = mulberry32(seed);
  const pick = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)] as T;
  for (let round = 0; round < 300; round += 1) {
    const { connection, peer } = rawPair(t, { limits: { maxIncomingStreams: 8 } });
    connection.onStream = (stream) => {
      if (random() < 0.2) stream.pause();
      if (random() < 0.1) stream.reset('NoHandler');
      return new Collector();
    };
    let nextId = 1;
    for (let i = 0; i < 60; i += 1) {
      if (random() < 0.3) nextId += 2;
      const control = pick([0, 0, 0, 0x100, 0x200, 0x400, pick([0x300, 0x800, 0x20])]);
      const messageId = random() < 0.9 ? nextId : pick([0, 1, 2, 3, nextId + 2, 2 ** 40]);
      const payload = Buffer.alloc(pick([0, 1, 4, 4, 5, 300]), Math.floor(random() * 256));
      const bytes = encode({ control, messageId, payload });
      if (random() < 0.02) bytes[pick([0, 1, 3, 4, 5, 9, 13])]! ^= 1 << pick([0, 3, 7]);
      peer.duplex.write(bytes);
    }
    if (random() < 0.5) peer.reset(0, 'NoError');
    peer.duplex.end();
    t.true((await connection.closed) instanceof MeshError, `seed ${seed}, round ${round}`);
  }
});

test('a connection survives the ends of both sides at once', async (t) => {
  const { dialer, acceptor } = await memoryPair();
  await Promise.all([dialer.close('GoingAway', 'a'), acceptor.close('InternalError', 'b')]);
  t.like(await dialer.closed, { code: 'GoingAway', side: 'local' });
  t.like(await acceptor.closed, { code: 'InternalError', side: 'local' });
});

test('credit above 2^53-1 is a violation, and leaves the account as it was', (t) => {
  const credit = new SendCredit(Number.MAX_SAFE_INTEGER - 1);
  credit.grant(1);
  t.is(thrownBy(() => credit.grant(1)).code, 'FlowControlViolation');
  credit.spend(Number.MAX_SAFE_INTEGER);
  t.true(credit.isExhausted);
});

test('a window above 4 GiB is granted in as many frames as it takes', (t) => {
  const window = new ReceiveWindow(MIB, 2 ** 33);
  t.is(window.takeOpeningGrant(), 2 ** 32 - 1);
  t.is(window.takeGrant() + window.takeGrant(), 0);
  window.consume(MIB);
  t.is(window.takeGrant(), 2 ** 32 - 1);
});

interface RawPeerOptions {
  readonly reads?: boolean;
  /** Whether it keeps its side open after the connection has ended. */
  readonly lingers?: boolean;
}

/** The other end of a connection, by hand. */
class RawPeer {
  readonly duplex: Duplex;
  readonly frames: Frame[] = [];
  /** The connection has ended its side. */
  readonly ended: Promise<void>;
  readonly #decoder = new FrameDecoder({ requireChecksum: false });

  constructor(duplex: Duplex, { reads = true, lingers = false }: RawPeerOptions = {}) {
    this.duplex = duplex;
    this.ended = new Promise((resolve) => duplex.once('end', resolve));
    duplex.on('error', () => {});
    if (!lingers) duplex.once('end', () => duplex.end());
    if (reads) duplex.on('data', (chunk: Buffer) => this.#receive(chunk));
  }

  frame(fields: Partial<Parameters<typeof encodeFrame>[0]>): void {
    this.duplex.write(encode(fields));
  }

  data(messageId: number, payload: Buffer): void {
    this.frame({ messageId, payload });
  }

  /** A part of a message, with more to come. */
  piece(messageId: number, payload: Buffer): void {
    this.frame({ control: FrameFlag.more, messageId, payload });
  }

  end(messageId: number): void {
    this.frame({ control: FrameFlag.end, messageId, payload: Buffer.alloc(0) });
  }

  goAway(streams: number): void {
    const payload = encodeGoAway(streams);
    this.frame({ control: FrameFlag.end, messageId: 0, payload });
  }

  reset(messageId: number, code: MeshErrorCode, reason = ''): void {
    const payload = encodeReset({ code, reason });
    this.frame({ control: FrameFlag.reset, messageId, payload });
  }

  credit(messageId: number, bytes: number): void {
    this.frame({ control: FrameFlag.credit, messageId, payload: encodeCredit(bytes) });
  }

  flipLastByte(messageId: number, payload: Buffer): void {
    const bytes = encode({ messageId, payload });
    bytes[bytes.length - 1]! ^= 1;
    this.duplex.write(bytes);
  }

  bytes(hex: string): void {
    this.duplex.write(Buffer.from(hex, 'hex'));
  }

  /** The first frame, received or to come, that is so. */
  async until(condition: (frame: Frame) => boolean): Promise<Frame> {
    await until(() => this.frames.some(condition));
    return this.frames.find(condition) as Frame;
  }

  #receive(chunk: Buffer): void {
    this.#decoder.push(chunk);
    for (let frame = this.#decoder.next(); frame; frame = this.#decoder.next()) {
      this.frames.push(frame);
    }
  }
}

/** A connection (the acceptor) and a peer (the dialer) that may do anything. */
function rawPair(
  t: ExecutionContext,
  { limits, ...options }: RawPeerOptions & { limits?: Partial<StreamLimits> } = {},
): { connection: MuxConnection; peer: RawPeer } {
  const [near, far] = duplexPair();
  const connection = memoryConnection(near, 'acceptor', limits);
  const peer = new RawPeer(far, options);
  t.teardown(() => {
    far.end();
    return connection.close();
  });
  return { connection, peer };
}

/** Returns when the connection has read all that the peer has written so far. */
async function synchronize(connection: MuxConnection, peer: RawPeer): Promise<void> {
  const { stream, collector } = openCollected(connection);
  stream.send(ONE, { end: true });
  await until(() => stream.messageId > 0);
  peer.end(stream.messageId);
  await collector.ended;
}

function encode(fields: Partial<Parameters<typeof encodeFrame>[0]>): Buffer {
  return encodeFrame({ messageId: 1, payload: ONE, checksum: true, ...fields });
}

function isCredit(frame: Frame): boolean {
  return (frame.flags & FrameFlag.credit) !== 0;
}

function isEndOfConnection(frame: Frame): boolean {
  return frame.messageId === 0 && (frame.flags & FrameFlag.end) !== 0;
}

function isClose(frame: Frame): boolean {
  return frame.messageId === 0 && (frame.flags & FrameFlag.reset) !== 0;
}

/** A small generator with a seed: a failing round can be run again. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
