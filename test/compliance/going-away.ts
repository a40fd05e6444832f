/** Going away: part of what every connection has to do. Run by the compliance suite on memory, TCP and QUIC. */
import { randomBytes } from 'node:crypto';
import type { ExecutionContext } from 'ava';
import { Random } from '../../scripts/fuzz/random.js';
import { MeshError } from '../../src/errors.js';
import type { Connection, StreamLimits } from '../../src/transport/connection.js';
import {
  Collector,
  collectStreams,
  echoAcceptor,
  openCollected,
  request,
  thrownBy,
} from '../helpers/frame-client.js';
import { until } from '../helpers/until.js';
import type { ConnectionPair } from './connection-suite.js';

type Behaviour = (
  title: string,
  run: (t: ExecutionContext, pair: ConnectionPair) => Promise<void>,
  limits?: Partial<StreamLimits>,
) => void;

export function goingAwayBehaviours(behaviour: Behaviour): void {
  behaviour(
    'after one side goes away neither opens a stream, and open ones go on',
    async (t, pair) => {
      const { dialer, acceptor } = pair;
      const long = [];
      for (const [from, to] of [
        [dialer, acceptor],
        [acceptor, dialer],
      ] as const) {
        const arrivals = collectStreams(to);
        const opened = openCollected(from);
        opened.stream.send(Buffer.from('begin '));
        long.push({ opened, arrived: await arrivals.next() });
      }
      const told: string[] = [];
      for (const [name, connection] of Object.entries({ dialer, acceptor })) {
        t.false(connection.isGoingAway);
        connection.onGoAway = () => told.push(`${name} ${connection.isGoingAway}`);
        void connection.drained.then(() => told.push('drained'));
      }
      dialer.goAway();
      dialer.goAway();
      assertGoingAway(t, dialer);
      await until(() => told.length === 2);
      t.deepEqual(told, ['acceptor true', 'dialer true']);
      assertGoingAway(t, acceptor);

      for (const { opened, arrived } of long) {
        for (let i = 0; i < 50; i += 1) {
          opened.stream.send(Buffer.from('more '));
          arrived.stream.send(Buffer.from('answer '));
          if (i % 10 === 0) await new Promise(setImmediate);
        }
        t.is(told.length, 2, 'not drained as long as a stream is open');
        opened.stream.end();
        arrived.stream.end();
        t.is((await arrived.collector.ended).toString(), `begin ${'more '.repeat(50)}`);
        t.is((await opened.collector.ended).toString(), 'answer '.repeat(50));
      }
      await Promise.all([dialer.drained, acceptor.drained]);
      t.is(dialer.state.kind, 'open');
      t.is(dialer.counters.streamsReset + acceptor.counters.streamsReset, 0);
      await dialer.close();
      t.like(await acceptor.closed, { code: 'NoError', side: 'remote' });
      t.is(told.filter((each) => each !== 'drained').length, 2, 'told once each');
    },
  );

  behaviour('a connection without streams is drained at once', async (t, { dialer, acceptor }) => {
    acceptor.goAway();
    await Promise.all([dialer.drained, acceptor.drained]);
    t.true(dialer.isGoingAway && acceptor.isGoingAway);
    t.is(dialer.state.kind, 'open');
  });

  behaviour('both sides may go away at once', async (t, pair) => {
    echoAcceptor(pair.dialer);
    echoAcceptor(pair.acceptor);
    const replies = [pair.dialer, pair.acceptor].map((from) => request(from, Buffer.of(1)));
    let told = 0;
    for (const connection of [pair.dialer, pair.acceptor]) {
      connection.onGoAway = () => {
        told += 1;
      };
    }
    pair.dialer.goAway();
    pair.acceptor.goAway();
    for (const reply of replies) t.deepEqual(await reply, Buffer.of(1));
    await Promise.all([pair.dialer.drained, pair.acceptor.drained]);
    t.is(told, 2);
  });

  behaviour(
    "streams that wait for the peer's limit still go",
    async (t, { dialer, acceptor }) => {
      const arrivals = collectStreams(acceptor);
      const replies = Array.from({ length: 4 + 20 }, (_, i) => request(dialer, Buffer.of(i)));
      // Opened, and to be sent on only later.
      const late = openCollected(dialer);
      const never = openCollected(dialer);
      dialer.goAway();
      assertGoingAway(t, dialer);
      for (let i = 0; i < replies.length; i += 1) {
        const { stream, collector } = await arrivals.next();
        stream.send(await collector.ended, { end: true });
        if (i < 20) t.false(acceptor.isGoingAway, 'told while streams wait');
      }
      for (const [i, reply] of replies.entries()) t.deepEqual(await reply, Buffer.of(i));
      t.false(acceptor.isGoingAway, 'told before the last one has its place');
      late.stream.send(Buffer.of(99), { end: true });
      const { stream, collector } = await arrivals.next();
      t.deepEqual(await collector.ended, Buffer.of(99));
      never.stream.reset('Cancelled');
      await until(() => acceptor.isGoingAway);
      let isDrained = false;
      void dialer.drained.then(() => {
        isDrained = true;
      });
      await new Promise((resolve) => setTimeout(resolve, 30));
      t.false(isDrained);
      stream.end();
      await Promise.all([dialer.drained, acceptor.drained, late.collector.ended]);
    },
    { maxIncomingStreams: 4 },
  );

  behaviour('a connection that is lost is drained', async (t, { dialer, acceptor }) => {
    const arrivals = collectStreams(acceptor);
    const { stream, collector } = openCollected(dialer);
    stream.send(Buffer.of(1));
    await arrivals.next();
    dialer.goAway();
    const { drained } = acceptor;
    acceptor.fail(new MeshError('IdleTimeout', 'nothing was heard'));
    await Promise.all([drained, dialer.drained]);
    t.is((await collector.reset).code, 'IdleTimeout');
    await Promise.all([acceptor.closed, dialer.closed]);
    await Promise.all([acceptor.drained, dialer.drained]);
    t.notThrows(() => dialer.goAway());
  });

  behaviour('a failure reaches both sides, and is what open streams end with', async (t, pair) => {
    const arrivals = collectStreams(pair.acceptor);
    const { stream, collector } = openCollected(pair.dialer);
    stream.send(Buffer.of(1));
    const arrived = await arrivals.next();
    const error = new MeshError('IdleTimeout', 'nothing was heard');
    pair.dialer.fail(error);
    pair.dialer.fail(new MeshError('InternalError', 'too late'));
    t.is(await collector.reset, error);
    t.is(await pair.dialer.closed, error);
    const expected = { code: 'IdleTimeout', message: 'nothing was heard', side: 'remote' } as const;
    t.like(await arrived.collector.reset, expected);
    t.like(await pair.acceptor.closed, expected);
  });

  behaviour('what arrives is seen by its time', async (t, { dialer, acceptor }) => {
    echoAcceptor(acceptor);
    const beforeMs = performance.now();
    await request(dialer, Buffer.of(1));
    for (const { lastReceivedMs } of [dialer, acceptor]) {
      t.true(lastReceivedMs >= beforeMs && lastReceivedMs <= performance.now());
    }
  });

  behaviour(
    'what was opened before one goes away is answered, and a close then loses nothing',
    async (t, pair) => {
      const seed = randomBytes(4).readUInt32BE();
      t.log(`seed ${seed}`);
      const random = new Random(seed);
      const below = (limit: number) => random.below(limit);
      for (const connection of [pair.dialer, pair.acceptor]) {
        connection.onStream = (stream) => {
          const collector = new Collector();
          const answer = () => stream.send(collector.bytes, { end: true });
          const waitMs = below(3) === 0 ? below(20) : 0;
          void collector.ended.then(() => {
            if (waitMs > 0) setTimeout(answer, waitMs);
            else answer();
          });
          return collector;
        };
      }
      const lasting = [pair.dialer, pair.acceptor].map((from) => keepAsking(from, random));
      await new Promise((resolve) => setTimeout(resolve, 50 + below(50)));
      const first = below(2) === 0 ? pair.dialer : pair.acceptor;
      const calls = Array.from({ length: 100 + below(300) }, () => {
        const payload = randomBytes(1 + below(below(10) === 0 ? 100_000 : 500));
        return { payload, reply: request(first, payload) };
      });
      const cancelled = Array.from({ length: below(50) }, () => openCollected(first).stream);
      for (const stream of cancelled) {
        if (below(2) === 0) stream.send(randomBytes(below(30_000) + 1));
        stream.reset('Cancelled');
      }
      first.goAway();
      await first.drained;
      await first.close();
      for (const { payload, reply } of calls) t.deepEqual(await reply, payload);
      for (const answered of await Promise.all(lasting)) t.true(answered > 0);
      const { dialer, acceptor } = pair;
      t.is((await dialer.closed).code, 'NoError');
      t.is((await acceptor.closed).code, 'NoError');
    },
    { maxIncomingStreams: 64 },
  );
}

/** Asks until the connection goes away; all answers must come. @returns how many came */
async function keepAsking(connection: Connection, random: Random): Promise<number> {
  const asking: Promise<number>[] = [];
  for (let i = 0; i < 8; i += 1) {
    asking.push(
      (async () => {
        for (let answered = 0; ; answered += 1) {
          if (connection.isGoingAway) return answered;
          const payload = randomBytes(1 + random.below(3000));
          const reply = await request(connection, payload);
          if (!reply.equals(payload)) throw new Error('another answer');
        }
      })(),
    );
  }
  return (await Promise.all(asking)).reduce((sum, answered) => sum + answered, 0);
}

function assertGoingAway(t: ExecutionContext, connection: Connection): void {
  t.true(connection.isGoingAway);
  const error = thrownBy(() => connection.openStream(new Collector()));
  t.like(error, { code: 'GoingAway', side: 'local', maybeExecuted: false });
}
