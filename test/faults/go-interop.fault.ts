/** A client on an independent QUIC stack, written from SPEC.md alone in Go, is served as the page says. */
import { randomBytes } from 'node:crypto';
import test from 'ava';
import { targetOf } from '../helpers/nodes.js';
import { until } from '../helpers/until.js';
import { startServing, untilStill } from '../interop/go-node.js';
import { REFUSALS, TOKEN, VIOLATIONS } from '../interop/go-refusals.js';
import { goInterop } from '../interop/go-setup.js';

const interop = goInterop(test);

const SECRET = 'a secret of the cluster';

interop('the sources of the client are formatted', async (t, { client }) => {
  t.is(await client.unformatted(), '');
});

interop('cold: every kind of call is answered', async (t, { run, seen }) => {
  await (await run('cold')).succeeded();
  t.true(seen.methods.includes('echo'));
});

interop(
  'calls that leave behind the handshake request are answered after it',
  async (t, { run, seen }) => {
    await (await run('pipelined')).succeeded();
    t.is(seen.methods.length, 63);
  },
);

interop(
  'resumed: a call that is safe to replay runs as 0-RTT data, another one waits',
  async (t, { run }) => {
    const scenario = await run('resumed');
    const resumed = { used0RTT: true, didResume: true, early: true, late: false };
    t.deepEqual(await scenario.said('resumed'), resumed);
    await scenario.succeeded();
  },
);

interop(
  'early data that a restarted node does not take is sent again',
  async (t, { node, run }) => {
    const scenario = await run('early-refused');
    await scenario.said('learned');
    const { port } = targetOf(node);
    await node.close();
    const { seen } = await startServing(t, { listen: { host: '127.0.0.1', port } });
    scenario.goOn();
    const resumed = { used0RTT: false, didResume: false, early: false, late: false };
    t.deepEqual(await scenario.said('resumed'), resumed);
    await scenario.succeeded();
    t.deepEqual(seen.methods, ['early', 'early']);
  },
);

interop('200 calls at once', async (t, { run, seen }) => {
  await (await run('parallel', { count: 200 })).succeeded();
  t.is(seen.methods.length, 200);
});

for (const maxStreams of [1, 7, 1024]) {
  interop(
    `60 calls of the node, of which the client takes ${maxStreams} at once`,
    async (t, { node, run }) => {
      const scenario = await run('called', { count: maxStreams });
      await scenario.said('ready');
      const peer = node.peer('n1');
      const bodies = Array.from({ length: 60 }, (_, i) => ({
        number: i,
        bytes: randomBytes(i * 99),
      }));
      const calls = bodies.map((body) =>
        peer?.request({ type: 'request', method: 'echo', body }, { timeoutMs: 60_000 }),
      );
      const answers = await Promise.all(calls);
      t.deepEqual(
        answers.map((answer) => answer?.body),
        bodies,
      );
      t.true((await peer?.ping()) !== undefined);
      scenario.goOn();
      const { atOnce } = (await scenario.said('called')) as { atOnce: number };
      t.true(atOnce <= maxStreams, `${atOnce} at once`);
      await scenario.succeeded();
    },
  );
}

interop('transfers of the node come back whole', async (t, { node, run }) => {
  const scenario = await run('called');
  await scenario.said('ready');
  const body = randomBytes(3_000_000);
  const back: Uint8Array[] = [];
  for await (const chunk of node.peer('n1')!.stream({ transferId: 'there' }, { body: [body] }))
    back.push(chunk);
  t.true(Buffer.concat(back).equals(body));
  scenario.goOn();
  await scenario.succeeded();
});

interop('transfers of 5 MB up, down and echoed, beside calls', async (t, { run }) => {
  const scenario = await run('both', { bytes: 5_000_000 });
  await scenario.said('ready');
  t.log(await scenario.said('transferred'));
  await t.notThrowsAsync(scenario.succeeded());
});

interop(
  'a client that changes its connection ID again and again gets fresh ones',
  async (t, { run }) => {
    // It takes another after some 10,000 packets.
    const scenario = await run('upload', { bytes: 60_000_000 });
    await scenario.said('ready');
    const { ids } = (await scenario.said('transferred')) as { ids: Record<string, number> };
    t.log(ids);
    t.true(ids.used! >= 3);
    t.true(ids.issued! >= ids.used! + 2, 'as many as it used but the first, and three to spare');
    await scenario.succeeded();
  },
);

interop('a transfer with a wrong checksum, or a gap, fails alone', async (t, { run }) => {
  await t.notThrowsAsync((await run('damaged')).succeeded());
});

