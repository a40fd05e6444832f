/** The token that dialers show: one shared secret, or a function that judges. */
import { Writable } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import { pino } from 'pino';
import { createNode, type NodeOptions, sameToken } from '../../src/index.js';
import { EventLog } from '../helpers/calling.js';
import { nodeCert } from '../helpers/certs.js';
import { startNode, TEST_TRANSPORTS, type TestTransport, targetOf } from '../helpers/nodes.js';

const SECRET = 'the-secret-of-the-cluster';
const REFUSED = { code: 'AuthTokenRejected', side: 'remote', retryable: false } as const;

/** What comes of a dial from n1 to n2. */
async function dial(
  t: ExecutionContext,
  transport: TestTransport,
  dialing: NodeOptions['auth'],
  accepting: Partial<NodeOptions>,
): Promise<unknown> {
  const n2 = await startNode(t, 'n2', { transports: [transport], ...accepting });
  const n1 = await startNode(t, 'n1', { transports: [transport], auth: dialing });
  const log = new EventLog(n2);
  try {
    const peer = await n1.connect(targetOf(n2));
    await peer.ping();
    return undefined;
  } catch (thrown) {
    const { error } = await log.next('refused');
    t.like(error, { code: 'AuthTokenRejected', side: 'local' });
    for (const text of [String(thrown), error.message, error.stack ?? '']) {
      t.false(text.includes(SECRET));
    }
    return thrown;
  }
}

for (const transport of TEST_TRANSPORTS) {
  test(`${transport}: a shared token opens, another one or none does not`, async (t) => {
    t.is(await dial(t, transport, { token: SECRET }, { auth: { token: SECRET } }), undefined);
    t.is(await dial(t, transport, { token: SECRET }, {}), undefined);
    for (const shown of [
      { token: `${SECRET}x` },
      { token: SECRET.slice(1) },
      { verify: () => true },
      undefined,
    ]) {
      t.like(await dial(t, transport, shown, { auth: { token: SECRET } }), REFUSED);
    }
  });

  test(`${transport}: a function judges the token by who shows it`, async (t) => {
    const asked: [string | undefined, string][] = [];
    const verify = (token: string | undefined, nodeId: string): boolean => {
      asked.push([token, nodeId]);
      return sameToken(token, `${SECRET} of ${nodeId}`);
    };
    const auth = { verify };
    t.is(await dial(t, transport, { token: `${SECRET} of n1` }, { auth }), undefined);
    t.like(await dial(t, transport, { token: `${SECRET} of n2` }, { auth }), REFUSED);
    t.like(await dial(t, transport, undefined, { auth }), REFUSED);
    t.deepEqual(asked, [
      [`${SECRET} of n1`, 'n1'],
      [`${SECRET} of n2`, 'n1'],
      [undefined, 'n1'],
    ]);
  });

  test(`${transport}: a function that throws, or answers something else than true, lets nobody in`, async (t) => {
    const lines: string[] = [];
    const stream = new Writable({
      write(line, _encoding, done) {
        lines.push(String(line));
        done();
      },
    });
    const logger = pino({ level: 'debug' }, stream);
    const verdicts: ((token: string | undefined) => unknown)[] = [
      (token) => {
        throw new RangeError(`what is ${token}?`);
      },
      async () => true,
      async (token) => {
        throw new RangeError(`what is ${token}?`);
      },
      () => 1,
      () => undefined,
    ];
    for (const verdict of verdicts) {
      const verify = verdict as () => boolean;
      t.like(await dial(t, transport, { token: SECRET }, { auth: { verify }, logger }), REFUSED);
    }
    t.is(lines.filter((line) => line.includes('auth.verify failed')).length, 3);
    t.true(lines.some((line) => line.includes('RangeError')));
    t.false(lines.some((line) => line.includes(SECRET)));
  });
}

test('tokens are the same if they are, and no token is like none', (t) => {
  t.true(sameToken(SECRET, SECRET));
  t.true(sameToken('', ''));
  for (const other of ['', `${SECRET} `, SECRET.toUpperCase(), undefined]) {
    t.false(sameToken(other, SECRET));
  }
  t.false(sameToken(undefined, ''));
});

test('a token option that is none is InvalidOptions, and is not quoted', async (t) => {
  const tls = await nodeCert('n1');
  for (const auth of [
    {},
    SECRET,
    { token: '' },
    { token: SECRET.repeat(100) },
    { token: 7 },
    { verify: SECRET },
    { token: SECRET, more: 1 },
    [SECRET],
  ]) {
    const options = { nodeId: 'n1', cluster: 'test', tls, auth } as unknown as NodeOptions;
    const error = await t.throwsAsync(createNode(options));
    t.like(error, { code: 'InvalidOptions' });
    t.regex(error?.message as string, /auth/);
    t.false(error?.message.includes(SECRET));
  }
});
