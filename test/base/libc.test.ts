import test from 'ava';
import { runsOnGlibc } from '../../src/base/libc.js';

test('the C library is told as a diagnostic report has it', (t) => {
  const { header } = process.report.getReport() as unknown as {
    header: { glibcVersionRuntime?: string };
  };
  t.is(runsOnGlibc(), header.glibcVersionRuntime !== undefined);
});
