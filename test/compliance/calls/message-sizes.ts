/** Large messages: up to the limit, above it, and compressed. */
import { createHash, randomBytes } from 'node:crypto';
import type { CallsSuite } from '../calls-suite.js';

const LIMIT = 256 * 1024;
/** What a request or a response of bytes takes besides those. */
const MOST_OVERHEAD = 64;
/** So long a busy machine may take for megabytes. */
const PATIENT = { timeoutMs: 50_000 };

export function messageSizes({ own }: CallsSuite): void {
  own('messages of megabytes arrive whole, many at once and each way', {}, async (t, stage) => {
    stage.serve('request', 'hash', ({ body }) => ({ body: hashOf(body as Uint8Array) }));
    stage.serve('request', 'give', ({ body }) => ({ body: randomBytes(body as number) }));
    const bodies = Array.from({ length: 6 }, (_, i) => randomBytes(1_500_000 - i));
    const calls = bodies.map(async (body) => {
      const [up, down] = await Promise.all([
        stage.peer.request({ type: 'request', method: 'hash', body }, PATIENT),
        stage.peer.request({ type: 'request', method: 'give', body: body.length }, PATIENT),
      ]);
      t.is(up.body, hashOf(body));
      t.is((down.body as Uint8Array).length, body.length);
    });
    await Promise.all(calls);
  });

  own(
    'a message as large as the peer takes arrives, one byte more is refused here',
    { n2: { limits: { messageBytes: LIMIT } } },
    async (t, stage) => {
      stage.serve('request', 'size', ({ body }) => ({ body: (body as Uint8Array).length }));
      const call = (bytes: number) => {
        const body = randomBytes(bytes);
        return stage.peer.request({ type: 'request', method: 'size', body });
      };
      const most = await largest(call);
      t.true(most < LIMIT && most > LIMIT - MOST_OVERHEAD, String(most));
      t.like(await t.throwsAsync(call(most + 1)), {
        code: 'MessageTooLarge',
        side: 'local',
        retryable: false,
        maybeExecuted: false,
      });
      t.is((await call(most)).body, most);
      const oneWay = { type: 'request', method: 'size', body: randomBytes(LIMIT) } as const;
      t.like(await t.throwsAsync(stage.peer.send(oneWay)), {
        code: 'MessageTooLarge',
        maybeExecuted: false,
      });
      t.is(stage.connectionBack.calls.handlerErrors, 0);
    },
  );

  own(
    'an answer as large as the caller takes arrives, one byte more fails the call',
    { n1: { limits: { messageBytes: LIMIT } } },
    async (t, stage) => {
      stage.serve('request', 'give', ({ body }) => ({ body: randomBytes(body as number) }));
      const call = (body: number) => stage.peer.request({ type: 'request', method: 'give', body });
      const most = await largest(call);
      t.true(most < LIMIT && most > LIMIT - MOST_OVERHEAD, String(most));
      t.like(await t.throwsAsync(call(most + 1)), {
        code: 'MessageTooLarge',
        side: 'remote',
        retryable: false,
        maybeExecuted: true,
      });
      t.is(((await call(most)).body as Uint8Array).length, most);
    },
  );

  for (const compression of ['lz4', 'zstd'] as const) {
    const compressions = [compression];
    own(
      `what ${compression} makes smaller travels smaller, both ways, in order`,
      {
        n1: { compression: { algorithms: compressions } },
        n2: { compression: { algorithms: compressions } },
      },
      async (t, stage) => {
        stage.serve('request', 'm', ({ body }) => ({ body }));
        const bytes = () => stage.connection.bytes.sent + stage.connection.bytes.received;
        const bodies = ['x'.repeat(100), 'compress me '.repeat(1000), 'and me '.repeat(100_000)];
        for (const body of bodies) {
          const before = bytes();
          const calls = Array.from({ length: 5 }, () =>
            stage.peer.request({ type: 'request', method: 'm', body }),
          );
          for (const reply of await Promise.all(calls)) t.is(reply.body, body);
          const onWire = bytes() - before;
          if (body.length > 4096) t.true(onWire < body.length, `${onWire} for 10 × ${body.length}`);
          else t.true(onWire > 10 * body.length);
        }
        const noise = randomBytes(50_000);
        const before = bytes();
        const reply = await stage.peer.request({ type: 'request', method: 'm', body: noise });
        t.deepEqual(reply.body, noise);
        t.true(bytes() - before > 2 * noise.length);
      },
    );
  }

  own(
    'nodes without a compression in common send plain',
    { n1: { compression: { algorithms: ['lz4'] } }, n2: { compression: { algorithms: ['zstd'] } } },
    async (t, stage) => {
      stage.serve('request', 'm', ({ body }) => ({ body }));
      const body = 'plain '.repeat(10_000);
      t.is((await stage.peer.request({ type: 'request', method: 'm', body })).body, body);
      t.true(stage.connection.bytes.sent > body.length);
    },
  );
}

/** The most bytes within {@link MOST_OVERHEAD} of the limit with which the call succeeds. */
async function largest(call: (bytes: number) => Promise<unknown>): Promise<number> {
  for (let bytes = LIMIT; bytes > LIMIT - MOST_OVERHEAD; bytes -= 1) {
    const succeeded = await call(bytes).then(
      () => true,
      () => false,
    );
    if (succeeded) return bytes;
  }
  throw new Error('no call has succeeded');
}

function hashOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
