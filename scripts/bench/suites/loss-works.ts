/** What the suite `loss` measures over a link, whichever that is. */
import type { ContenderName } from '../contenders/registry.js';
import type { Field, Pair } from '../field.js';
import type { Shape } from '../link/shape.js';
import type { FigureRow, FigureTable, SuiteOptions } from './suite.js';

const PAYLOAD_BYTES = 128;
const CONCURRENCY = 64;
const CALLS_MS = 4000;
const QUICK_CALLS_MS = 2000;
const WARM_UP_MS = 700;
/** Beyond the duration of a round: whatever is lost has come by then, or never comes. */
const GRACE_MS = 15_000;

const PER_SECOND = 100;
/** Over TCP both copies would wait for the same segment. */
const COPIED = 'quicmesh-quic';
const CONTROL_CALLS = 2000;
const QUICK_CONTROL_CALLS = 500;
const CONTROL_WARM_UP_CALLS = 50;

const BULK_BYTES = [
  { upToMbit: 10, bytes: 4_000_000, quickBytes: 2_000_000 },
  { upToMbit: 100, bytes: 16_000_000, quickBytes: 8_000_000 },
  { upToMbit: Number.POSITIVE_INFINITY, bytes: 32_000_000, quickBytes: 16_000_000 },
];
/** Their windows of 64 KB make them slow over any distance, at a rate that a part of the bytes tells as well. */
const NARROW: readonly ContenderName[] = ['grpc-js', 'http2'];
const NARROW_PART = 1 / 4;
const BULK_WARM_UP_BYTES = 500_000;
const UPLOAD_LIMIT_MS = 90_000;

/** What is measured, and over which link. */
export interface LossWork {
  readonly key: string;
  readonly title: string;
  /** The link, shortly: of a column. */
  readonly link: string;
}

/** Calls, as many at once all the time: a table of the p50 and one of the p99. */
export async function callTables(
  field: Field,
  { key, title, link }: LossWork,
  rttMs: number,
  { quick, rounds }: SuiteOptions,
): Promise<FigureTable[]> {
  const { p50Ms, p99Ms } = await field.rounds(
    title,
    ['p50Ms', 'p99Ms'],
    rounds ?? (quick ? 1 : 3),
    async (pair, round) => {
      const load = {
        payloadBytes: PAYLOAD_BYTES,
        concurrency: CONCURRENCY,
        durationMs: round === 'warm-up' ? WARM_UP_MS : quick ? QUICK_CALLS_MS : CALLS_MS,
      };
      const answer = await pair.askClient({ kind: 'echo', ...load }, load.durationMs + GRACE_MS);
      return { p50Ms: answer.p50Us / 1000, p99Ms: answer.p99Us / 1000 };
    },
  );
  const table = (figure: string, rows: readonly FigureRow[]): FigureTable => ({
    ...latencyTable(`${key}-${figure}`, `${title}, ${figure}`, rttMs, rows),
    matrix: { key: figure, title: `128 B, 64 at once, ${figure}`, column: link },
  });
  return [table('p50', p50Ms), table('p99', p99Ms)];
}

/** Calls at a steady rate: what keeps a leader in office. Ours are sent once, and then in two copies. */
export async function controlTable(
  field: Field,
  { key, title }: LossWork,
  rttMs: number,
  { quick, rounds }: SuiteOptions,
): Promise<FigureTable> {
  const wanted = quick ? QUICK_CONTROL_CALLS : CONTROL_CALLS;
  const measure = async (
    text: string,
    isTwice: boolean,
    takesPart?: (pair: Pair) => boolean,
  ): Promise<FigureRow[]> => {
    const play = async (pair: Pair, round: 'warm-up' | number) => {
      const count = round === 'warm-up' ? CONTROL_WARM_UP_CALLS : wanted;
      const load = { count, perSecond: PER_SECOND, bulk: 'none', isTwice } as const;
      const limitMs = (count / PER_SECOND) * 1000 + GRACE_MS;
      const { p99Us } = await pair.askClient({ kind: 'heartbeats', ...load }, limitMs);
      return { p99Ms: p99Us / 1000 };
    };
    const together = { isTogether: true, takesPart };
    const rows = await field.rounds(text, ['p99Ms'], rounds ?? (quick ? 1 : 3), play, together);
    return rows.p99Ms;
  };
  const once = await measure(title, false);
  const twice = await measure(`${title}, in two copies`, true, ({ name }) => name === COPIED);
  const copied = twice.map((row) => ({ ...row, name: `${row.name} twice` }));
  const rows = once.flatMap((row) => (row.name === COPIED ? [row, ...copied] : [row]));
  return latencyTable(key, title, rttMs, rows);
}

export async function bulkTable(
  field: Field,
  { key, title, link }: LossWork,
  { rateMbit = 100 }: Shape,
  { quick, rounds }: SuiteOptions,
): Promise<FigureTable> {
  const size = BULK_BYTES.find(({ upToMbit }) => rateMbit <= upToMbit);
  const wanted = (quick ? size?.quickBytes : size?.bytes) ?? 0;
  const fullTitle = `${wanted / 1e6} MB ${title}`;
  const { mbitPerS } = await field.rounds(
    fullTitle,
    ['mbitPerS'],
    rounds ?? (quick ? 1 : 3),
    async (pair, round) => {
      const bytes = wanted * (NARROW.includes(pair.contender) ? NARROW_PART : 1);
      const totalBytes = round === 'warm-up' ? BULK_WARM_UP_BYTES : bytes;
      const { elapsedMs } = await pair.askClient({ kind: 'upload', totalBytes }, UPLOAD_LIMIT_MS);
      return { mbitPerS: (totalBytes * 8) / elapsedMs / 1000 };
    },
  );
  const part = `${(wanted * NARROW_PART) / 1e6} MB`;
  const rows = mbitPerS.map((row) => {
    // With both transports it goes by the better of them.
    if (row.name === 'quicmesh-auto') return { ...row, limit: 'bare-tls' };
    return NARROW.some((name) => name === row.name) ? { ...row, remark: row.remark ?? part } : row;
  });
  const matrix = { key: 'bulk', title: 'One way in one stream', column: link };
  return { work: key, title: fullTitle, unit: 'Mbit/s', better: 'higher', matrix, rows };
}

function latencyTable(
  work: string,
  title: string,
  rttMs: number,
  rows: readonly FigureRow[],
): FigureTable {
  const scale = { unit: 'round trips', value: rttMs };
  return { work, title, unit: 'ms', better: 'lower', scale, rows };
}
