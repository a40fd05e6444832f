/** What idle connections cost their pools, and that resting changes nothing of what is found out, and when. */
import test from 'ava';
import fc from 'fast-check';
import { Alarms } from '../../src/base/alarms.js';
import { ConnectionPool } from '../../src/pool/pool.js';
import { holdsAsync } from '../protocol/properties.js';
import { FakeMember } from './fake-member.js';
import { ManualClock } from './manual-clock.js';

const MINUTE_MS = 60_000;

test('a thousand idle connections are looked at as often as a sign of life is due', async (t) => {
  const clock = new ManualClock();
  const alarms = new Alarms(clock);
  let looks = 0;
  class Counted extends FakeMember {
    override get connection() {
      looks += 1;
      return super.connection;
    }
  }
  for (let peer = 0; peer < 100; peer += 1) {
    const pool = new ConnectionPool<FakeMember>({ clock, alarms });
    for (let i = 0; i < 10; i += 1) pool.add(new Counted(clock), { isPinned: true });
  }
  t.is(clock.pending, 1, 'one timer for all');
  await clock.advance(MINUTE_MS);
  looks = 0;
  const { calls } = clock;
  await clock.advance(10 * MINUTE_MS);
  // Every 15 s a question, and a look at its answer.
  t.true(looks >= 40 * 1000);
  t.true(looks <= 40 * 1000 * 4, `${looks} looks`);
  t.true(clock.calls - calls <= 40 * 4, `${clock.calls - calls} calls of the timer`);
});

const step = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.constant('pass'), fc.constantFrom(10, 240, 250, 1000)) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('pass'), fc.constantFrom(3000, 16_000, 40_000)) },
  { weight: 2, arbitrary: fc.tuple(fc.constantFrom('startCall', 'endCall'), fc.constant(0)) },
  { weight: 1, arbitrary: fc.tuple(fc.constantFrom('silent', 'speaks'), fc.constant(0)) },
);

test('a connection that may rest is asked, suspected and given up at the same times as one that may not', async (t) => {
  const run = async (
    steps: readonly (readonly [string, number])[],
    tells: boolean,
    role: 'dialer' | 'acceptor',
  ) => {
    const clock = new ManualClock();
    const seen: string[] = [];
    const pool = new ConnectionPool<FakeMember>({
      clock,
      onChange: ({ from, to }) => seen.push(`${clock.nowMs()} ${from} ${to.kind}`),
      onSuspicion: (_member, isSuspect) => seen.push(`${clock.nowMs()} suspect ${isSuspect}`),
    });
    const member = new FakeMember(clock, { role, tells });
    const { ping } = member;
    member.ping = () => {
      seen.push(`${clock.nowMs()} asked`);
      return ping.call(member);
    };
    pool.add(member);
    for (const [kind, ms] of steps) {
      if (kind === 'pass') await clock.advance(ms);
      else if (kind === 'startCall' && member.isOpen) member.startCall();
      else if (kind === 'endCall' && member.load > 0) member.endCall();
      else if (kind === 'silent') member.isSilent = true;
      else if (kind === 'speaks') {
        member.isSilent = false;
        member.speak();
      }
    }
    await clock.advance(MINUTE_MS);
    return seen;
  };
  await holdsAsync(
    t,
    fc.asyncProperty(
      fc.array(step, { maxLength: 25 }),
      fc.constantFrom('dialer' as const, 'acceptor' as const),
      async (steps, role) => {
        const resting = await run(steps, true, role);
        const watched = await run(steps, false, role);
        return resting.join('\n') === watched.join('\n');
      },
    ),
    40,
  );
});
