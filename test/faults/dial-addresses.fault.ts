/** Dials of addresses that only a network of the test's own has. */
import test from 'ava';
import { runInNamespace } from '../helpers/network/namespace.js';

test('dials of odd addresses fail with an error of their own, and TCP is tried where QUIC cannot', async (t) => {
  const told = await runInNamespace(t, 'test/helpers/network/odd-dials.ts');
  if (told === undefined) return;
  const { codes, ...rest } = told as { codes: string[] };
  t.deepEqual(rest, { missedByTcp: 0, serves: 3 });
  t.true(
    codes.every((code) => code === 'ConnectFailed' || code === 'ConnectTimeout'),
    `${codes}`,
  );
});

test('a node dials from where the peer can be reached, wherever it listens, also at addresses of one link', async (t) => {
  const told = await runInNamespace(t, 'test/helpers/network/two-links.ts', {
    commands: ['nsenter', 'sysctl'],
  });
  if (told === undefined) return;
  const { 'no way': noWay, ...reached } = told as Record<string, string>;
  t.is(Object.keys(reached).length, 11);
  for (const [dial, outcome] of Object.entries(reached)) t.is(outcome, 'quic, tcp', dial);
  t.regex(noWay ?? '', /^ConnectFailed: no way from this machine to 10\.99\.0\.1/);
});
