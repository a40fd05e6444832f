/** A hundred connections of one client that begin to carry bulk at the same moment: what finds the queue full. */
import { setTimeout as sleep } from 'node:timers/promises';
import { textOf } from '../../../src/base/realms.js';
import type { ContenderName } from '../contenders/registry.js';
import { type Entrant, entrantsOf, Field } from '../field.js';
import type { LinkCounts, OwnLink } from '../link/own-link.js';
import type { FigureTable, SuiteOptions } from './suite.js';

const SHAPE = { rttMs: 50, rateMbit: 100 } as const;
const CONTENDERS: readonly ContenderName[] = ['quicmesh-quic', 'bare-tls', 'bare-quic'];
const QUICK_CONTENDERS: readonly ContenderName[] = ['quicmesh-quic', 'bare-tls'];
const CONNECTIONS = 100;
const FIRST_MS = 1000;
const MEASURED_MS = 5000;
const QUICK_MEASURED_MS = 3000;
const CONNECT_LIMIT_MS = 60_000;

interface Outcome {
  /** In percent of the packets that came to the queue. */
  readonly first: number;
  readonly later: number;
  readonly mbitPerS: number;
}

export async function crowdTables(
  link: OwnLink,
  title: string,
  options: SuiteOptions,
): Promise<FigureTable[]> {
  const { quick, rounds, tell } = options;
  await link.shape(SHAPE);
  const entrants = entrantsOf(options, quick ? QUICK_CONTENDERS : CONTENDERS);
  const outcomes = new Map<Entrant, Outcome[]>(entrants.map((entrant) => [entrant, []]));
  const failures = new Map<Entrant, string>();
  const count = rounds ?? (quick ? 1 : 3);
  for (let round = 1; round <= count; round += 1) {
    for (const entrant of entrants) {
      if (failures.has(entrant)) continue;
      tell(`fairness: ${CONNECTIONS} connections, ${entrant.name}, round ${round} of ${count}`);
      try {
        outcomes.get(entrant)?.push(await play(link, entrant, options));
      } catch (thrown) {
        options.signal.throwIfAborted();
        failures.set(entrant, textOf(thrown));
      }
    }
  }
  const table = (
    work: string,
    what: string,
    unit: string,
    better: FigureTable['better'],
    figure: keyof Outcome,
  ): FigureTable => ({
    work,
    title: `${title}: ${what}`,
    unit,
    better,
    rows: entrants.map((entrant) => ({
      name: entrant.name,
      samples: (outcomes.get(entrant) ?? []).map((outcome) => outcome[figure]),
      remark: failures.get(entrant),
    })),
  });
  return [
    table('crowd', 'lost after the first second', '% of packets', 'lower', 'later'),
    table('crowd-first', 'lost in the first second', '% of packets', 'lower', 'first'),
    table('crowd-rate', 'carried after the first second', 'Mbit/s', 'higher', 'mbitPerS'),
  ];
}

async function play(link: OwnLink, entrant: Entrant, options: SuiteOptions): Promise<Outcome> {
  const { quick, signal } = options;
  const { host, namespaces } = link;
  const setting = { suite: 'fairness', entrants: [entrant], host, namespaces };
  await using field = await Field.start(setting, options);
  const before = (await link.count()).up;
  for (const pair of field.pairs) {
    await pair.attempt((one) =>
      one.askClient({ kind: 'saturate', count: CONNECTIONS }, CONNECT_LIMIT_MS),
    );
    if (pair.failure !== undefined) throw new Error(pair.failure);
  }
  // All were connected before the first of them began.
  await sleep(FIRST_MS, undefined, { signal });
  const [middle, beganMs] = [(await link.count()).up, performance.now()];
  await sleep(quick ? QUICK_MEASURED_MS : MEASURED_MS, undefined, { signal });
  const [after, endedMs] = [(await link.count()).up, performance.now()];
  return {
    first: lostPercent(before, middle),
    later: lostPercent(middle, after),
    mbitPerS: ((after.bytes - middle.bytes) * 8) / (endedMs - beganMs) / 1000,
  };
}

function lostPercent(before: LinkCounts, after: LinkCounts): number {
  const lost = after.full - before.full;
  return (100 * lost) / Math.max(1, lost + after.packets - before.packets);
}
