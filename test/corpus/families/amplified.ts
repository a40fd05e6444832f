/** Few bytes that become many, or take long to decode, from a peer that keeps to the rules otherwise. */
import { stat } from 'node:fs/promises';
import { collectGarbage } from '../../helpers/collect-garbage.js';
import { algorithms } from '../../protocol/receive.js';
import { END, payloadOf, uint, writeFrame } from '../bytes.js';
import type { Case, Family, Outcome, Scene, Step } from '../case.js';
import { until } from '../wait.js';

const ids = (count: number) => Array.from({ length: count }, (_, i) => 3 + 2 * i);

/** Calls on that many streams, each with that payload, compressed once. */
async function calls(name: 'lz4' | 'zstd', count: number, payload: Buffer): Promise<Step[]> {
  const { id: compression, compress } = algorithms[name];
  const packed = Buffer.concat([uint(4, payload.length), await compress(payload)]);
  return ids(count).map((id) => ({
    do: 'send',
    to: id,
    bytes: writeFrame(END | (compression << 4), id, packed),
    fin: true,
  }));
}

/** A ping with a field that nobody knows: it has to be decoded, and is answered by a few bytes. */
const large = payloadOf({ type: 'ping', pad: Buffer.alloc(16_000_000) });
const held = payloadOf({ type: 'request', method: 'wait', body: Buffer.alloc(16_000_000) });
const items = (item: unknown) =>
  payloadOf({ type: 'ping', pad: new Array<unknown>(131_000).fill(item) });

const servedOn = (count: number): Outcome => ({ kind: 'served', on: 1 + 2 * count });

/** A call of the process's file system made behind 60 jobs for the peer is done long before these are. */
async function readsFiles({ client }: Scene): Promise<void> {
  await until(() => client.answers.has(3));
  await stat('.');
  const answered = ids(60).filter((id) => client.answers.has(id)).length;
  if (answered > 40) throw new Error(`a file was looked up only after ${answered} messages`);
}

/**
 * The process holds a few of them at a time. All of them are a gigabyte.
 * What nobody holds is collected first: when that would happen by itself is the engine's affair.
 */
function watchMemory(): { readonly begin: Step; readonly end: Step } {
  let before = 0;
  return {
    begin: {
      do: 'run',
      program: async () => {
        before = process.memoryUsage().rss;
      },
    },
    end: {
      do: 'run',
      program: async ({ client }) => {
        let most = 0;
        while (!ids(60).every((id) => client.answers.has(id)) && !client.isOver) {
          collectGarbage();
          most = Math.max(most, process.memoryUsage().rss - before);
          await new Promise((resolve) => setTimeout(resolve, 10));
        }
        if (most > 400_000_000) throw new Error(`the process grew by ${most} bytes`);
      },
    },
  };
}

const cases: Case[] = [];
for (const name of ['lz4', 'zstd'] as const) {
  const memory = watchMemory();
  cases.push(
    {
      name: `60 messages of 16 MB at once, compressed by ${name}`,
      steps: [memory.begin, ...(await calls(name, 60, large)), memory.end],
      outcome: servedOn(60),
    },
    {
      name: `calls of 16 MB by ${name} that take their time: a fourth would be beyond the bytes of a connection`,
      steps: await calls(name, 4, held),
      outcome: { kind: 'refusedOne', code: 'Overloaded', of: ids(4) },
    },
  );
  for (const [what, item] of [
    ['empty byte strings', Buffer.alloc(0)],
    ['byte strings of one byte', Buffer.of(7)],
    ['empty lists', []],
    ['texts', 'é'],
  ] as const) {
    cases.push({
      name: `6 lists of 131,000 ${what}, compressed by ${name}`,
      steps: await calls(name, 6, items(item)),
      outcome: servedOn(6),
    });
  }
}
cases.push({
  name: '60 messages of 16 MB, compressed by zstd: the file system is not kept waiting',
  steps: [...(await calls('zstd', 60, large)), { do: 'run', program: readsFiles }],
  outcome: servedOn(60),
});

export const amplified: Family = { name: 'amplified', cases };
