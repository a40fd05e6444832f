/** Connections that come and go leave the heap with the next minor collection: nobody waits for a major one. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';

const PROGRAM = fileURLToPath(new URL('../../helpers/quic/comers-and-goers.mjs', import.meta.url));
/** A connection takes 40 KB, of which 15 KB survived while dead tables and shapes of objects held them. */
const MAX_BYTES = 6000;

test('of connections that are over next to nothing survives a minor collection', async (t) => {
  // Room for all of them: V8 itself collects nothing meanwhile.
  const flags = ['--expose-gc', '--max-semi-space-size=64', '--min-semi-space-size=64'];
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, PROGRAM], {
    timeout: 50_000,
  });
  const { bytes, accepted } = JSON.parse(stdout);
  t.log(`${Math.round(bytes)} bytes of each`);
  t.is(accepted, 400);
  t.true(bytes < MAX_BYTES);
});
