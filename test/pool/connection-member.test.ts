import test, { type ExecutionContext } from 'ava';
import { connectionMember } from '../../src/pool/connection-member.js';
import { ConnectionPool } from '../../src/pool/pool.js';
import type { FrameStreamHandler } from '../../src/transport/connection.js';
import { memoryPair } from '../helpers/memory-pair.js';
import { ManualClock, settled } from './manual-clock.js';

const deaf: FrameStreamHandler = { onFrame() {}, onEnd() {}, onReset() {} };

async function createPair(t: ExecutionContext) {
  const pair = await memoryPair();
  pair.acceptor.onStream = (stream) => ({
    ...deaf,
    onFrame: (frame) => stream.send(frame.payload, { end: true }),
  });
  t.teardown(() => pair.close());
  return pair;
}

test('its streams are its load, and those of both sides its activity', async (t) => {
  const { dialer } = await createPair(t);
  const member = connectionMember(dialer);
  t.like(member, { isOpen: true, load: 0, isAwaiting: false, activity: 0 });
  const answered = new Promise<void>((resolve) => {
    const stream = dialer.openStream({ ...deaf, onEnd: resolve });
    stream.send(Buffer.from('a'), { end: true });
  });
  t.like(member, { load: 1, isAwaiting: true, activity: 1 });
  await answered;
  t.like(member, { load: 0, isAwaiting: false, activity: 1 });
});

test('it takes no more streams once it is retired, and closes in good order when those it has are over', async (t) => {
  const { dialer } = await createPair(t);
  const member = connectionMember(dialer);
  const stream = dialer.openStream(deaf);
  const retired = member.retire('enough');
  t.false(member.isOpen);
  t.is(member.load, 1);
  stream.send(Buffer.from('a'), { end: true });
  await retired;
  t.is((await dialer.closed).code, 'NoError');
});

test('a transport that cannot ask leaves that to the caller, and without one is never taken for dead', async (t) => {
  for (const asks of [true, false]) {
    const { dialer } = await createPair(t);
    const clock = new ManualClock(performance.now());
    const pool = new ConnectionPool({ clock });
    let pings = 0;
    const ping = (): boolean => {
      pings += 1;
      return true;
    };
    pool.add(asks ? connectionMember(dialer, ping) : connectionMember(dialer));
    dialer.openStream(deaf);
    await clock.advance(10_000);
    await settled();
    t.is(pings, asks ? 1 : 0);
    t.is(dialer.state.kind === 'open', !asks);
    t.is(pool.members.length, asks ? 0 : 1);
  }
});
