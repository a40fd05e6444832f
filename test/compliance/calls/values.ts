/** What a call carries arrives as what it was. */
import { randomBytes } from 'node:crypto';
import type { CallsSuite } from '../calls-suite.js';
import type { Stage } from './stage.js';

export function values({ shared }: CallsSuite): void {
  shared('bytes of every length arrive as bytes', async (t, stage) => {
    const echo = echoer(stage, 'bytes');
    for (const length of [0, 1, 23, 24, 255, 256, 4095, 4096, 65_535, 65_536, 300_000]) {
      const body = randomBytes(length);
      const answer = (await echo(body)) as Uint8Array;
      t.true(answer instanceof Uint8Array);
      t.true(body.equals(answer), `${length} bytes`);
    }
  });

  shared('bytes within other values arrive as bytes', async (t, stage) => {
    const echo = echoer(stage, 'nested bytes');
    const body = { rows: [{ key: Buffer.from('k'), value: randomBytes(5000) }, Buffer.alloc(0)] };
    t.deepEqual(await echo(body), body);
  });

  shared('null, true, false, and empty lists and maps arrive as such', async (t, stage) => {
    const echo = echoer(stage, 'small');
    for (const body of [null, true, false, [], {}, '', [null, [null]], { a: null, b: {} }]) {
      t.deepEqual(await echo(body), body);
    }
  });

  shared('numbers arrive exactly, whole ones up to 2^53 either way', async (t, stage) => {
    const echo = echoer(stage, 'numbers');
    const whole = [
      0,
      23,
      24,
      255,
      256,
      65_536,
      2 ** 31,
      2 ** 32 - 1,
      2 ** 32,
      2 ** 53 - 1,
      2 ** 53,
    ];
    const others = [0.1, 1e-300, 1.7976931348623157e308, Number.POSITIVE_INFINITY];
    const numbers = [...whole, ...others].flatMap((number) => [number, 0 - number]);
    t.deepEqual(await echo([...numbers, Number.NaN]), [...numbers, Number.NaN]);
    for (const number of numbers) t.is(await echo(number), number);
  });

  shared('text of every script arrives as it was', async (t, stage) => {
    const echo = echoer(stage, 'text');
    const texts = [
      '',
      '\0',
      'Zoë e\u0301',
      'Ж 日本 ا',
      '👩‍👩‍👧‍👦 𝒳',
      '\u{10ffff}',
      'ß'.repeat(5000),
    ];
    for (const text of texts) t.is(await echo(text), text);
    const keyed = Object.fromEntries(texts.map((text, i) => [text, i]));
    t.deepEqual(await echo(keyed), keyed);
  });

  shared(
    'values nested 60 deep arrive; what cannot travel is refused before it leaves',
    async (t, stage) => {
      const echo = echoer(stage, 'nested');
      let deep: unknown = 'bottom';
      for (let depth = 0; depth < 60; depth += 1) deep = depth % 2 === 0 ? [deep] : { deep };
      t.deepEqual(await echo(deep), deep);
      for (let depth = 0; depth < 10; depth += 1) deep = [deep];
      for (const body of [deep, new Date(), new Map(), 2n ** 70n]) {
        t.like(await t.throwsAsync(echo(body)), {
          code: 'InvalidArgument',
          side: 'local',
          maybeExecuted: false,
        });
      }
    },
  );

  shared('a list of 10,000 rows arrives whole and in order', async (t, stage) => {
    const echo = echoer(stage, 'rows');
    const rows = Array.from({ length: 10_000 }, (_, id) => ({
      id,
      name: `row ${id}`,
      on: id % 2 === 0,
    }));
    t.deepEqual(await echo(rows), rows);
  });

  shared('what a handler got stays as it was, though calls come after it', async (t, stage) => {
    const kept: Uint8Array[] = [];
    stage.serve('request', 'keep', ({ body }) => {
      kept.push(body as Uint8Array);
      return { body };
    });
    const sent = Array.from({ length: 50 }, (_, i) => randomBytes(i * 211));
    const answers: unknown[] = [];
    for (const body of sent) {
      answers.push((await stage.peer.request({ type: 'request', method: 'keep', body })).body);
    }
    t.deepEqual<unknown, unknown>(kept, sent);
    t.deepEqual<unknown, unknown>(answers, sent);
  });
}

/** Sends a body to the other node and gives what comes back of it. */
function echoer(stage: Stage, method: string): (body: unknown) => Promise<unknown> {
  stage.serve('request', method, ({ body }) => ({ body }));
  return async (body) => (await stage.peer.request({ type: 'request', method, body })).body;
}
