import test from 'ava';
import { MeshError } from '../../src/errors.js';
import type { PoolMember } from '../../src/pool/member.js';
import { ConnectionPool } from '../../src/pool/pool.js';
import type { Connection } from '../../src/transport/connection.js';

/** A dial under way, by the hands of the test. */
interface Dial {
  readonly offer: (member: Member) => void;
  readonly succeed: (member: Member) => void;
  readonly fail: (error: MeshError) => void;
}

class Member implements PoolMember {
  readonly connection: Connection;
  isOpen = true;
  readonly load = 0;
  readonly isAwaiting = false;
  readonly activity = 0;
  end: (error: MeshError) => void = () => {};

  constructor() {
    const closed = new Promise<MeshError>((resolve) => {
      this.end = resolve;
    });
    // What a pool looks at.
    const connection = { role: 'dialer', isGoingAway: false, closed, lastReceivedMs: 0 };
    this.connection = connection as unknown as Connection;
  }

  ping(): boolean {
    return true;
  }

  async retire(): Promise<void> {}
}

test('calls ride with a dial of a peer that was lost, and not of one that has gone away until it is back', async (t) => {
  const { pool, nextDial } = poolOf();
  void pool.connect();
  const first = new Member();
  (await nextDial()).succeed(first);
  await pool.acquire();

  first.isOpen = false;
  first.end(new MeshError('ConnectionLost', 'lost'));
  await first.connection.closed;
  const second = new Member();
  t.is(await started(pool, await nextDial(), second), 'while it is dialed', 'after a loss');

  second.isOpen = false;
  second.connection.onGoAway?.();
  const third = new Member();
  t.is(await started(pool, await nextDial(), third), 'once it is dialed', 'after it went away');

  third.isOpen = false;
  third.end(new MeshError('ConnectionLost', 'lost'));
  await third.connection.closed;
  const refused = await nextDial();
  refused.fail(new MeshError('GoingAway', 'node is closing', { side: 'remote' }));
  const fourth = new Member();
  t.is(await started(pool, await nextDial(), fourth), 'once it is dialed', 'after a refusal');

  fourth.isOpen = false;
  fourth.end(new MeshError('GoingAway', 'node closed', { side: 'remote' }));
  await fourth.connection.closed;
  const fifth = new Member();
  t.is(await started(pool, await nextDial(), fifth), 'once it is dialed', 'after its close');
  pool.close(new MeshError('NodeClosed', 'the test is over'));
});

function poolOf(): { pool: ConnectionPool<Member>; nextDial: () => Promise<Dial> } {
  const dials: Dial[] = [];
  let onDial: () => void = () => {};
  const pool = new ConnectionPool<Member>({
    backoff: { minDelayMs: 0, maxDelayMs: 0, stableMs: 0 },
    dial: ({ offer }) =>
      new Promise((succeed, fail) => {
        dials.push({ offer, succeed, fail });
        onDial();
      }),
  });
  const nextDial = async () => {
    while (dials.length === 0) {
      await new Promise<void>((resolve) => {
        onDial = resolve;
      });
    }
    return dials.shift() as Dial;
  };
  return { pool, nextDial };
}

/** When a call that waits gets a connection whose dial offers it first, and is done then. */
async function started(pool: ConnectionPool<Member>, dial: Dial, member: Member): Promise<string> {
  let when = 'never';
  let now = 'while it is dialed';
  pool.wait({
    weight: 0,
    deadlineMs: Number.POSITIVE_INFINITY,
    accepts: () => true,
    start: () => {
      when = now;
    },
    fail: ({ message }) => {
      when = message;
    },
  });
  dial.offer(member);
  now = 'once it is dialed';
  dial.succeed(member);
  await new Promise((resolve) => setImmediate(resolve));
  return when;
}
