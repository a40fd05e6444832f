/** Turns of jobs: how many run at once, over all lanes and in one, and whose turn it is. */
import test from 'ava';
import fc from 'fast-check';
import { JobLane, JobTurns } from '../../src/base/job-turns.js';
import { holdsAsync } from '../protocol/properties.js';

test('a lane runs half of the jobs that run at once, and the rest as those end', async (t) => {
  const turns = new JobTurns(3);
  const jobs = new Jobs();
  const [one, other] = [new JobLane(turns), new JobLane(turns)];
  for (let i = 0; i < 5; i += 1) jobs.add(one, `one ${i}`);
  t.deepEqual(jobs.running, ['one 0', 'one 1']);
  t.is(one.waiting, 3);
  for (let i = 0; i < 3; i += 1) jobs.add(other, `other ${i}`);
  t.deepEqual(jobs.running, ['one 0', 'one 1', 'other 0']);
  // The lane that has waited for the longest is next.
  await jobs.end('one 0');
  t.deepEqual(jobs.running, ['one 1', 'other 0', 'other 1']);
  await jobs.end('other 0');
  t.deepEqual(jobs.running, ['one 1', 'other 1', 'one 2']);
  t.is(turns.running, 3);
});

test('a pool of one thread serves lanes in turns', async (t) => {
  const turns = new JobTurns(1);
  const jobs = new Jobs();
  const lanes = ['a', 'b', 'c'].map((name) => ({ name, lane: new JobLane(turns) }));
  for (const { name, lane } of lanes) for (let i = 0; i < 3; i += 1) jobs.add(lane, name);
  const order: string[] = [];
  for (let i = 0; i < 9; i += 1) {
    const [name] = jobs.running as [string];
    order.push(name);
    await jobs.end(name);
  }
  t.is(order.join(''), 'abcabcabc');
  t.is(turns.running, 0);
});

test('a job that throws or rejects says so, and makes room like any other', async (t) => {
  const turns = new JobTurns(1);
  const lane = new JobLane(turns);
  const thrown = lane.run(() => {
    throw new Error('thrown');
  });
  const rejected = lane.run(() => Promise.reject(new Error('rejected')));
  const last = lane.run(() => 'done');
  await t.throwsAsync(thrown, { message: 'thrown' });
  await t.throwsAsync(rejected, { message: 'rejected' });
  t.is(await last, 'done');
  t.is(turns.running, 0);
});

test('whatever ends when: the limits hold, every job runs once, and those of a lane begin in order', async (t) => {
  const cases = fc.record({
    limit: fc.integer({ min: 1, max: 6 }),
    lanes: fc.array(fc.integer({ min: 0, max: 8 }), { minLength: 1, maxLength: 5 }),
    ends: fc.infiniteStream(fc.nat(1000)),
  });
  await holdsAsync(
    t,
    fc.asyncProperty(cases, async ({ limit, lanes, ends }) => {
      const turns = new JobTurns(limit);
      const jobs = new Jobs();
      for (const [index, count] of lanes.entries()) {
        const lane = new JobLane(turns);
        for (let i = 0; i < count; i += 1) jobs.add(lane, `${index} ${i}`);
      }
      while (jobs.running.length > 0) {
        const most = Math.max(1, Math.floor((limit + 1) / 2));
        for (const index of lanes.keys()) {
          const own = jobs.running.filter((name) => name.startsWith(`${index} `));
          if (own.length > most) return false;
        }
        if (jobs.running.length > limit) return false;
        const [end = 0] = ends.take(1);
        await jobs.end(jobs.running[end % jobs.running.length] as string);
      }
      const all = lanes.flatMap((count, index) =>
        Array.from({ length: count }, (_, i) => `${index} ${i}`),
      );
      const begun = [...jobs.begun].sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10));
      return begun.join() === all.join();
    }),
    300,
  );
});

/** Jobs that run until they are ended. */
class Jobs {
  readonly running: string[] = [];
  readonly begun: string[] = [];
  readonly #ends = new Map<string, (() => void)[]>();

  add(lane: JobLane, name: string): void {
    void lane.run(() => {
      this.running.push(name);
      this.begun.push(name);
      return new Promise<void>((resolve) => {
        this.#ends.set(name, [...(this.#ends.get(name) ?? []), resolve]);
      });
    });
  }

  async end(name: string): Promise<void> {
    this.running.splice(this.running.indexOf(name), 1);
    this.#ends.get(name)?.shift()?.();
    await new Promise(setImmediate);
  }
}
