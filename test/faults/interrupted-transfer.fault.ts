/** 100 MB that are interrupted three times in each direction arrive whole, and next to nothing is sent twice. */
import { createHash, randomInt } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { type BreakableWay, startBreakable } from '../helpers/interruptions.js';
import { TEST_TRANSPORTS } from '../helpers/nodes.js';
import { SeededBytes } from '../helpers/seeded-bytes.js';

const TOTAL_BYTES = 100_000_000;
const INTERRUPT_AT = [25_000_000, 50_000_000, 75_000_000];
/** What may be on its way, or unread, when a connection is lost. */
const WINDOW_BYTES = 8_000_000;

const PROTOCOL = { quic: 'udp', tcp: 'tcp' } as const;

interface Progress {
  received: number;
  interruptions: number;
}

for (const transport of TEST_TRANSPORTS) {
  test(`${transport}: an upload of 100 MB goes on after three interruptions`, async (t) => {
    const way = await startBreakable(t, transport);
    const bytes = seeded(t);
    const hash = createHash('sha256');
    const progress = { received: 0, interruptions: 0 };
    way.n2.handle('dataTransfer', async (_request, context) => {
      context.resumeAt(progress.received);
      for await (const chunk of context.body) {
        hash.update(chunk);
        await received(chunk, progress, way);
      }
      return [Buffer.from(hash.digest('hex'))];
    });
    const offsets: number[] = [];
    const peer = await way.n1.connect(way.target);
    const answer: Uint8Array[] = [];
    const body = (offset: number) => {
      offsets.push(offset);
      return bytes.from(offset);
    };
    for await (const chunk of peer.stream({ transferId: 'up' }, { resume: true, body }))
      answer.push(chunk);
    t.is(Buffer.concat(answer).toString(), bytes.sha256);
    t.is(progress.received, TOTAL_BYTES);
    assertSentOnce(t, {
      offsets,
      progress,
      bytes,
      linkBytes: way.proxy.counters[PROTOCOL[transport]].toServer.forwardedBytes,
    });
  });

  test(`${transport}: a download of 100 MB goes on after three interruptions`, async (t) => {
    const way = await startBreakable(t, transport);
    const bytes = seeded(t);
    const offsets: number[] = [];
    way.n2.handle('dataTransfer', ({ offset }) => {
      offsets.push(offset);
      return bytes.from(offset);
    });
    const hash = createHash('sha256');
    const progress = { received: 0, interruptions: 0 };
    const peer = await way.n1.connect(way.target);
    for await (const chunk of peer.stream({ transferId: 'down' }, { resume: true })) {
      hash.update(chunk);
      await received(chunk, progress, way);
    }
    t.is(hash.digest('hex'), bytes.sha256);
    t.is(progress.received, TOTAL_BYTES);
    assertSentOnce(t, {
      offsets,
      progress,
      bytes,
      linkBytes: way.proxy.counters[PROTOCOL[transport]].toClient.forwardedBytes,
    });
  });
}

function seeded(t: ExecutionContext): SeededBytes {
  const seed = randomInt(2 ** 32);
  t.log(`seed ${seed}`);
  return new SeededBytes(seed, TOTAL_BYTES);
}

/** Breaks the connection when so much has come. */
async function received(chunk: Uint8Array, progress: Progress, way: BreakableWay): Promise<void> {
  progress.received += chunk.length;
  const next = INTERRUPT_AT[progress.interruptions];
  if (next === undefined || progress.received < next) return;
  progress.interruptions += 1;
  await way.interrupt();
}

function assertSentOnce(
  t: ExecutionContext,
  run: {
    readonly offsets: readonly number[];
    readonly progress: Progress;
    readonly bytes: SeededBytes;
    readonly linkBytes: number;
  },
): void {
  const { offsets, progress, bytes, linkBytes } = run;
  t.log(
    `from ${offsets.join(', ')}: ${bytes.readBytes} bytes were read, ${linkBytes} came over the link, with all that TLS or QUIC adds`,
  );
  t.is(progress.interruptions, INTERRUPT_AT.length);
  // A busy machine may take a connection for dead, and interrupt once more.
  const resumed = offsets.slice(1);
  t.true(resumed.length >= INTERRUPT_AT.length);
  t.true(
    INTERRUPT_AT.every((least) =>
      resumed.some((offset) => offset >= least && offset < least + WINDOW_BYTES),
    ),
  );
  const most = TOTAL_BYTES + resumed.length * WINDOW_BYTES;
  for (const sent of [bytes.readBytes, linkBytes]) {
    t.true(sent >= TOTAL_BYTES && sent < most, `${sent} bytes`);
  }
}
