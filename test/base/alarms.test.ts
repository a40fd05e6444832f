import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import test from 'ava';
import fc from 'fast-check';
import { Alarm, Alarms } from '../../src/base/alarms.js';
import { ManualClock } from '../pool/manual-clock.js';
import { holdsAsync } from '../protocol/properties.js';

test('an alarm rings at its deadline, once, however it was moved before', async (t) => {
  const step = fc.record({ which: fc.nat(4), inMs: fc.nat(500), passMs: fc.nat(200) });
  await holdsAsync(
    t,
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const clock = new ManualClock();
      const alarms = new Alarms(clock);
      const due = new Map<number, number>();
      const expected: string[] = [];
      const rung: string[] = [];
      const all = Array.from(
        { length: 5 },
        (_, which) => new Alarm(alarms, (nowMs) => rung.push(`${which} ${nowMs}`)),
      );
      const pass = async (ms: number): Promise<void> => {
        const untilMs = clock.nowMs() + ms;
        for (const [which, atMs] of due) {
          if (atMs > untilMs) continue;
          expected.push(`${which} ${atMs}`);
          due.delete(which);
        }
        await clock.advance(ms);
      };
      for (const { which, inMs, passMs } of steps) {
        // Now and then one is taken back.
        if (inMs > 450) {
          all[which]?.stop();
          due.delete(which);
        } else {
          all[which]?.setIn(inMs + 1);
          due.set(which, clock.nowMs() + inMs + 1);
        }
        await pass(passMs);
      }
      await pass(1000);
      return rung.sort().join() === expected.sort().join() && clock.pending === 0;
    }),
    30,
  );
});

test('a thousand deadlines need one timer, and those at the same time one call of it', async (t) => {
  const clock = new ManualClock();
  const alarms = new Alarms(clock);
  let rings = 0;
  for (let i = 0; i < 1000; i += 1) {
    new Alarm(alarms, () => {
      rings += 1;
    }).setIn(1000 * (1 + (i % 3)));
    t.is(clock.pending, 1);
  }
  await clock.advance(3000);
  t.is(rings, 1000);
  t.is(clock.calls, 3);
  t.is(clock.pending, 0);
});

test('a deadline that moves away with every datagram costs no timer', async (t) => {
  const clock = new ManualClock();
  const alarm = new Alarm(new Alarms(clock), () => t.fail());
  alarm.setIn(100);
  for (let i = 0; i < 1000; i += 1) {
    alarm.setIn(100);
    await clock.advance(1);
  }
  t.true(clock.calls <= 10, `${clock.calls}`);
  alarm.stop();
  t.is(clock.pending, 0);
});

test('an alarm that is set again as it rings, for now, does not keep the thread', async (t) => {
  const clock = new ManualClock();
  let rings = 0;
  const alarm: Alarm = new Alarm(new Alarms(clock), (nowMs) => {
    rings += 1;
    alarm.set(nowMs);
  });
  alarm.setIn(10);
  await clock.advance(20);
  t.is(rings, 11);
  alarm.stop();
});

test('one that throws keeps no other from ringing', async (t) => {
  const clock = new ManualClock();
  const alarms = new Alarms(clock);
  let rang = false;
  new Alarm(alarms, () => {
    throw new Error('no');
  }).setIn(10);
  new Alarm(alarms, () => {
    rang = true;
  }).setIn(10);
  await t.throwsAsync(clock.advance(10), { message: 'no' });
  await clock.advance(10);
  t.true(rang);
});

test('an alarm rings in the context in which its line was made, never before its time', async (t) => {
  const context = new AsyncLocalStorage<string>();
  const alarms = context.run('of the line', () => new Alarms());
  const startMs = performance.now();
  const rung = new Promise<{ atMs: number; its: string | undefined }>((resolve) => {
    const alarm = new Alarm(alarms, () => {
      resolve({ atMs: performance.now(), its: context.getStore() });
    });
    context.run('of whoever set it', () => alarm.setIn(20));
  });
  // The alarms themselves keep no process alive.
  const [{ atMs, its }] = await Promise.all([rung, delay(60)]);
  t.true(atMs - startMs >= 20);
  t.is(its, 'of the line');
});
