/** Suite `priority`: what a heartbeat takes while bulk data takes all that its connection carries, over loopback. */
import { entrantsOf, Field, LOOPBACK, type Pair } from '../field.js';
import type { HeartbeatFigures, HeartbeatLoad } from '../protocol.js';
import type { FigureTable, Suite, SuiteFindings, SuiteOptions } from './suite.js';

const WORKS = {
  upload: 'heartbeats beside an upload of the same client',
  download: 'heartbeats beside a download of the same client',
};

type Direction = keyof typeof WORKS;
const DIRECTIONS: readonly Direction[] = ['upload', 'download'];

const PER_SECOND = 100;
/** Of each round, once idle and once in each direction: the tenth slowest is the p99. */
const COUNT = 1000;
const QUICK_COUNT = 200;
const WARM_UP_COUNT = 100;
/** Beyond the time that the heartbeats take. */
const GRACE_MS = 20_000;

export const prioritySuite: Suite = {
  name: 'priority',
  title: 'Heartbeats beside bulk data over loopback',
  works: WORKS,
  targets: DIRECTIONS.flatMap((direction) => [
    { work: `${direction}-ratio`, of: 'quicmesh-quic', atMost: 3, inEveryRound: true },
    { work: `${direction}-ratio`, of: 'quicmesh-tcp', atMost: 3, inEveryRound: true },
    { work: `${direction}-ratio`, of: 'quicmesh-auto', atMost: 3, inEveryRound: true },
  ]),
  async run(options): Promise<SuiteFindings> {
    const entrants = entrantsOf(options, [
      'quicmesh-quic',
      'quicmesh-tcp',
      'quicmesh-auto',
      'grpc-js',
    ]);
    await using field = await Field.start({ suite: 'priority', entrants, host: LOOPBACK }, options);
    await field.startProfiles();
    const tables: FigureTable[] = [];
    for (const direction of DIRECTIONS) {
      if (options.wants(direction)) tables.push(...(await measure(field, direction, options)));
    }
    const notes = [
      `${PER_SECOND} consensus messages a second, each timed from its call to its answer; gRPC has unary calls in their place`,
    ];
    return { tables, notes: [...notes, ...(await field.stopProfiles())] };
  },
};

const FIGURES = [
  'idleP50',
  'idleP99',
  'idleMax',
  'loadedP50',
  'loadedP99',
  'loadedMax',
  'ratio',
  'mbPerS',
] as const;

async function measure(
  field: Field,
  direction: Direction,
  { quick, rounds }: SuiteOptions,
): Promise<FigureTable[]> {
  const count = rounds ?? (quick ? 1 : 5);
  const rows = await field.rounds(WORKS[direction], FIGURES, count, async (pair, round) => {
    const beats = round === 'warm-up' ? WARM_UP_COUNT : quick ? QUICK_COUNT : COUNT;
    const idle = await beat(pair, { count: beats, perSecond: PER_SECOND, bulk: 'none' });
    const loaded = await beat(pair, { count: beats, perSecond: PER_SECOND, bulk: direction });
    return {
      idleP50: idle.p50Us,
      idleP99: idle.p99Us,
      idleMax: idle.maxUs,
      loadedP50: loaded.p50Us,
      loadedP99: loaded.p99Us,
      loadedMax: loaded.maxUs,
      ratio: loaded.p99Us / idle.p99Us,
      mbPerS: loaded.mbPerS,
    };
  });
  const table = (
    figure: (typeof FIGURES)[number],
    key: string,
    title: string,
    unit: string,
    better: FigureTable['better'] = 'lower',
  ): FigureTable => ({
    work: `${direction}-${key}`,
    title: `${direction}: ${title}`,
    unit,
    better,
    // There is no bare loop to compare with.
    rows: rows[figure].map((row) => ({ ...row, limit: undefined })),
  });
  return [
    table('idleP50', 'idle-p50', 'idle, p50', 'µs'),
    table('idleP99', 'idle-p99', 'idle, p99', 'µs'),
    table('idleMax', 'idle-max', 'idle, longest', 'µs'),
    table('loadedP50', 'p50', 'beside bulk, p50', 'µs'),
    table('loadedP99', 'p99', 'beside bulk, p99', 'µs'),
    table('loadedMax', 'max', 'beside bulk, longest', 'µs'),
    table('ratio', 'ratio', 'p99 beside bulk to p99 idle', 'times'),
    table('mbPerS', 'rate', 'bulk meanwhile', 'MB/s', 'higher'),
  ];
}

function beat(pair: Pair, load: HeartbeatLoad): Promise<HeartbeatFigures> {
  const limitMs = (load.count / load.perSecond) * 1000 + GRACE_MS;
  return pair.askClient({ kind: 'heartbeats', ...load }, limitMs);
}
