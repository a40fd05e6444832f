/** What every connection has to do, whatever carries it. Run unchanged on memory, TCP and QUIC. */
import { createHash, randomBytes } from 'node:crypto';
import type { ExecutionContext, TestFn } from 'ava';
import { ByteBudget } from '../../src/base/byte-budget.js';
import type { MeshError } from '../../src/errors.js';
import { MessageCodec } from '../../src/protocol/codec.js';
import { Compression } from '../../src/protocol/frame.js';
import type { HandshakeConfig } from '../../src/protocol/handshake.js';
import { ReplayGuard } from '../../src/protocol/replay-guard.js';
import {
  type Connection,
  DEFAULT_STREAM_LIMITS,
  type FrameStream,
  type FrameStreamHandler,
  type StreamLimits,
} from '../../src/transport/connection.js';
import { awaitHandshake, dialHandshake } from '../../src/transport/dialing/handshaker.js';
import {
  type CollectedStream,
  Collector,
  collectStreams,
  echoAcceptor,
  openCollected,
  request,
  sendAll,
  thrownBy,
} from '../helpers/frame-client.js';
import { until } from '../helpers/until.js';
import { goingAwayBehaviours } from './going-away.js';

/** A connection's two ends: n1 has dialed n2. */
export interface ConnectionPair {
  readonly dialer: Connection;
  readonly acceptor: Connection;
  /** Closes both and all that was made for them. */
  close(): Promise<void>;
}

export interface PairOptions {
  /** Of both ends. */
  readonly limits?: Partial<StreamLimits>;
}

