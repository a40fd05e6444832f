/** What the package's entries export changes on purpose only. */
import { readdir, readFile } from 'node:fs/promises';
import test from 'ava';
import { type ApiReport, createApiReports } from './api-report.js';

let reports: readonly ApiReport[] = [];

test.before(async () => {
  reports = await createApiReports();
});

test('the reports of what entries export are up to date', async (t) => {
  for (const { entry, path, text } of reports) {
    const checkedIn = await readFile(path, 'utf8').catch(() => '');
    t.is(text, checkedIn, `${entry} exports something else: \`npm run api\` rewrites ${path}`);
  }
});

test('there is no report of an entry that is gone', async (t) => {
  const paths = (await readdir('test/meta/api')).map((name) => `test/meta/api/${name}`);
  t.deepEqual(paths.sort(), reports.map(({ path }) => path).sort());
});

test('everything that an entry exports has a doc comment', (t) => {
  for (const { entry, undocumented } of reports) t.deepEqual(undocumented, [], entry);
});

test('no program needs the types of another package than Node.js and pino', (t) => {
  for (const { entry, packages } of reports) {
    const others = packages.filter((name) => !name.startsWith('node:') && name !== 'pino');
    t.deepEqual(others, [], entry);
  }
});

test('a program can name every type that an exported one names', (t) => {
  const exported = new Set(reports.flatMap((report) => report.exported));
  for (const { entry, named } of reports)
    for (const name of named) t.true(exported.has(name), `no entry exports ${name} of ${entry}`);
});
