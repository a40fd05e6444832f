/** Suite `unary`: calls that carry bytes there and back, over loopback. */
import { CONTENDER_NAMES, type ContenderName, contenderEntry } from '../contenders/registry.js';
import { entrantsOf, Field, LOOPBACK, type Pair } from '../field.js';
import type { EchoLoad } from '../protocol.js';
import type { TargetSpec } from '../targets.js';
import type { FigureTable, Suite, SuiteFindings, SuiteOptions } from './suite.js';

const WORKS = {
  many: '128 B, 64 at once',
  'many-256': '128 B, 256 at once',
  'many-1024': '128 B, 1,024 at once',
  'many-4096': '128 B, 4,096 at once',
  single: '128 B, one at a time, p50',
  'single-p99': '128 B, one at a time, p99',
  large: '64 KiB, 16 at once',
};

const SMALL_BYTES = 128;
const LARGE_BYTES = 64 * 1024;
const FEW = 64;
/** More at once than a connection has streams for, at the end: the rest waits for its turn. */
const MANY = [
  { work: 'many-256', concurrency: 256 },
  { work: 'many-1024', concurrency: 1024 },
  { work: 'many-4096', concurrency: 4096 },
] as const;
/** With both transports it makes its calls as with QUIC alone, over one machine. */
const CONTENDERS = CONTENDER_NAMES.filter((name) => name !== 'quicmesh-auto');
/** Long enough for the compiler to be done with those who have much code. */
const WARM_UP_MS = 1000;
/** What has run before in a quick run is compiled. */
const QUICK_WARM_UP_MS = 500;
/** Beyond the duration of a round. */
const GRACE_MS = 12_000;

export const unarySuite: Suite = {
  name: 'unary',
  title: 'Calls over loopback',
  works: WORKS,
  targets: [
    { work: 'many', of: 'quicmesh-quic', to: 'bare-quic', atLeast: 0.9 },
    { work: 'many', of: 'quicmesh-quic', to: 'grpc-js', atLeast: 3.5 },
    { work: 'many', of: 'quicmesh-quic', to: 'http2', atLeast: 1.5 },
    { work: 'many', of: 'quicmesh-tcp', to: 'bare-tls', atLeast: 0.4 },
    { work: 'many', of: 'quicmesh-tcp', to: 'grpc-js', atLeast: 12 },
    ...MANY.flatMap(({ work }): TargetSpec[] => [
      { work, of: 'quicmesh-quic', toWork: 'many', atLeast: 0.9 },
      { work, of: 'quicmesh-tcp', toWork: 'many', atLeast: 0.9 },
      { work, of: 'quicmesh-quic', to: 'bare-quic', atLeast: 0.85 },
    ]),
    { work: 'single', of: 'quicmesh-quic', to: 'bare-quic', atMost: 1.2 },
    { work: 'single', of: 'quicmesh-tcp', to: 'bare-tls', atMost: 1.4 },
    { work: 'large', of: 'quicmesh-quic', to: 'grpc-js', atLeast: 2 },
    { work: 'large', of: 'quicmesh-tcp', to: 'grpc-js', atLeast: 2 },
  ],
  async run(options): Promise<SuiteFindings> {
    const entrants = entrantsOf(options, CONTENDERS);
    await using field = await Field.start({ suite: 'unary', entrants, host: LOOPBACK }, options);
    await field.startProfiles();
    const tables: FigureTable[] = [];
    if (options.wants('many')) {
      const load = { payloadBytes: SMALL_BYTES, concurrency: FEW };
      const { callsPerS } = await measure(field, options, WORKS.many, load);
      tables.push(callTable('many', callsPerS));
    }
    for (const { work, concurrency } of MANY) {
      if (!options.wants(work)) continue;
      const load = { payloadBytes: SMALL_BYTES, concurrency };
      const { callsPerS } = await measure(field, options, WORKS[work], load, takesMany);
      tables.push(callTable(work, callsPerS));
    }
    if (options.wants('single') || options.wants('single-p99')) {
      const load = { payloadBytes: SMALL_BYTES, concurrency: 1 };
      const { p50Us, p99Us } = await measure(field, options, '128 B, one at a time', load);
      const latency = { unit: 'µs', better: 'lower' } as const;
      tables.push({ work: 'single', title: WORKS.single, ...latency, rows: p50Us });
      tables.push({ work: 'single-p99', title: WORKS['single-p99'], ...latency, rows: p99Us });
    }
    if (options.wants('large')) {
      const { mbPerS } = await measure(field, options, WORKS.large, {
        payloadBytes: LARGE_BYTES,
        concurrency: 16,
      });
      const title = `${WORKS.large}, each way`;
      tables.push({ work: 'large', title, unit: 'MB/s', better: 'higher', rows: mbPerS });
    }
    return { tables, notes: await field.stopProfiles() };
  },
};

function callTable(work: keyof typeof WORKS, rows: FigureTable['rows']): FigureTable {
  return { work, title: WORKS[work], unit: 'calls/s', better: 'higher', rows };
}

/** Who survives it; of the two loops over QUIC one is enough. */
function takesMany({ contender }: { readonly contender: ContenderName }): boolean {
  return contenderEntry(contender).atMost === undefined && contender !== 'bare-quic-batched';
}

function measure(
  field: Field,
  { quick, rounds }: SuiteOptions,
  title: string,
  load: Omit<EchoLoad, 'durationMs'>,
  takesPart?: (pair: Pair) => boolean,
) {
  const figures = ['callsPerS', 'mbPerS', 'p50Us', 'p99Us'] as const;
  const isMany = load.concurrency > FEW;
  const count = rounds ?? (quick ? (isMany ? 3 : 5) : 15);
  return field.rounds(
    title,
    figures,
    count,
    async (pair, round) => {
      // A round of many calls has to be long beside one of them.
      const roundMs = quick ? (isMany ? 500 : 250) : isMany ? 1500 : 800;
      const isFirst = title === WORKS.many || !quick;
      const durationMs = round !== 'warm-up' ? roundMs : isFirst ? WARM_UP_MS : QUICK_WARM_UP_MS;
      const concurrency = pair.survivableConcurrency(load.concurrency);
      const command = { kind: 'echo', ...load, concurrency, durationMs } as const;
      const answer = await pair.askClient(command, durationMs + GRACE_MS);
      const callsPerS = (answer.calls / answer.elapsedMs) * 1000;
      const { p50Us, p99Us } = answer;
      return { callsPerS, mbPerS: (callsPerS * load.payloadBytes) / 1e6, p50Us, p99Us };
    },
    { takesPart },
  );
}