/** Registers the suite's tests under a transport's name. No handshake runs on the pairs: the suite agrees for it. */
export function connectionSuite(
  test: TestFn,
  name: string,
  makePair: (options: PairOptions) => Promise<ConnectionPair>,
): void {
  const behaviour = (
    title: string,
    run: (t: ExecutionContext, pair: ConnectionPair) => Promise<void>,
    limits: Partial<StreamLimits> = {},
  ) => {
    test(`${name}: ${title}`, async (t) => {
      t.timeout(60_000);
      const pair = await makePair({ limits });
      t.teardown(() => pair.close());
      agree(pair, limits);
      await run(t, pair);
    });
  };

  goingAwayBehaviours(behaviour);

  test(`${name}: frames sent behind the handshake request wait for its acceptance`, async (t) => {
    t.timeout(60_000);
    const pair = await makePair({});
    t.teardown(() => pair.close());
    const { dialer, acceptor } = pair;
    const order: string[] = [];
    const options = { codec: new MessageCodec(), timeoutMs: 30_000 };
    const dialed = dialHandshake(dialer, {
      ...options,
      config: handshakeConfig('n1'),
      accepted: () => {
        order.push('dialer accepted');
        stream.resume();
        return echo;
      },
    });
    // In the same turn, and so behind the request on the wire.
    const { stream, collector } = openCollected(dialer);
    stream.pause();
    stream.send(Buffer.from('early'), { end: true });
    void collector.ended.then(() => order.push('answer'));
    await awaitHandshake(acceptor, {
      ...options,
      config: handshakeConfig('n2'),
      replayGuard: new ReplayGuard(),
      accepted: () => {
        order.push('acceptor accepted');
        return (accepted) => {
          order.push('call');
          return echo(accepted);
        };
      },
    });
    await dialed;
    t.is((await collector.ended).toString(), 'early');
    t.deepEqual(
      order.filter((step) => step !== 'dialer accepted'),
      ['acceptor accepted', 'call', 'answer'],
    );
    // Without checksums and with compression, as agreed: on streams opened before, too.
    t.deepEqual(collector.compressions, [Compression.lz4]);
  });

  behaviour(
    'what unsent bytes are taken from gets them back, however the stream ends',
    async (t, pair) => {
      const { dialer, acceptor } = pair;
      const account = new ByteBudget(1);
      const piece = new Uint8Array(64 * 1024);
      const ends = ['sent', 'reset here', 'reset there', 'with the connection'] as const;
      const readers: FrameStream[] = [];
      acceptor.onStream = (stream) => {
        stream.pause();
        readers.push(stream);
        return new Collector();
      };
      const streams = ends.map(() => {
        const { stream, collector } = openCollected(dialer);
        stream.account = account;
        // 3 MiB, of which the peer's window takes one.
        for (let sent = 0; sent < 48; sent += 1) stream.send(piece);
        return { stream, collector };
      });
      await until(() => readers.length === ends.length);
      t.true(account.usedBytes > 0);
      const [sent, resetHere, resetThere] = streams as [
        CollectedStream,
        CollectedStream,
        CollectedStream,
      ];
      // They need not arrive in the order in which they were opened.
      const readerOf = ({ stream: { messageId } }: CollectedStream) =>
        readers.find((reader) => reader.messageId === messageId);
      resetHere.stream.reset('Cancelled');
      readerOf(resetThere)?.reset('Cancelled');
      await resetThere.collector.reset;
      const drained = sent.collector.drained();
      readerOf(sent)?.resume();
      await drained;
      await dialer.close();
      t.is(account.usedBytes, 0);
    },
  );

  behaviour(
    'bytes that wait for a reader are taken from the account, and without room the stream is given up',
    async (t, { dialer, acceptor }) => {
      const account = new ByteBudget(256 * 1024);
      acceptor.account = account;
      acceptor.onStream = (stream) => {
        stream.pause();
        return new Collector();
      };
      const { stream, collector } = openCollected(dialer);
      // Less than the peer's window.
      for (let sent = 0; sent < 14; sent += 1) stream.send(new Uint8Array(64 * 1024));
      t.is((await collector.reset).code, 'Overloaded');
      await acceptor.close();
      t.is(account.usedBytes, 0);
    },
  );

  behaviour('both ends know who the other is', async (t, { dialer, acceptor }) => {
    t.is(dialer.state.kind, 'open');
    t.is(acceptor.state.kind, 'open');
    t.is(dialer.role, 'dialer');
    t.is(acceptor.role, 'acceptor');
    t.is(dialer.transport, acceptor.transport);
    t.true(dialer.peerIdentity.nodeIds.includes('n2'));
    t.true(acceptor.peerIdentity.nodeIds.includes('n1'));
    t.is(dialer.remoteAddress.port, acceptor.localAddress.port);
    t.is(acceptor.remoteAddress.port, dialer.localAddress.port);
  });

  behaviour('a request is answered on its stream', async (t, { dialer, acceptor }) => {
    echoAcceptor(acceptor);
    t.deepEqual(await request(dialer, Buffer.from('ping')), Buffer.from('ping'));
    t.is(dialer.counters.streamsOpened, 1);
    t.is(acceptor.counters.streamsAccepted, 1);
  });

  behaviour('ids count from 1 for the dialer and from 2 for the acceptor', async (t, pair) => {
    for (const [opener, other, ids] of [
      [pair.dialer, pair.acceptor, [1, 3, 5]],
      [pair.acceptor, pair.dialer, [2, 4, 6]],
    ] as const) {
      const arrivals = collectStreams(other);
      const first = openCollected(opener).stream;
      const second = openCollected(opener).stream;
      const third = openCollected(opener).stream;
      t.is(first.messageId, 0);
      t.is(first.initiator, 'local');
      // Ids are given in the order in which streams reach the wire.
      for (const stream of [second, first, third]) stream.send(Buffer.of(1));
      const seen: FrameStream[] = [];
      for (let i = 0; i < 3; i += 1) seen.push((await arrivals.next()).stream);
      t.deepEqual(
        seen.map(({ messageId }) => messageId),
        ids,
      );
      t.deepEqual([second.messageId, first.messageId, third.messageId], ids);
      t.is(seen[0]?.initiator, 'remote');
    }
  });

  behaviour(
    'a stream that waits for the stream limit has sent nothing, and says so',
    async (t, { dialer, acceptor }) => {
      const arrivals = collectStreams(acceptor);
      const [first, second, third, fourth] = Array.from({ length: 4 }, () => openCollected(dialer));
      t.false(first?.stream.hasSent);
      for (const opened of [first, second, third, fourth]) opened?.stream.send(Buffer.of(1));
      const arrived = [await arrivals.next(), await arrivals.next()];
      t.deepEqual(
        [first, second, third, fourth].map((opened) => opened?.stream.hasSent),
        [true, true, false, false],
      );
      third?.stream.reset('Cancelled');
      t.false(third?.stream.hasSent);
      t.false(arrived[0]?.stream.hasSent);
      arrived[0]?.stream.send(Buffer.of(1), { end: true });
      t.true(arrived[0]?.stream.hasSent);
      first?.stream.end();
      await arrivals.next();
      t.true(fourth?.stream.hasSent);
    },
    { maxIncomingStreams: 2 },
  );

  behaviour(
    'what has not left can be taken back, and the stream keeps its place in line',
    async (t, { dialer, acceptor }) => {
      const arrivals = collectStreams(acceptor);
      const [first, second, third, fourth] = Array.from({ length: 4 }, () =>
        openCollected(dialer),
      ) as [CollectedStream, CollectedStream, CollectedStream, CollectedStream];
      first.stream.send(Buffer.from('first'));
      first.stream.unsend();
      second.stream.send(Buffer.from('second'), { end: true });
      third.stream.send(Buffer.from('wrong'), { end: true });
      fourth.stream.send(Buffer.from('fourth'), { end: true });
      third.stream.unsend();
      t.false(third.stream.hasSent);
      third.stream.send(Buffer.from('right'), { end: true });
      first.stream.end();
      const seen: string[] = [];
      for (let i = 0; i < 4; i += 1) {
        const { stream, collector } = await arrivals.next();
        seen.push((await collector.ended).toString());
        stream.end();
      }
      t.deepEqual(seen, ['first', 'second', 'right', 'fourth']);
    },
    { maxIncomingStreams: 2 },
  );

  behaviour(
    'a stream behind the window of its connection has sent nothing, and says so',
    async (t, { dialer, acceptor }) => {
      const opened = Array.from({ length: 12 }, () => openCollected(dialer));
      // The acceptor takes no stream yet, and so reads nothing.
      for (const { stream } of opened) stream.send(Buffer.alloc(60_000), { end: true });
      const last = opened.at(-1)?.stream;
      t.false(last?.hasSent);
      echoAcceptor(acceptor);
      await Promise.all(opened.map(({ collector }) => collector.ended));
      t.true(last?.hasSent);
    },
    { connectionWindowBytes: 256 * 1024 },
  );

  behaviour('200 requests at once, both ways, each get their own answer', async (t, pair) => {
    echoAcceptor(pair.acceptor);
    echoAcceptor(pair.dialer);
    const requests = Array.from({ length: 200 }, (_, i) => {
      const payload = Buffer.concat([Buffer.from(`request ${i} `), randomBytes(i * 7)]);
      const connection = i % 2 === 0 ? pair.dialer : pair.acceptor;
      return { payload, reply: request(connection, payload) };
    });
    for (const { payload, reply } of requests) t.deepEqual(await reply, payload);
  });

  behaviour('a stream may carry frames one way only', async (t, pair) => {
    for (const [from, to] of bothWays(pair)) {
      const arrivals = collectStreams(to);
      const { stream, collector } = openCollected(from);
      stream.send(Buffer.from('log entry'), { end: true });
      const arrived = await arrivals.next();
      t.is((await arrived.collector.ended).toString(), 'log entry');
      arrived.stream.end();
      t.is((await collector.ended).length, 0);
      t.is(collector.payloads.length, 0);
      t.is(collector.calls.onEnd, 1);
    }
  });

  behaviour('frames keep their borders, their order and their compression', async (t, pair) => {
    const arrivals = collectStreams(pair.acceptor);
    const { stream } = openCollected(pair.dialer);
    stream.send(Buffer.from('a'));
    stream.send(Buffer.from('bc'), { compression: Compression.lz4 });
    stream.send(Buffer.from('def'), { compression: Compression.zstd, end: true });
    const { collector } = await arrivals.next();
    await collector.ended;
    t.deepEqual(collector.payloads.map(String), ['a', 'bc', 'def']);
    t.deepEqual(collector.compressions, [0, 1, 2]);
  });

  behaviour('after one side has ended, the other can still send', async (t, pair) => {
    const arrivals = collectStreams(pair.acceptor);
    const { stream, collector } = openCollected(pair.dialer);
    stream.send(Buffer.from('question'));
    stream.end();
    t.is(thrownBy(() => stream.send(Buffer.of(1))).code, 'InvalidArgument');
    const arrived = await arrivals.next();
    await arrived.collector.ended;
    for (const word of ['one', 'two']) {
      arrived.stream.send(Buffer.from(word));
      await until(() => collector.payloads.some((payload) => payload.toString() === word));
    }
    arrived.stream.send(Buffer.from('three'), { end: true });
    t.is((await collector.ended).toString(), 'onetwothree');
  });

  behaviour('5 MiB travel in one frame, both ways', async (t, pair) => {
    const payload = randomBytes(5 * 1024 * 1024);
    for (const [from, to] of bothWays(pair)) {
      echoAcceptor(to);
      t.is(sha256(await request(from, payload)), sha256(payload));
    }
  });

  behaviour('5 MiB travel as 80 frames, both ways, as fast as there is room', async (t, pair) => {
    const payload = randomBytes(5 * 1024 * 1024);
    for (const [from, to] of bothWays(pair)) {
      const arrivals = collectStreams(to);
      const sender = openCollected(from);
      const sent = sendAll(sender, chunksOf(payload, 64 * 1024));
      const { stream, collector } = await arrivals.next();
      t.is(sha256(await collector.ended), sha256(payload));
      t.is(collector.payloads.length, 80);
      await sent;
      t.true(sender.collector.calls.onDrain > 0, 'send has never answered false');
      stream.end();
      await sender.collector.ended;
    }
  });

  behaviour('one cancelled stream of 50 leaves the others alone', async (t, pair) => {
    const arrivals = collectStreams(pair.acceptor);
    const clients = Array.from({ length: 50 }, () => openCollected(pair.dialer));
    for (const [i, { stream }] of clients.entries()) stream.send(Buffer.of(i), { end: true });
    const servers = [];
    for (let i = 0; i < clients.length; i += 1) servers.push(await arrivals.next());
    await Promise.all(servers.map(({ collector }) => collector.ended));

    clients[20]?.stream.reset('Cancelled', 'no longer needed');
    const cancelled = servers.find(({ collector }) => collector.bytes[0] === 20);
    const error = await cancelled?.collector.reset;
    assertRemote(t, error, 'Cancelled', 'no longer needed');

    for (const server of servers) {
      if (server !== cancelled) server.stream.send(server.collector.bytes, { end: true });
    }
    for (const [i, { collector }] of clients.entries()) {
      if (i === 20) continue;
      t.deepEqual(await collector.ended, Buffer.of(i));
    }
    t.is(clients[20]?.collector.calls.onReset, 0, "one's own reset is not told to one");
    t.is(cancelled?.collector.calls.onReset, 1);
    t.is(thrownBy(() => clients[20]?.stream.send(Buffer.of(1))).code, 'StreamReset');
  });

  behaviour('the acceptor can reset a stream, and says why', async (t, { dialer, acceptor }) => {
    const arrivals = collectStreams(acceptor);
    const { stream, collector } = openCollected(dialer);
    stream.send(Buffer.of(1));
    const arrived = await arrivals.next();
    arrived.stream.reset('NoHandler', 'nothing serves this');
    assertRemote(t, await collector.reset, 'NoHandler', 'nothing serves this');
    t.is(thrownBy(() => stream.send(Buffer.of(1))).code, 'StreamReset');
    stream.reset('Cancelled');
    stream.end();
    t.is(collector.calls.onReset, 1);
    await until(() => dialer.openStreams === 0);
  });

  behaviour('a stream given up before its first frame is nothing to the peer', async (t, pair) => {
    for (const [from, to] of bothWays(pair)) {
      echoAcceptor(to);
      openCollected(from).stream.reset('Cancelled');
      t.deepEqual(await request(from, Buffer.of(1)), Buffer.of(1));
      t.is(to.counters.streamsAccepted, 1);
    }
  });

  behaviour('a paused reader holds back its own stream and no other', async (t, pair) => {
    const chunkBytes = 64 * 1024;
    const chunks = 1024;
    const arrivals = collectStreams(pair.acceptor);
    const sender = openCollected(pair.dialer);
    const sent = sendAll(sender, numberedChunks(chunks, chunkBytes));
    const slow = await arrivals.next();
    slow.stream.pause();
    const heldFrom = slow.collector.payloads.length;

    echoAcceptor(pair.acceptor);
    for (let i = 0; i < 100; i += 1) {
      t.deepEqual(await request(pair.dialer, Buffer.of(i)), Buffer.of(i));
    }
    t.is(slow.collector.payloads.length, heldFrom, 'nothing is delivered while paused');
    t.true(pair.dialer.counters.bytesSent < 8 * 1024 * 1024, `${pair.dialer.counters.bytesSent}`);

    slow.stream.resume();
    await Promise.all([sent, slow.collector.ended]);
    t.is(slow.collector.payloads.length, chunks);
    t.true(slow.collector.payloads.every((chunk, i) => chunk.readUInt32BE(0) === i));
    t.true(slow.collector.payloads.every((chunk) => chunk.length === chunkBytes));
  });

  behaviour(
    'a tail is part of the payload, and its memory is free when send returns',
    async (t, { dialer, acceptor }) => {
      const arrivals = collectStreams(acceptor);
      const sent = createHash('sha256');
      const outgoing = openCollected(dialer);
      outgoing.stream.send(Buffer.from('first'));
      sent.update('first');
      const incoming = await arrivals.next();
      // A reader that pauses makes frames wait on the sender's side as well.
      incoming.stream.pause();
      const memory = Buffer.alloc(60_000);
      let waiting = 0;
      for (let i = 0; i < 40; i += 1) {
        const head = Buffer.from(`head ${i}`);
        memory.fill(i);
        sent.update(head).update(memory);
        if (!outgoing.stream.send(head, { tail: memory, end: i === 39 })) waiting += 1;
        memory.fill(0xff);
      }
      t.true(waiting > 0, 'some of it had to wait');
      incoming.stream.resume();
      const received = await incoming.collector.ended;
      t.is(createHash('sha256').update(received).digest('hex'), sent.digest('hex'));
    },
  );

  behaviour(
    'a reader that pauses at the last frame hears of the end when it resumes',
    async (t, pair) => {
      const told: string[] = [];
      const ended = new Promise<void>((resolve) => {
        pair.acceptor.onStream = (stream) => ({
          onFrame() {
            told.push('frame');
            stream.pause();
            setTimeout(() => {
              told.push('resume');
              stream.resume();
            }, 20);
          },
          onEnd() {
            told.push('end');
            resolve();
          },
          onReset() {},
        });
      });
      openCollected(pair.dialer).stream.send(Buffer.of(1), { end: true });
      await ended;
      t.deepEqual(told, ['frame', 'resume', 'end']);
    },
  );

  behaviour("streams wait until someone takes the peer's streams", async (t, pair) => {
    const clients = [1, 2, 3].map((i) => {
      const client = openCollected(pair.dialer);
      client.stream.send(Buffer.of(i), { end: true });
      return client;
    });
    // Both ends are up and running by the time that a stream the other way is answered.
    echoAcceptor(pair.dialer);
    await request(pair.acceptor, Buffer.of(0));
    echoAcceptor(pair.acceptor);
    for (const [i, { collector }] of clients.entries()) {
      t.deepEqual(await collector.ended, Buffer.of(i + 1));
    }
  });

  behaviour(
    "streams beyond the peer's limit wait their turn, and all are answered",
    async (t, { dialer, acceptor }) => {
      let open = 0;
      let most = 0;
      const arrived: FrameStream[] = [];
      acceptor.onStream = (stream) => {
        open += 1;
        most = Math.max(most, open);
        const collector = new Collector();
        void collector.ended.then(() => arrived.push(stream));
        return collector;
      };
      const replies = Array.from({ length: 16 + 50 }, (_, i) => request(dialer, Buffer.of(i)));
      t.is(dialer.openStreams, 66);
      for (let answered = 0; answered < replies.length; answered += 1) {
        // Not before all places are taken: so the limit is reached, and would be seen to be passed.
        await until(() => arrived.length === Math.min(16, replies.length - answered));
        open -= 1;
        arrived.shift()?.send(Buffer.from('done'), { end: true });
      }
      for (const reply of replies) t.is((await reply).toString(), 'done');
      t.is(most, 16);
      await until(() => dialer.openStreams === 0);
    },
    { maxIncomingStreams: 16 },
  );

  behaviour(
    "a handshake's limit on streams holds where the transport's own is higher, given up ones included",
    async (t, { dialer, acceptor }) => {
      const agreed = {
        maxMessageBytes: 1024 * 1024,
        maxIncomingStreams: 100,
        checksum: true,
        compressions: [Compression.none],
      };
      dialer.applyLimits({ ...agreed, maxOutgoingStreams: 1 });
      const arrivals = collectStreams(acceptor);
      const calls = Array.from({ length: 12 }, (_, i) => {
        const call = openCollected(dialer);
        call.stream.send(Buffer.of(i));
        return call;
      });
      const hasLeft = () => calls.filter(({ stream }) => stream.hasSent).length;
      for (let i = 0; i < 6; i += 1) {
        const { stream, collector } = await arrivals.next();
        t.is(collector.bytes[0], i);
        t.is(hasLeft(), i + 1);
        if (i % 2 === 0) calls[i]?.stream.reset('Cancelled');
        else {
          calls[i]?.stream.end();
          stream.send(Buffer.of(i), { end: true });
        }
      }
      await until(() => hasLeft() === 7);
      dialer.applyLimits({ ...agreed, maxOutgoingStreams: 3 });
      await until(() => hasLeft() === 9);
      for (let i = 6; i < 9; i += 1) await arrivals.next();
      t.is(hasLeft(), 9);
      t.false(dialer.hasStreamRoom);
    },
  );

  behaviour(
    'a stream that was opened before the connection ended hears of it, whenever its first bytes come',
    async (t, { dialer }) => {
      const call = openCollected(dialer);
      void dialer.close('NoError');
      let told: MeshError | undefined;
      try {
        call.stream.send(Buffer.of(1), { end: true });
      } catch (thrown) {
        told = thrown as MeshError;
      }
      told ??= await call.collector.reset;
      t.is(told.code, 'ConnectionClosed');
    },
  );

  behaviour(
    'more waiting streams than allowed are refused at once',
    async (t, { dialer, acceptor }) => {
      const arrivals = collectStreams(acceptor);
      const streams = Array.from({ length: 4 + 8 }, (_, i) => {
        const opened = openCollected(dialer);
        opened.stream.send(Buffer.of(i), { end: true });
        return opened;
      });
      t.is(thrownBy(() => dialer.openStream(new Collector())).code, 'Overloaded');
      // One that waits can be given up; it is never seen by the peer, and its place is free.
      streams[11]?.stream.reset('Cancelled');
      t.is(dialer.openStreams, 11);
      const { stream } = openCollected(dialer);
      stream.send(Buffer.of(99), { end: true });
      const seen: number[] = [];
      for (let i = 0; i < 12; i += 1) {
        const next = await arrivals.next();
        seen.push((await next.collector.ended)[0] as number);
        next.stream.end();
      }
      t.deepEqual(seen, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 99]);
    },
    { maxIncomingStreams: 4, maxQueuedStreams: 8 },
  );

  behaviour(
    '2,000 cancelled streams use up neither limit nor memory',
    async (t, { dialer, acceptor }) => {
      echoAcceptor(acceptor);
      for (let i = 0; i < 2000; i += 1) {
        const { stream } = openCollected(dialer);
        stream.send(Buffer.from('never mind'));
        stream.reset('Cancelled');
        if (i % 100 === 99) await request(dialer, Buffer.of(1));
      }
      t.deepEqual(await request(dialer, Buffer.of(7)), Buffer.of(7));
      await until(() => dialer.openStreams === 0);
      t.is(dialer.state.kind, 'open');
    },
    { maxIncomingStreams: 16 },
  );

  behaviour('nothing is left of 1,000 streams that ended', async (t, { dialer, acceptor }) => {
    echoAcceptor(acceptor);
    for (let round = 0; round < 10; round += 1) {
      await Promise.all(Array.from({ length: 100 }, () => request(dialer, Buffer.of(1))));
    }
    await until(() => dialer.openStreams === 0);
    t.is(acceptor.openStreams, 0);
    t.is(dialer.counters.streamsOpened, 1000);
    t.is(acceptor.counters.streamsAccepted, 1000);
    t.is(dialer.counters.streamsReset + acceptor.counters.streamsReset, 0);
  });

  behaviour('an orderly close resets each open stream once, on both sides', async (t, pair) => {
    const arrivals = collectStreams(pair.acceptor);
    const clients = Array.from({ length: 20 }, () => openCollected(pair.dialer));
    for (const { stream } of clients) stream.send(Buffer.of(1));
    const servers = [];
    for (let i = 0; i < 20; i += 1) servers.push(await arrivals.next());

    const closing = pair.acceptor.close();
    const again = pair.acceptor.close('InternalError', 'too late');
    for (const { collector } of servers) assertClosed(t, await collector.reset, 'local');
    for (const { collector } of clients) assertClosed(t, await collector.reset, 'remote');
    await Promise.all([closing, again]);
    t.like(await pair.acceptor.closed, { code: 'NoError', side: 'local' });
    t.like(await pair.dialer.closed, { code: 'NoError', side: 'remote' });
    t.is(pair.dialer.state.kind, 'closed');
    t.is(pair.acceptor.state.kind, 'closed');
    for (const { collector } of [...clients, ...servers]) t.is(collector.calls.onReset, 1);
    t.is(pair.dialer.openStreams, 0);
  });

  behaviour("a close's code and reason reach the other side", async (t, { dialer, acceptor }) => {
    const arrivals = collectStreams(acceptor);
    const { stream, collector } = openCollected(dialer);
    stream.send(Buffer.of(1));
    const arrived = await arrivals.next();
    await dialer.close('GoingAway', 'down for maintenance');
    assertClosed(t, await collector.reset, 'local');
    t.like(await arrived.collector.reset, { code: 'GoingAway', side: 'remote' });
    const expected = { code: 'GoingAway', message: 'down for maintenance' };
    t.like(await dialer.closed, { ...expected, side: 'local' });
    t.like(await acceptor.closed, { ...expected, side: 'remote' });
  });

  behaviour("the acceptor's code and reason reach the dialer", async (t, { dialer, acceptor }) => {
    collectStreams(acceptor);
    const { stream, collector } = openCollected(dialer);
    stream.send(Buffer.of(1));
    await acceptor.close('GoingAway', 'down for maintenance');
    t.like(await collector.reset, { code: 'GoingAway', side: 'remote' });
    const expected = { code: 'GoingAway', message: 'down for maintenance' };
    t.like(await acceptor.closed, { ...expected, side: 'local' });
    t.like(await dialer.closed, { ...expected, side: 'remote' });
  });

  behaviour('what was sent before an orderly close arrives', async (t, { dialer, acceptor }) => {
    const arrivals = collectStreams(acceptor);
    const first = openCollected(dialer);
    first.stream.send(Buffer.from('one'));
    const { collector } = await arrivals.next();
    first.stream.send(Buffer.from('two'), { end: true });
    await until(() => first.stream.messageId > 0 && collector.calls.onEnd === 1);
    await dialer.close();
    t.is(collector.bytes.toString(), 'onetwo');
  });

  behaviour('a closed connection takes no frame and opens no stream', async (t, pair) => {
    const arrivals = collectStreams(pair.acceptor);
    const { stream } = openCollected(pair.dialer);
    stream.send(Buffer.of(1));
    const arrived = await arrivals.next();
    const closing = pair.dialer.close();
    t.is(thrownBy(() => stream.send(Buffer.of(1))).code, 'ConnectionClosed');
    t.is(thrownBy(() => pair.dialer.openStream(new Collector())).code, 'ConnectionClosed');
    await Promise.all([closing, pair.acceptor.closed]);
    t.is(thrownBy(() => arrived.stream.send(Buffer.of(1))).code, 'ConnectionClosed');
    t.is(thrownBy(() => pair.acceptor.openStream(new Collector())).code, 'ConnectionClosed');
    t.notThrows(() => {
      arrived.stream.end();
      arrived.stream.reset('Cancelled');
      arrived.stream.pause();
      arrived.stream.resume();
    });
  });
}

