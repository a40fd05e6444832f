/** Every case of every family, on every transport that it is for; then the log of each node, and a table. */
import test from 'ava';
import { TEST_TRANSPORTS } from '../helpers/nodes.js';
import type { Case, PROFILES } from './case.js';
import { FAMILIES } from './families/index.js';
import { runCase } from './runner.js';
import { Subject } from './subject.js';
import { tableOf } from './table.js';

const subjects = new Map<string, Promise<Subject>>();
const rejections: unknown[] = [];
process.on('unhandledRejection', (reason) => rejections.push(reason));
process.on('uncaughtException', (error) => rejections.push(error));

function subjectOf({ profile = 'plain' }: { profile?: keyof typeof PROFILES }): Promise<Subject> {
  const subject = subjects.get(profile) ?? Subject.start(profile);
  subjects.set(profile, subject);
  return subject;
}

for (const { name: family, cases } of FAMILIES) {
  for (const hostile of cases) {
    for (const transport of hostile.transports ?? TEST_TRANSPORTS) {
      test.serial(
        `${family}, ${transport}: ${hostile.name}: ${outcomeText(hostile)}`,
        async (t) => {
          const subject = await subjectOf(hostile);
          try {
            await runCase(subject, hostile, transport);
          } catch (thrown) {
            // What this case left behind is no other's.
            subjects.delete(hostile.profile ?? 'plain');
            void subject.close();
            throw thrown;
          }
          t.deepEqual(rejections, []);
        },
      );
    }
  }
}

test.serial('the log of every node has at most one line a second about each source', async (t) => {
  const all = await Promise.all(subjects.values());
  for (const subject of all) t.notThrows(() => subject.checkLog());
  t.true(all.some(({ lines }) => lines.length > 0));
});

test.after.always('table', async () => {
  await Promise.all([...subjects.values()].map(async (subject) => (await subject).close()));
  console.log(tableOf(FAMILIES));
});

function outcomeText({ outcome }: Case): string {
  if (outcome.kind === 'answered') return `answered with ${outcome.by}`;
  return 'code' in outcome ? `${outcome.kind} with ${outcome.code}` : outcome.kind;
}