interop('an upload goes on over the next connection', async (t, { run, seen }) => {
  const scenario = await run('resumed-upload', { bytes: 8_000_000 });
  await scenario.said('half');
  await until(() => seen.received > 0);
  scenario.goOn();
  const at = (await scenario.said('resumedAt')) as number;
  t.true(at > 0 && at <= 4_000_000, `${at}`);
  await scenario.succeeded();
  t.is(seen.received, 8_000_000);
});

interop('a download goes on over the next connection', async (t, { run }) => {
  const scenario = await run('resumed-download', { bytes: 8_000_000 });
  const at = (await scenario.said('resumedAt')) as number;
  t.true(at >= 4_000_000 && at < 8_000_000, `${at}`);
  await scenario.succeeded();
});

interop(
  'a transfer that waits for its reader gives way to the one that supersedes it',
  async (t, { run, seen }) => {
    const scenario = await run('superseded');
    await scenario.said('begun');
    await until(() => seen.waiting === 1);
    await untilStill(() => seen.yielded);
    scenario.goOn();
    t.log(`${await scenario.said('done')} ms`);
    t.like(await scenario.said('failed'), { where: 'reset', code: 'Cancelled', remote: true });
    await scenario.succeeded();
    t.true(seen.yielded < 64 * 1024 * 1024);
  },
);

for (const window of [1024, 20_000]) {
  interop(`a client whose windows are ${window} bytes`, async (t, { node, run }) => {
    const scenario = await run('tiny-windows', { window });
    await scenario.said('ready');
    const body = randomBytes(100_000);
    const calls = Array.from({ length: 5 }, () =>
      node.peer('n1')?.request({ type: 'request', method: 'echo', body }, { timeoutMs: 60_000 }),
    );
    for (const answer of await Promise.all(calls)) t.true(body.equals(answer?.body as Uint8Array));
    scenario.goOn();
    await scenario.succeeded();
  });
}

for (const algorithm of ['lz4', 'zstd']) {
  interop(`messages compressed with ${algorithm} by either side`, async (t, { run }) => {
    await t.notThrowsAsync((await run('compressed', { kind: algorithm })).succeeded());
  });
}

interop(
  'no checksums where neither side wants them',
  async (t, { run }) => {
    await t.notThrowsAsync((await run('plain')).succeeded());
  },
  { checksum: false },
);

interop(
  'a Retry to first connection IDs of 8 to 20 bytes',
  async (t, { node, run }) => {
    for (let bytes = 8; bytes <= 20; bytes += 1) {
      const scenario = await run('retry', { bytes });
      t.like(await scenario.said('connected'), { firstIdBytes: bytes, retries: 1 });
      await scenario.succeeded();
    }
    t.is(node.counters.transports.quic?.retriesSent, 13);
  },
  { admission: { retry: 'always' } },
);

interop('either side answers what the other asks for by proofs', async (t, { run }) => {
  const scenario = await run('proofs', { bytes: 20_000_000 });
  t.log(`${await scenario.said('proofs')} proofs asked in 20 MB`);
  await t.notThrowsAsync(scenario.succeeded());
});

for (const [title, knock] of [
  ['does not knock', { knocks: 'none' }],
  ['knocks late', { knocks: 'late' }],
  ['knocks as of another cluster', { 'knock-cluster': 'Test' }],
  ['knocks at another node', { 'node-id': 'n3' }],
  ['knocks by a secret where there is none', { secret: SECRET }],
] as const) {
  interop(`a client that ${title} hears nothing`, async (t, { node, run }) => {
    const scenario = await run('silence', knock);
    await scenario.said('unanswered');
    await scenario.succeeded();
    const quic = node.counters.transports.quic ?? {};
    t.true((quic.droppedWithoutKnock ?? 0) >= 2);
    t.is(quic.datagramsSent, 0);
  });
}

interop(
  'a client that has the secret is served, and one that has the CA alone hears nothing',
  async (t, { run }) => {
    await t.notThrowsAsync((await run('cold', { secret: SECRET })).succeeded());
    const scenario = await run('silence');
    await scenario.said('unanswered');
    await scenario.succeeded();
  },
  { admission: { secret: SECRET } },
);

