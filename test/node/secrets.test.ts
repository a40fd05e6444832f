/** Keys, tokens and sessions: nothing that a process prints of its nodes has them, whatever it prints and logs. */
import { execFile } from 'node:child_process';
import { createPrivateKey } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';
import { TYPESCRIPT } from '../../scripts/children/typescript.js';

const PROGRAM = fileURLToPath(new URL('../helpers/talkative-process.ts', import.meta.url));
/** So many bytes of a secret in a row are it. Of a key, the parts that all keys of the kind have in common are not. */
const TELLING_BYTES = 12;

test('nothing that nodes log, throw, report or show has a key, a token or a session in it', async (t) => {
  t.timeout(120_000);
  const directory = await mkdtemp(join(tmpdir(), 'quicmesh-secrets-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const file = join(directory, 'secrets.json');
  const { stdout, stderr } = await promisify(execFile)(
    process.execPath,
    [...TYPESCRIPT, PROGRAM, file],
    { maxBuffer: 1024 * 1024 * 1024, timeout: 110_000 },
  );
  const said = stdout + stderr;
  const secrets = new Map(
    (JSON.parse(await readFile(file, 'utf8')) as [string, string[]][]).map(([what, all]) => [
      what,
      all.map((one) => Buffer.from(one, 'base64')),
    ]),
  );
  // It did say something, of all kinds, and there was something to keep.
  for (const pattern of [
    /"level":20/,
    /RunningNode/,
    /AuthTokenRejected/,
    /InvalidOptions/,
    /tlsReloaded/,
    /peerDown/,
    /Unauthorized/,
    /QuicConnection/,
    /MuxConnection/,
    /MemorySessionStore|RecordingStore/,
    /BEGIN CERTIFICATE/,
  ]) {
    t.regex(said, pattern);
  }
  for (const what of ['key', 'token', 'session', 'ticketKey']) {
    const found = secrets.get(what) as Buffer[];
    t.true(found.length > 0, what);
    for (const secret of found) assertUnsaid(what, secret);
  }
  // What it is that would be found, if it were there.
  const [token] = secrets.get('token') as [Buffer];
  t.true(formsOf(token).some((form) => `x${token.toString('latin1')}x`.includes(form)));
  t.true(formsOf(token).some((form) => JSON.stringify(token).includes(form)));
  t.false(said.includes('PRIVATE KEY'));

  function assertUnsaid(what: string, secret: Buffer): void {
    const parts = what === 'key' ? keyParts(secret.toString()) : [secret];
    for (const part of parts) {
      for (const form of formsOf(part)) t.false(said.includes(form), `${what}: ${form}`);
    }
  }
});

/** The secret number itself, and each line of the text. */
function keyParts(pem: string): Buffer[] {
  const { d } = createPrivateKey(pem).export({ format: 'jwk' });
  const lines = pem.split('\n').filter((line) => line !== '' && !line.startsWith('-----'));
  // The first line is mostly what the kind of key is: only its end tells something.
  const [first = '', ...rest] = lines;
  const texts = [first.slice(-TELLING_BYTES), ...rest].filter(
    (line) => line.length >= TELLING_BYTES,
  );
  return [Buffer.from(d as string, 'base64url'), ...texts.map((line) => Buffer.from(line))];
}

/** How the beginning of some bytes can look in a text. */
function formsOf(secret: Buffer): string[] {
  const bytes = secret.subarray(0, TELLING_BYTES);
  const hex = bytes.toString('hex');
  const pairs = hex.match(/../g) as string[];
  const text = bytes.toString('latin1');
  return [
    hex,
    hex.toUpperCase(),
    pairs.join(' '),
    pairs.join(':'),
    bytes.toString('base64'),
    [...bytes].join(','),
    [...bytes].join(', '),
    ...(/^[\x20-\x7e]+$/.test(text) ? [text] : []),
  ];
}
