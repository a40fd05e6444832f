/**
 * Suite `loss`: calls, control calls and bulk over links that delay and lose, between two network namespaces that it makes.
 * With `--namespaces` it is whatever joins these, as one link.
 */
import { MAIN_CONTENDERS } from '../contenders/registry.js';
import { entrantsOf, Field } from '../field.js';
import { findLink, type Link } from '../link/namespaces.js';
import { OwnLink } from '../link/own-link.js';
import { bandwidthDelayBytes, MOBILE, type Shape } from '../link/shape.js';
import type { LinkFigures } from '../protocol.js';
import type { TargetSpec } from '../targets.js';
import { WorkerProcess } from '../worker-process.js';
import { bulkTable, callTables, controlTable } from './loss-works.js';
import type { FigureTable, Suite, SuiteFindings, SuiteOptions } from './suite.js';

interface Work {
  readonly title: string;
  readonly link: string;
  readonly measures: 'calls' | 'control' | 'bulk';
  readonly shape: Shape;
  /** Quick runs leave the others out, unless they are asked for. */
  readonly isQuick?: true;
}

const RATES = [
  { rateMbit: 10, rttMs: 50 },
  { rateMbit: 100, rttMs: 50 },
  { rateMbit: 1000, rttMs: 20 },
] as const;
const BULK_LOSSES = [0, 0.1, 0.5] as const;

const CALLS: Readonly<Record<string, Work>> = {
  'calls-clean': calls('50 ms, nothing lost', { rttMs: 50 }, true),
  'calls-50ms-1': calls('50 ms, 1 % lost each way', { rttMs: 50, lossPercent: 1 }, true),
  'calls-100ms-2': calls('100 ms, 2 % lost', { rttMs: 100, lossPercent: 2 }),
  'calls-20ms-0.5': calls('20 ms, 0.5 % lost', { rttMs: 20, lossPercent: 0.5 }),
  'calls-10ms-5': calls('10 ms, 5 % lost', { rttMs: 10, lossPercent: 5 }),
  'calls-mobile': calls('a mobile link', MOBILE, true),
};
const WORKS: Readonly<Record<string, Work>> = {
  ...CALLS,
  control: {
    title: '100 control calls a second, 50 ms, 2 % lost each way, p99',
    link: '50 ms, 2 %',
    measures: 'control',
    shape: { rttMs: 50, lossPercent: 2 },
    isQuick: true,
  },
  ...Object.fromEntries(
    RATES.flatMap((rate) => BULK_LOSSES.map((lossPercent) => bulk({ ...rate, lossPercent }))),
  ),
};

/** Links of this name are brought. */
const BROUGHT = {
  'calls-link': '128 B, 64 at once, over the link of --namespaces',
  'bulk-link': 'one way in one stream, over the link of --namespaces',
};

const OVER_TCP = ['grpc-js', 'http2', 'bare-tls'] as const;
const PROBES = 1000;
const ASK_LIMIT_MS = 30_000;

export const lossSuite: Suite = {
  name: 'loss',
  title: 'Links that delay and lose',
  works: { ...titlesOf(WORKS), ...BROUGHT },
  targets: [
    { work: 'calls-clean-p99', of: 'quicmesh-quic', atMost: 1.3, inScale: true },
    { work: 'calls-50ms-1-p50', of: 'quicmesh-quic', atMost: 1.2, inScale: true },
    { work: 'calls-50ms-1-p99', of: 'quicmesh-quic', atMost: 2.4, inScale: true },
    { work: 'calls-100ms-2-p50', of: 'quicmesh-quic', atMost: 1.2, inScale: true },
    { work: 'calls-100ms-2-p99', of: 'quicmesh-quic', atMost: 2.8, inScale: true },
    ...Object.keys(CALLS)
      .filter((key) => key !== 'calls-clean')
      .flatMap((key) =>
        OVER_TCP.map(
          (to): TargetSpec => ({ work: `${key}-p99`, of: 'quicmesh-quic', to, atMost: 0.4 }),
        ),
      ),
    { work: 'control', of: 'quicmesh-quic twice', atMost: 1.4, inScale: true },
    ...Object.keys(WORKS)
      .filter((key) => WORKS[key]?.measures === 'bulk')
      .map((work): TargetSpec => ({ work, of: 'quicmesh-auto', to: 'bare-tls', atLeast: 0.85 })),
    { work: 'bulk-100mbit-0', of: 'quicmesh-quic', to: 'bare-tls', atLeast: 0.9 },
    { work: 'bulk-100mbit-0.5', of: 'quicmesh-quic', to: 'bare-tls', atLeast: 0.35 },
  ],
  async run(options): Promise<SuiteFindings> {
    if (options.namespaces !== undefined) {
      return measureBrought(await findLink(options.namespaces), options);
    }
    const works = Object.entries(WORKS).filter(([key]) => options.wants(key));
    const chosen = works.filter(
      ([key, { isQuick }]) => !options.quick || isQuick || options.names(key),
    );
    if (chosen.length === 0) return { tables: [], notes: [] };
    await using link = await OwnLink.create();
    const findings = await measureOwn(link, chosen, options);
    const left = works.filter((work) => !chosen.includes(work)).map(([key]) => key);
    if (left.length === 0) return findings;
    const note = `left out of quick runs, but for --works: ${left.join(', ')}`;
    return { ...findings, notes: [...findings.notes, note] };
  },
};