for (const what of ['call', 'upload', 'download']) {
  // The FIN of an upload that nobody reads waits behind its data, and tells of nothing.
  const ways = what === 'upload' ? [] : ['FIN'];
  for (const way of ['notice', 'RESET_STREAM', 'STOP_SENDING', 'both', ...ways]) {
    interop(
      `the handler of a waiting ${what} hears that it is cancelled by ${way}`,
      async (t, { run, seen }) => {
        const scenario = await run('cancel', { kind: `${what} by ${way}` });
        await scenario.said('begun');
        await until(() => seen.waiting === 1);
        await untilStill(() => seen.yielded);
        scenario.goOn();
        await until(() => seen.endedBy.length > 0);
        t.deepEqual(seen.endedBy, [way === 'FIN' ? 'StreamReset' : 'DeadlineExceeded']);
        await scenario.said('cancelled');
        scenario.goOn();
        await scenario.succeeded();
      },
    );
  }
}

interop('notice, byte and FIN in one datagram are told apart', async (t, { run, seen }) => {
  const scenario = await run('cancel-at-once', { count: 50 });
  await scenario.said('begun');
  await until(() => seen.waiting === 50);
  scenario.goOn();
  await until(() => seen.endedBy.length === 50);
  t.deepEqual(new Set(seen.endedBy), new Set(['DeadlineExceeded']));
  await scenario.succeeded();
});

for (const what of ['call', 'transfer']) {
  interop(`a ${what} that the node cancels is reset with its code`, async (t, { node, run }) => {
    const scenario = await run('cancelled');
    await scenario.said('ready');
    const [peer, abort] = [node.peer('n1')!, new AbortController()];
    const { signal } = abort;
    const over =
      what === 'call'
        ? peer.request({ type: 'request', method: 'hang' }, { signal })
        : drain(peer.stream({ transferId: 'there' }, { body: endless(), signal }));
    await scenario.said('called');
    abort.abort();
    await t.throwsAsync(async () => over, { code: 'Cancelled' });
    t.like(await scenario.said('failed'), { where: 'reset', code: 'Cancelled', remote: true });
    scenario.goOn();
    await scenario.succeeded();
  });
}

interop('a client that goes away loses no call', async (t, { run, seen }) => {
  const scenario = await run('go-away');
  t.is(await scenario.said('gone'), 0);
  await until(() => seen.methods.includes('hold'));
  seen.release();
  await t.notThrowsAsync(scenario.succeeded());
});

interop(
  'an idle connection of a silent client is kept by PING frames, beyond its idle timeout',
  async (t, { run }) => {
    const scenario = await run('idle', { count: 8 });
    t.true(((await scenario.said('kept')) as number) > 1500);
    await scenario.succeeded();
  },
  { timeouts: { keepAliveMs: 300, idleMs: 1500 } },
);

for (const kind of ['answering', 'silent']) {
  interop(
    `a node that closes goes away from a client that is ${kind}, and loses no call`,
    async (t, { node, run, seen }) => {
      const scenario = await run('gone-away', { kind });
      await scenario.said('held');
      await until(() => seen.methods.includes('hold'));
      const closing = node.close();
      t.is(await scenario.said('gone'), 0);
      seen.release();
      t.like(await scenario.said('failed'), { where: 'close', code: 'GoingAway', remote: true });
      await scenario.succeeded();
      await closing;
    },
  );
}

for (const { title, options, code } of REFUSALS) {
  interop(
    `refused: a client ${title}`,
    async (t, { run, seen }) => {
      const scenario = await run('refused', await options?.());
      t.like(await scenario.said('failed'), { code, remote: true });
      await scenario.succeeded();
      t.deepEqual(seen.methods, []);
    },
    { auth: { token: TOKEN } },
  );
}

interop('refused: a client that uses a nonce again', async (t, { run }) => {
  const scenario = await run('replayed-nonce');
  t.like(await scenario.said('failed'), { code: 'NonceReplayed', remote: true });
  await scenario.succeeded();
});

interop(
  'the client refuses a node whose certificate does not name the one it dialed',
  async (t, { run }) => {
    const scenario = await run('refused', { 'node-id': 'n3', knocks: 'unnamed' });
    t.like(await scenario.said('failed'), { code: 'CertificateNameMismatch', remote: false });
    await scenario.succeeded();
  },
);

for (const [kind, code] of Object.entries(VIOLATIONS)) {
  interop(`closed: a client that breaks a rule: ${kind}`, async (t, { run }) => {
    const scenario = await run('violation', { kind });
    t.like(await scenario.said('failed'), { where: 'close', code, remote: true });
    await scenario.succeeded();
  });
}

/** Bytes for as long as somebody takes them. */
async function* endless(): AsyncGenerator<Uint8Array> {
  for (;;) yield new Uint8Array(64 * 1024);
}

async function drain(bytes: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const _ of bytes);
}
