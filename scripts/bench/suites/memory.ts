/** Suite `memory`: what an idle connection takes, of memory and of time, on either side. */
import { setTimeout as sleep } from 'node:timers/promises';
import { contenderEntry } from '../contenders/registry.js';
import { entrantsOf, Field, LOOPBACK, type Pair } from '../field.js';
import type { Usage } from '../protocol.js';
import type { FigureRow, Suite, SuiteFindings, SuiteOptions } from './suite.js';

const WORKS = {
  server: 'resident memory of an idle connection, server',
  client: 'resident memory of an idle connection, client',
  cpu: 'CPU time of 1,000 idle connections, both sides together',
};

type Figures = Record<keyof typeof WORKS, number>;

/**
 * Opened before the memory is first looked at: code that has run, tables that have grown, memory that is reused. V8's young
 * generation grows by some twenty megabytes with the first thousand handshakes, and stays so, whatever is opened from then on.
 */
const FIRST_CONNECTIONS = 1000;
/** What the time of idle connections is told of. */
const THOUSAND = 1000;
const CONNECT_LIMIT_MS = 60_000;
const ASK_LIMIT_MS = 10_000;
/** What the last handshakes left behind is done and collected after so long. */
const SETTLE_MS = 1500;

export const memorySuite: Suite = {
  name: 'memory',
  title: 'Idle connections',
  works: WORKS,
  targets: [
    { work: 'server', of: 'quicmesh-quic', atMost: 60 },
    { work: 'client', of: 'quicmesh-quic', atMost: 60 },
    { work: 'server', of: 'quicmesh-tcp', beyond: 'bare-tls', atMost: 12 },
    { work: 'client', of: 'quicmesh-tcp', beyond: 'bare-tls', atMost: 12 },
    { work: 'cpu', of: 'quicmesh-quic', atMost: 0.5 },
    { work: 'cpu', of: 'quicmesh-tcp', atMost: 0.5 },
  ],
  async run(options): Promise<SuiteFindings> {
    const { quick, rounds } = options;
    const connections = quick ? 200 : 1000;
    const samples = new Map<string, Figures[]>();
    const remarks = new Map<string, string | undefined>();
    const entrants = entrantsOf(options, [
      'quicmesh-quic',
      'quicmesh-tcp',
      'bare-tls',
      'bare-quic',
    ]);
    const count = rounds ?? (quick ? 1 : 3);
    for (let round = 1; round <= count; round += 1) {
      options.tell(`memory: ${connections} connections, round ${round} of ${count}`);
      // New processes each time: memory once taken is not given back.
      await using field = await Field.start({ suite: 'memory', entrants, host: LOOPBACK }, options);
      for (const [pair, figures] of await measure(field, connections, options)) {
        samples.set(pair.name, [...(samples.get(pair.name) ?? []), figures]);
      }
      for (const pair of field.pairs) remarks.set(pair.name, pair.remark);
    }
    const rowsOf = (figure: keyof Figures): FigureRow[] =>
      entrants.map(({ name, contender }) => ({
        name,
        samples: (samples.get(name) ?? []).map((figures) => figures[figure]),
        limit: contenderEntry(contender).family === 'quic' ? 'bare-quic' : 'bare-tls',
        remark: remarks.get(name),
      }));
    const table = (work: keyof typeof WORKS, unit: string) =>
      ({ work, title: WORKS[work], unit, better: 'lower', rows: rowsOf(work) }) as const;
    return {
      tables: [table('server', 'KB'), table('client', 'KB'), table('cpu', '% of a core')],
      notes: [
        `${connections} connections beside the first ${FIRST_CONNECTIONS}; 1 KB is 1,000 bytes`,
      ],
    };
  },
};

async function measure(
  field: Field,
  connections: number,
  { quick, signal }: SuiteOptions,
): Promise<Map<Pair, Figures>> {
  const taken = new Map<Pair, { before: Usages; after: Usages }>();
  for (const pair of field.pairs) {
    await pair.attempt(async () => {
      // One is open since the start.
      await connect(pair, FIRST_CONNECTIONS - 1);
      await sleep(SETTLE_MS, undefined, { signal });
      const before = await usages(pair, true);
      await connect(pair, connections);
      await sleep(SETTLE_MS, undefined, { signal });
      taken.set(pair, { before, after: await usages(pair, true) });
    });
  }
  // All are idle at the same time; every keep-alive of ten seconds falls into it.
  await sleep(quick ? 10_500 : 21_000, undefined, { signal });
  const measured = new Map<Pair, Figures>();
  for (const [pair, { before, after }] of taken) {
    await pair.attempt(async () => {
      const later = await usages(pair, false);
      const kilobytes = (side: 'server' | 'client') =>
        (after[side].residentBytes - before[side].residentBytes) / connections / 1000;
      const percent = (side: 'server' | 'client') =>
        (100 * (later[side].cpuMs - after[side].cpuMs)) / (later[side].atMs - after[side].atMs);
      measured.set(pair, {
        server: kilobytes('server'),
        client: kilobytes('client'),
        cpu:
          (THOUSAND * (percent('server') + percent('client'))) / (connections + FIRST_CONNECTIONS),
      });
    });
  }
  return measured;
}

interface Usages {
  readonly server: Usage;
  readonly client: Usage;
}

async function usages(pair: Pair, collectGarbage: boolean): Promise<Usages> {
  const command = { kind: 'usage', collectGarbage } as const;
  return {
    server: await pair.askServer(command, ASK_LIMIT_MS),
    client: await pair.askClient(command, ASK_LIMIT_MS),
  };
}

async function connect(pair: Pair, count: number): Promise<void> {
  await pair.askClient({ kind: 'connect', count }, CONNECT_LIMIT_MS);
}