/** What a handshake would do. */
function agree({ dialer, acceptor }: ConnectionPair, limits: Partial<StreamLimits>): void {
  const { maxIncomingStreams, maxMessageBytes } = { ...DEFAULT_STREAM_LIMITS, ...limits };
  for (const connection of [dialer, acceptor]) {
    connection.applyLimits({
      maxMessageBytes,
      maxIncomingStreams,
      maxOutgoingStreams: maxIncomingStreams,
      checksum: true,
      compressions: Object.values(Compression),
    });
  }
}

/** Sends the frames of a stream back, said to be compressed, which is for the reader to find out. */
function echo(stream: FrameStream): FrameStreamHandler {
  return {
    onFrame: ({ payload }) => {
      stream.send(payload, { compression: Compression.lz4 });
    },
    onEnd: () => stream.end(),
    onReset() {},
  };
}

function handshakeConfig(nodeId: string): HandshakeConfig {
  const parts = { query: true, replication: true, consensus: true, dataTransfer: true };
  const limits = { maxStreams: 100, maxMessageBytes: 1024 * 1024 };
  return {
    nodeId,
    cluster: 'test',
    capabilities: { ...parts, ...limits, compressions: ['lz4'], checksum: false },
  };
}

function bothWays({ dialer, acceptor }: ConnectionPair): [Connection, Connection][] {
  return [
    [dialer, acceptor],
    [acceptor, dialer],
  ];
}

function assertRemote(
  t: ExecutionContext,
  error: MeshError | undefined,
  code: string,
  reason: string,
): void {
  t.like(error, { code, side: 'remote' });
  // A transport may carry the code alone; it then has a text of its own.
  if (error?.message.includes(reason)) t.is(error.message, reason);
}

function assertClosed(t: ExecutionContext, error: MeshError, side: 'local' | 'remote'): void {
  t.like(error, { code: 'ConnectionClosed', side });
}

function* chunksOf(bytes: Buffer, chunkBytes: number): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes);
}

function* numberedChunks(count: number, chunkBytes: number): Generator<Buffer> {
  for (let i = 0; i < count; i += 1) {
    const chunk = Buffer.alloc(chunkBytes);
    chunk.writeUInt32BE(i, 0);
    yield chunk;
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