async function measureOwn(
  link: OwnLink,
  works: readonly [string, Work][],
  options: SuiteOptions,
): Promise<SuiteFindings> {
  await using probes = new Probes(link, options);
  // Processes and their first connections come about where nothing is lost.
  await using field = await start(link, options);
  const tables: FigureTable[] = [];
  const notes = [`TCP goes by ${await link.defaultController()}, the system's default`];
  for (const [key, work] of works) {
    const { measures, shape } = work;
    const named = { ...work, key };
    await link.shape(shape);
    const { rttMs, lostPercent } = await probes.measure();
    notes.push(
      `${key}: ${rttMs.toFixed(1)} ms round trip, ${lostPercent.toFixed(1)} % lost there or back`,
    );
    await field.reconnect();
    if (measures === 'bulk') tables.push(await bulkTable(field, named, shape, options));
    else if (measures === 'control') {
      tables.push(await controlTable(field, named, rttMs, options));
    } else tables.push(...(await callTables(field, named, rttMs, options)));
  }
  return { tables, notes: [...notes, ...(await field.stopProfiles())] };
}

async function measureBrought(link: Link, options: SuiteOptions): Promise<SuiteFindings> {
  await using probes = new Probes(link, options);
  const { rttMs, lostPercent } = await probes.measure();
  await using field = await start(link, options);
  const tables: FigureTable[] = [];
  if (options.wants('calls-link')) {
    const work = { key: 'calls-link', title: '128 B, 64 at once', link: 'link' };
    tables.push(...(await callTables(field, work, rttMs, options)));
  }
  if (options.wants('bulk-link')) {
    const work = { key: 'bulk-link', title: 'one way in one stream', link: 'link' };
    tables.push(await bulkTable(field, work, { rttMs }, options));
  }
  const title = `${rttMs.toFixed(1)} ms round trip, ${lostPercent.toFixed(1)} % lost there or back`;
  return { tables, notes: await field.stopProfiles(), condition: { key: 'link', title } };
}

async function start({ host, namespaces }: Link, options: SuiteOptions): Promise<Field> {
  const entrants = entrantsOf(options, MAIN_CONTENDERS);
  const field = await Field.start({ suite: 'loss', entrants, host, namespaces }, options);
  await field.startProfiles();
  return field;
}

/** Two processes that find out what a link does. */
class Probes implements AsyncDisposable {
  readonly #mirror: WorkerProcess;
  readonly #prober: WorkerProcess;
  readonly #host: string;
  readonly #tell: SuiteOptions['tell'];
  #port: number | undefined;

  constructor({ namespaces, host }: Link, { program, signal, tell }: SuiteOptions) {
    const [server, client] = namespaces;
    this.#mirror = new WorkerProcess({ name: 'mirror', program, namespace: server, signal });
    this.#prober = new WorkerProcess({ name: 'prober', program, namespace: client, signal });
    this.#host = host;
    this.#tell = tell;
  }

  async measure(): Promise<LinkFigures> {
    this.#tell('loss: finds out what the link does');
    const host = this.#host;
    this.#port ??= (await this.#mirror.ask({ kind: 'serveProbes', host }, ASK_LIMIT_MS)).port;
    const probe = { kind: 'probe', host, port: this.#port, count: PROBES } as const;
    return this.#prober.ask(probe, ASK_LIMIT_MS);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#prober[Symbol.asyncDispose]();
    await this.#mirror[Symbol.asyncDispose]();
  }
}

function calls(link: string, shape: Shape, isQuick?: true): Work {
  const title = `128 B, 64 at once, ${link}`;
  return { title, link, measures: 'calls', shape, ...(isQuick && { isQuick }) };
}

function bulk(shape: Shape & { readonly rateMbit: number }): [string, Work] {
  const { rateMbit, rttMs, lossPercent = 0 } = shape;
  const queue = `${Math.round(bandwidthDelayBytes(shape) / 1000)} KB of queue`;
  const title = `one way in one stream, ${rateMbit} Mbit/s, ${rttMs} ms, ${lossPercent} % lost, ${queue}`;
  const isQuick = rateMbit === 100 && lossPercent !== 0.1;
  const key = `bulk-${rateMbit}mbit-${lossPercent}`;
  const link = `${rateMbit} Mbit/s, ${rttMs} ms, ${lossPercent} %`;
  return [key, { title, link, measures: 'bulk', shape, ...(isQuick && { isQuick }) }];
}

function titlesOf(works: Readonly<Record<string, Work>>): Record<string, string> {
  return Object.fromEntries(Object.entries(works).map(([key, { title }]) => [key, title]));
}
