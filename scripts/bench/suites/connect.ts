/**
 * Suite `connect`: what passes between the beginning of a dial and the reply to the first call, in round trips of
 * the link. The link is a process between the two that delays UDP and TCP; with `--namespaces` it is whatever joins
 * these.
 */
import type { SocketAddress } from '../../../src/index.js';
import { ETHERNET_DATAGRAM_BYTES } from '../../../src/transport/quic/io/packet.js';
import { type ContenderName, contenderEntry } from '../contenders/registry.js';
import { type Entrant, entrantsOf, Field, LOOPBACK } from '../field.js';
import { findLink, type Link } from '../link/namespaces.js';
import { median } from '../measure.js';
import type { PingTargets, RoundTrips } from '../protocol.js';
import { WorkerProcess } from '../worker-process.js';
import type { FigureRow, FigureTable, Suite, SuiteFindings, SuiteOptions } from './suite.js';

const WORKS = {
  'round-trips': 'dial and first reply',
  time: 'dial and first reply, as time',
};

/** A row of its own: QUIC on what a former connection has left. */
const RESUMED = 'quicmesh-quic-resumed';
const CONTENDERS: readonly ContenderName[] = [
  'quicmesh-quic',
  'quicmesh-tcp',
  'grpc-js',
  'http2',
  'bare-tls',
  'bare-quic',
];

const ONE_WAY_MS = 25;
const PAYLOAD_BYTES = 128;
/** Before the rounds, and once more after them. */
const PINGS = 20;
const ASK_LIMIT_MS = 30_000;

export const connectSuite: Suite = {
  name: 'connect',
  title: 'New connections',
  works: WORKS,
  targets: [
    { work: 'round-trips', of: RESUMED, atMost: 1.4 },
    { work: 'round-trips', of: 'quicmesh-quic', atMost: 2.4 },
    { work: 'round-trips', of: 'quicmesh-tcp', atMost: 3.6 },
  ],
  async run(options): Promise<SuiteFindings> {
    const { namespaces } = options;
    const link = namespaces === undefined ? undefined : await findLink(namespaces);
    await using delay = link === undefined ? new Delay(options) : undefined;
    const front = delay?.inFrontOf;
    await using pings = await Pings.start(link, front, options);
    const before = await pings.measure();
    const host = link?.host ?? LOOPBACK;
    const entrants = entrantsIn(options);
    const setting = { suite: 'connect', entrants, host, namespaces, front };
    await using field = await Field.start(setting, options);
    await field.startProfiles();
    const rows = await firstReplies(field, options);
    const notes = await field.stopProfiles();
    const after = await pings.measure();
    const udpMs = median([...before.udpMs, ...after.udpMs]);
    const tcpMs = median([...before.tcpMs, ...after.tcpMs]);
    const name = link === undefined ? 'proxy' : 'link';
    const title = `${udpMs.toFixed(1)} ms round trip over UDP, ${tcpMs.toFixed(1)} ms over TCP, through a ${name}`;
    return {
      tables: tablesOf(rows, field, { udpMs, tcpMs }),
      notes,
      condition: { key: name, title },
    };
  },
};

/** Datagrams are as long as a path carries: loopback is only what the link is made of. */
function entrantsIn(options: SuiteOptions): Entrant[] {
  return entrantsOf(options, CONTENDERS).flatMap((entrant) => {
    const sized = { ...entrant, maxDatagramBytes: ETHERNET_DATAGRAM_BYTES };
    return entrant.name === 'quicmesh-quic' ? [{ ...sized, name: RESUMED }, sized] : [sized];
  });
}

async function firstReplies(field: Field, { quick, rounds }: SuiteOptions): Promise<FigureRow[]> {
  const count = rounds ?? (quick ? 8 : 20);
  const { elapsedMs } = await field.rounds(WORKS.time, ['elapsedMs'], count, async (pair) => {
    const history = pair.name === RESUMED ? 'resumed' : 'cold';
    const command = { kind: 'firstReply', history, payloadBytes: PAYLOAD_BYTES } as const;
    return pair.askClient(command, ASK_LIMIT_MS);
  });
  return elapsedMs;
}

function tablesOf(
  rows: readonly FigureRow[],
  field: Field,
  { udpMs, tcpMs }: { readonly udpMs: number; readonly tcpMs: number },
): FigureTable[] {
  const roundTripMs = new Map(
    field.pairs.map(({ name, contender }) => [
      name,
      contenderEntry(contender).family === 'quic' ? udpMs : tcpMs,
    ]),
  );
  const ratios = rows.map((row) => ({
    ...row,
    samples: row.samples.map((sampleMs) => sampleMs / (roundTripMs.get(row.name) as number)),
  }));
  const less = { better: 'lower' } as const;
  return [
    {
      work: 'round-trips',
      title: WORKS['round-trips'],
      unit: 'round trips',
      ...less,
      rows: ratios,
    },
    { work: 'time', title: WORKS.time, unit: 'ms', ...less, rows },
  ];
}

/** The process that delays. */
class Delay implements AsyncDisposable {
  readonly #process: WorkerProcess;
  /** Asks one question at a time. */
  #asked: Promise<unknown> = Promise.resolve();

  constructor({ program, signal }: SuiteOptions) {
    this.#process = new WorkerProcess({ name: 'proxy', program, signal });
  }

  readonly inFrontOf = async (target: SocketAddress): Promise<SocketAddress> => {
    const asked = this.#asked.then(() =>
      this.#process.ask({ kind: 'serveDelay', target, delayMs: ONE_WAY_MS }, ASK_LIMIT_MS),
    );
    this.#asked = asked.catch(() => {});
    const { port } = await asked;
    return { host: LOOPBACK, port };
  };

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process[Symbol.asyncDispose]();
  }
}

/** Two processes that find out what a round trip takes. */
class Pings implements AsyncDisposable {
  readonly #mirror: WorkerProcess;
  readonly #pinger: WorkerProcess;
  readonly #targets: PingTargets;

  static async start(
    link: Link | undefined,
    front: ((target: SocketAddress) => Promise<SocketAddress>) | undefined,
    { program, signal, tell }: SuiteOptions,
  ): Promise<Pings> {
    tell('connect: finds out what a round trip takes');
    const [server, client] = link?.namespaces ?? [];
    const mirror = new WorkerProcess({ name: 'mirror', program, namespace: server, signal });
    const pinger = new WorkerProcess({ name: 'pinger', program, namespace: client, signal });
    try {
      const host = link?.host ?? LOOPBACK;
      const { udpPort, tcpPort } = await mirror.ask({ kind: 'servePings', host }, ASK_LIMIT_MS);
      const reach = async (port: number) => (await front?.({ host, port })) ?? { host, port };
      const targets = { udp: await reach(udpPort), tcp: await reach(tcpPort) };
      return new Pings(mirror, pinger, targets);
    } catch (thrown) {
      await Promise.all([mirror.kill(), pinger.kill()]);
      throw thrown;
    }
  }

  private constructor(mirror: WorkerProcess, pinger: WorkerProcess, targets: PingTargets) {
    this.#mirror = mirror;
    this.#pinger = pinger;
    this.#targets = targets;
  }

  measure(): Promise<RoundTrips> {
    return this.#pinger.ask({ kind: 'ping', ...this.#targets, count: PINGS }, ASK_LIMIT_MS);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pinger[Symbol.asyncDispose]();
    await this.#mirror[Symbol.asyncDispose]();
  }
}
