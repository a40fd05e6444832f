/** Suite `bulk`: many bytes one way in one stream, over loopback. */
import { ETHERNET_DATAGRAM_BYTES } from '../../../src/transport/quic/io/packet.js';
import { type Entrant, entrantsOf, Field, LOOPBACK } from '../field.js';
import type { FigureTable, Suite, SuiteFindings, SuiteOptions } from './suite.js';

const WORKS = {
  loopback: 'one way, datagrams as loopback carries them',
  path: 'one way, datagrams of 1,452 bytes',
};

const TOTAL_BYTES = 256_000_000;
const QUICK_BYTES = 64_000_000;
/** Long enough for the compiler to be done with those who have much code. */
const WARM_UP_BYTES = { loopback: 256_000_000, path: 64_000_000 };
const QUICK_WARM_UP_BYTES = { loopback: 128_000_000, path: 32_000_000 };
const ROUND_LIMIT_MS = 60_000;

export const bulkSuite: Suite = {
  name: 'bulk',
  title: 'Bulk transfer over loopback',
  works: WORKS,
  targets: [
    { work: 'loopback', of: 'quicmesh-quic', to: 'bare-quic', atLeast: 0.9 },
    { work: 'loopback', of: 'quicmesh-quic', to: 'grpc-js', atLeast: 1.2 },
    { work: 'loopback', of: 'quicmesh-auto', to: 'bare-tls', atLeast: 0.85 },
    { work: 'loopback', of: 'quicmesh-tcp', to: 'bare-tls', atLeast: 0.75 },
    { work: 'path', of: 'quicmesh-quic', to: 'bare-quic', atLeast: 1.2 },
  ],
  async run(options): Promise<SuiteFindings> {
    const tables: FigureTable[] = [];
    const notes: string[] = [];
    const entrantsFor: Record<keyof typeof WORKS, Entrant[]> = {
      loopback: entrantsOf(options),
      path: entrantsOf(options, ['quicmesh-quic', 'bare-quic', 'bare-quic-batched']).map(
        (entrant) => ({
          ...entrant,
          maxDatagramBytes: ETHERNET_DATAGRAM_BYTES,
        }),
      ),
    };
    for (const work of ['loopback', 'path'] as const) {
      if (!options.wants(work) || entrantsFor[work].length === 0) continue;
      const { table, profile } = await measure(work, entrantsFor[work], options);
      tables.push(table);
      notes.push(...profile);
    }
    return { tables, notes };
  },
};

async function measure(
  work: keyof typeof WORKS,
  entrants: readonly Entrant[],
  options: SuiteOptions,
): Promise<{ table: FigureTable; profile: string[] }> {
  const { quick, rounds } = options;
  const wantedBytes = quick ? QUICK_BYTES : TOTAL_BYTES;
  const warmUpBytes = quick ? QUICK_WARM_UP_BYTES : WARM_UP_BYTES;
  const suite = work === 'path' ? 'bulk-path' : 'bulk';
  await using field = await Field.start({ suite, entrants, host: LOOPBACK }, options);
  await field.startProfiles();
  const title = `${wantedBytes / 1e6} MB ${WORKS[work]}`;
  const { mbPerS } = await field.rounds(
    title,
    ['mbPerS'],
    rounds ?? (quick ? 3 : 7),
    async (pair, round) => {
      const totalBytes = pair.survivableUpload(
        round === 'warm-up' ? warmUpBytes[work] : wantedBytes,
      );
      const upload = { kind: 'upload', totalBytes } as const;
      const { elapsedMs } = await pair.askClient(upload, ROUND_LIMIT_MS);
      return { mbPerS: totalBytes / elapsedMs / 1000 };
    },
  );
  const table: FigureTable = { work, title, unit: 'MB/s', better: 'higher', rows: mbPerS };
  return { table, profile: await field.stopProfiles() };
}
