/**
 * Suite `loss`: calls and bulk over a link that delays and loses, between two network namespaces. Without
 * `--namespaces` it makes a link of its own, which loses one packet in a hundred and does not delay.
 */
import { textOf } from '../../../src/base/realms.js';
import { entrantsOf, Field } from '../field.js';
import { createLossyLink, findLink, type Link } from '../link.js';
import type { LinkFigures } from '../protocol.js';
import { WorkerProcess } from '../worker-process.js';
import type { Condition, FigureTable, Suite, SuiteFindings, SuiteOptions } from './suite.js';

const WORKS = {
  p50: '128 B, 64 at once, p50',
  p99: '128 B, 64 at once, p99',
  bulk: 'one way in one stream',
};

const PAYLOAD_BYTES = 128;
const CONCURRENCY = 64;
const BULK_BYTES = 16_000_000;
const BULK_WARM_UP_BYTES = 500_000;
const WARM_UP_MS = 1000;
const OWN_LOSS_PERCENT = 1;
const PROBES = 4000;
const ASK_LIMIT_MS = 30_000;
const UPLOAD_LIMIT_MS = 90_000;
/** Beyond the duration of a round: whatever is lost has come by then, or never comes. */
const GRACE_MS = 15_000;
/** A round trip from which on a link delays. */
const DELAY_MS = 20;

/** Conditions under which calls are judged as under loss. */
const LOSING = ['delay-loss', 'no-delay-loss'];

export const lossSuite: Suite = {
  name: 'loss',
  title: 'A link between two namespaces',
  works: WORKS,
  targets: [
    { work: 'p99', of: 'quicmesh-quic', to: 'grpc-js', atMost: 0.6, under: ['delay'] },
    { work: 'p99', of: 'quicmesh-quic', to: 'bare-quic', atMost: 1.1, under: ['delay'] },
    { work: 'p99', of: 'quicmesh-tcp', to: 'grpc-js', atMost: 1, under: ['delay'] },
    { work: 'p99', of: 'quicmesh-quic', to: 'grpc-js', atMost: 0.4, under: LOSING },
    { work: 'p99', of: 'quicmesh-quic', to: 'quicmesh-tcp', atMost: 0.4, under: LOSING },
    { work: 'p99', of: 'quicmesh-quic', to: 'bare-quic', atMost: 1.1, under: LOSING },
    { work: 'p99', of: 'quicmesh-tcp', to: 'grpc-js', atMost: 1, under: LOSING },
    ...(['delay', 'delay-some-loss'] as const).flatMap((condition) => [
      { work: 'bulk', of: 'quicmesh-quic', to: 'bare-quic', atLeast: 1.2, under: [condition] },
      { work: 'bulk', of: 'quicmesh-quic', to: 'grpc-js', atLeast: 8, under: [condition] },
      { work: 'bulk', of: 'quicmesh-tcp', to: 'bare-tls', atLeast: 0.9, under: [condition] },
    ]),
  ],
  async run(options): Promise<SuiteFindings> {
    const { namespaces } = options;
    if (namespaces !== undefined) return measure(await findLink(namespaces), options, WORKS);
    const made = await ownLink();
    if (typeof made === 'string') return { tables: [], notes: [`skipped: ${made}`] };
    await using link = made;
    const { p50, p99 } = WORKS;
    const findings = await measure(link, options, { p50, p99 });
    const note =
      'a link without delay, and no bulk over it; the targets are meant for 50 ms: see --namespaces';
    return { ...findings, notes: [...findings.notes, note] };
  },
};

async function ownLink(): Promise<(Link & AsyncDisposable) | string> {
  try {
    return await createLossyLink(OWN_LOSS_PERCENT);
  } catch (thrown) {
    return `there is no link without --namespaces: ${textOf(thrown)}`;
  }
}

async function measure(
  { namespaces, host }: Link,
  options: SuiteOptions,
  works: Partial<typeof WORKS>,
): Promise<SuiteFindings> {
  options.tell('loss: finds out what the link does');
  const condition = conditionOf(await probe(namespaces, host, options));
  const entrants = entrantsOf(options);
  await using field = await Field.start({ suite: 'loss', entrants, host, namespaces }, options);
  await field.startProfiles();
  const tables: FigureTable[] = [];
  if (options.wants('p50') || options.wants('p99')) tables.push(...(await calls(field, options)));
  if (works.bulk !== undefined && options.wants('bulk')) tables.push(await bulk(field, options));
  return { tables, notes: await field.stopProfiles(), condition };
}

async function probe(
  [server, client]: Link['namespaces'],
  host: string,
  { program, signal }: SuiteOptions,
): Promise<LinkFigures> {
  await using mirror = new WorkerProcess({ name: 'mirror', program, namespace: server, signal });
  await using prober = new WorkerProcess({ name: 'prober', program, namespace: client, signal });
  const { port } = await mirror.ask({ kind: 'serveProbes', host }, ASK_LIMIT_MS);
  // Not before the answer is here may the processes go.
  return await prober.ask({ kind: 'probe', host, port, count: PROBES }, ASK_LIMIT_MS);
}

/** The names are those that the targets are meant for. */
function conditionOf({ rttMs, lostPercent }: LinkFigures): Condition {
  const delays = rttMs >= DELAY_MS ? 'delay' : 'no-delay';
  // About twice what is lost one way: half a percent is told from none and from one.
  const loses = lostPercent < 0.2 ? '' : lostPercent < 1.45 ? '-some-loss' : '-loss';
  return {
    key: `${delays}${loses}`,
    title: `${rttMs.toFixed(1)} ms round trip, ${lostPercent.toFixed(1)} % lost there or back`,
  };
}

async function calls(field: Field, { quick, rounds }: SuiteOptions): Promise<FigureTable[]> {
  const durationMs = quick ? 3000 : 8000;
  const { p50Ms, p99Ms } = await field.rounds(
    '128 B, 64 at once',
    ['p50Ms', 'p99Ms'],
    rounds ?? (quick ? 3 : 7),
    async (pair, round) => {
      const load = {
        payloadBytes: PAYLOAD_BYTES,
        concurrency: pair.survivableConcurrency(CONCURRENCY),
        durationMs: round === 'warm-up' ? WARM_UP_MS : durationMs,
      };
      const answer = await pair.askClient({ kind: 'echo', ...load }, load.durationMs + GRACE_MS);
      return { p50Ms: answer.p50Us / 1000, p99Ms: answer.p99Us / 1000 };
    },
  );
  const latency = { unit: 'ms', better: 'lower' } as const;
  return [
    { work: 'p50', title: WORKS.p50, ...latency, rows: p50Ms },
    { work: 'p99', title: WORKS.p99, ...latency, rows: p99Ms },
  ];
}

async function bulk(field: Field, { quick, rounds }: SuiteOptions): Promise<FigureTable> {
  const title = `${BULK_BYTES / 1e6} MB ${WORKS.bulk}`;
  const { mbitPerS } = await field.rounds(
    title,
    ['mbitPerS'],
    rounds ?? (quick ? 1 : 3),
    async (pair, round) => {
      const wanted = round === 'warm-up' ? BULK_WARM_UP_BYTES : BULK_BYTES;
      const totalBytes = pair.survivableUpload(wanted);
      const { elapsedMs } = await pair.askClient({ kind: 'upload', totalBytes }, UPLOAD_LIMIT_MS);
      return { mbitPerS: (totalBytes * 8) / elapsedMs / 1000 };
    },
  );
  return { work: 'bulk', title, unit: 'Mbit/s', better: 'higher', rows: mbitPerS };
}
