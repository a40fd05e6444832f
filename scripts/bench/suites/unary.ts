/** Suite `unary`: calls that carry bytes there and back, over loopback. */
import { entrantsOf, Field, LOOPBACK } from '../field.js';
import type { EchoLoad } from '../protocol.js';
import type { FigureTable, Suite, SuiteFindings, SuiteOptions } from './suite.js';

const WORKS = {
  many: '128 B, 64 at once',
  single: '128 B, one at a time, p50',
  'single-p99': '128 B, one at a time, p99',
  large: '64 KiB, 16 at once',
};

const SMALL_BYTES = 128;
const LARGE_BYTES = 64 * 1024;
/** Long enough for the compiler to be done with those who have much code. */
const WARM_UP_MS = 1000;
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
    { work: 'single', of: 'quicmesh-quic', to: 'bare-quic', atMost: 1.2 },
    { work: 'single', of: 'quicmesh-tcp', to: 'bare-tls', atMost: 1.4 },
    { work: 'large', of: 'quicmesh-quic', to: 'grpc-js', atLeast: 2 },
    { work: 'large', of: 'quicmesh-tcp', to: 'grpc-js', atLeast: 2 },
  ],
  async run(options): Promise<SuiteFindings> {
    const entrants = entrantsOf(options);
    await using field = await Field.start({ suite: 'unary', entrants, host: LOOPBACK }, options);
    await field.startProfiles();
    const tables: FigureTable[] = [];
    if (options.wants('many')) {
      const { callsPerS } = await measure(field, options, WORKS.many, {
        payloadBytes: SMALL_BYTES,
        concurrency: 64,
      });
      const rows = callsPerS;
      tables.push({ work: 'many', title: WORKS.many, unit: 'calls/s', better: 'higher', rows });
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

function measure(
  field: Field,
  { quick, rounds }: SuiteOptions,
  title: string,
  load: Omit<EchoLoad, 'durationMs'>,
) {
  const figures = ['callsPerS', 'mbPerS', 'p50Us', 'p99Us'] as const;
  return field.rounds(title, figures, rounds ?? (quick ? 9 : 15), async (pair, round) => {
    const durationMs = round === 'warm-up' ? WARM_UP_MS : quick ? 250 : 800;
    const concurrency = pair.survivableConcurrency(load.concurrency);
    const command = { kind: 'echo', ...load, concurrency, durationMs } as const;
    const { calls, elapsedMs, p50Us, p99Us } = await pair.askClient(command, durationMs + GRACE_MS);
    const callsPerS = (calls / elapsedMs) * 1000;
    return { callsPerS, mbPerS: (callsPerS * load.payloadBytes) / 1e6, p50Us, p99Us };
  });
}
