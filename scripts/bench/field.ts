/**
 * All contenders of a suite, each a pair of processes that stay for the whole run, and their rounds: every round
 * has each of them once, in turn, so that what disturbs the machine disturbs all.
 */
import { join } from 'node:path';
import { textOf } from '../../src/base/realms.js';
import type { SocketAddress } from '../../src/index.js';
import { CONTENDER_NAMES, type ContenderName, contenderEntry } from './contenders/registry.js';
import type { AnswerTo, Command, ProfileLine } from './protocol.js';
import type { FigureRow, SuiteOptions } from './suites/suite.js';
import { WorkerProcess } from './worker-process.js';

/** A contender in the setting of one suite. */
export interface Entrant {
  /** Its row in the tables. */
  readonly name: string;
  readonly contender: ContenderName;
  readonly maxDatagramBytes?: number | undefined;
  /** The server's address, where it is not that of the field. */
  readonly host?: string | undefined;
}

export interface FieldOptions {
  readonly suite: string;
  readonly entrants: readonly Entrant[];
  /** The server's address. */
  readonly host: string;
  readonly namespaces?: readonly [server: string, client: string] | undefined;
  /** What clients are to connect to in place of a server. */
  readonly front?: ((server: SocketAddress) => Promise<SocketAddress>) | undefined;
}

export interface RoundsOptions {
  /** Where a work is not for all pairs. */
  readonly takesPart?: ((pair: Pair) => boolean) | undefined;
  /** All at the same time: for loads that are next to nothing. Default: one after the other. */
  readonly isTogether?: boolean | undefined;
}

export const LOOPBACK = '127.0.0.1';

/** Pairs that start at the same time: their start is all computation. */
const STARTS_AT_ONCE = 2;
const START_LIMIT_MS = 30_000;

/** The bare loop over what carries a contender. */
const LIMITS = { quic: 'bare-quic', tcp: 'bare-tls' } as const;

/** Those of these contenders that take part, in the order of the registry. */
export function entrantsOf(
  options: SuiteOptions,
  names: readonly ContenderName[] = CONTENDER_NAMES,
): Entrant[] {
  return CONTENDER_NAMES.filter((name) => names.includes(name) && options.takesPart(name)).map(
    (name) => ({ name, contender: name }),
  );
}

export class Field implements AsyncDisposable {
  readonly pairs: readonly Pair[];
  readonly #options: FieldOptions;
  readonly #suiteOptions: SuiteOptions;

  private constructor(pairs: readonly Pair[], options: FieldOptions, suiteOptions: SuiteOptions) {
    this.pairs = pairs;
    this.#options = options;
    this.#suiteOptions = suiteOptions;
  }

  /** Starts all pairs and connects each once. One that cannot start is there with its failure. */
  static async start(options: FieldOptions, suiteOptions: SuiteOptions): Promise<Field> {
    const { entrants, suite } = options;
    suiteOptions.tell(`${suite}: ${entrants.length} contenders start`);
    const pairs = entrants.map((entrant) => new Pair(entrant, options, suiteOptions));
    const field = new Field(pairs, options, suiteOptions);
    try {
      const waiting = [...pairs];
      const starter = async (): Promise<void> => {
        for (let pair = waiting.shift(); pair !== undefined; pair = waiting.shift()) {
          await pair.attempt((one) => one.start());
        }
      };
      await Promise.all(Array.from({ length: STARTS_AT_ONCE }, starter));
      return field;
    } catch (thrown) {
      await field[Symbol.asyncDispose]();
      throw thrown;
    }
  }

  /**
   * Plays rounds, the first one to warm up and without its figures counting.
   * @returns the rows of each figure that `play` answers with
   */
  async rounds<F extends string>(
    title: string,
    figures: readonly F[],
    count: number,
    play: (pair: Pair, round: 'warm-up' | number) => Promise<Readonly<Record<F, number>>>,
    { takesPart = () => true, isTogether = false }: RoundsOptions = {},
  ): Promise<Readonly<Record<F, FigureRow[]>>> {
    const { tell } = this.#suiteOptions;
    const pairs = this.pairs.filter(takesPart);
    const samples = new Map<Pair, Readonly<Record<F, number>>[]>();
    for (const pair of pairs) samples.set(pair, []);
    for (let round = 0; round <= count; round += 1) {
      tell(
        `${this.#options.suite}: ${title}, ${round === 0 ? 'warm-up' : `round ${round} of ${count}`}`,
      );
      const turn = (pair: Pair) =>
        pair.attempt(async () => {
          const figure = await play(pair, round === 0 ? 'warm-up' : round);
          if (round > 0) samples.get(pair)?.push(figure);
        });
      if (isTogether) await Promise.all(pairs.map(turn));
      else for (const pair of pairs) await turn(pair);
    }
    const rows = figures.map((figure) => [
      figure,
      pairs.map((pair) => ({
        name: pair.name,
        samples: (samples.get(pair) ?? []).map((sample) => sample[figure]),
        limit: LIMITS[contenderEntry(pair.contender).family],
        remark: pair.remark,
      })),
    ]);
    return Object.fromEntries(rows) as Record<F, FigureRow[]>;
  }

  /** Gives every pair a new connection, for which what the link was before does not matter. */
  async reconnect(): Promise<void> {
    const connect = { kind: 'connect', count: 1 } as const;
    for (const pair of this.pairs) {
      await pair.attempt((one) => one.askClient(connect, START_LIMIT_MS));
    }
  }

  async startProfiles(): Promise<void> {
    if (this.#suiteOptions.profileDirectory === undefined) return;
    for (const pair of this.pairs) await pair.attempt((one) => one.startProfiles());
  }

  /** Ends the profiles where they were started. @returns lines for the report */
  async stopProfiles(): Promise<string[]> {
    const { profileDirectory } = this.#suiteOptions;
    if (profileDirectory === undefined) return [];
    const notes = [
      'profiles: `send` is the system call of a UDP socket; all calls of the QUIC binding come under one name, of V8’s choosing',
    ];
    for (const pair of this.pairs) {
      const prefix = join(profileDirectory, `${this.#options.suite}-${pair.name}`);
      await pair.attempt(async (one) => notes.push(...(await one.stopProfiles(prefix))));
    }
    return notes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.pairs.map((pair) => pair[Symbol.asyncDispose]()));
  }
}

export class Pair implements AsyncDisposable {
  readonly name: string;
  readonly contender: ContenderName;
  readonly #entrant: Entrant;
  readonly #options: FieldOptions;
  readonly #suiteOptions: SuiteOptions;
  #server: WorkerProcess | undefined;
  #client: WorkerProcess | undefined;
  #target: SocketAddress | undefined;
  #failure: string | undefined;
  /** It did less than was asked, which it does not survive. */
  #spared: string | undefined;

  constructor(entrant: Entrant, options: FieldOptions, suiteOptions: SuiteOptions) {
    this.name = entrant.name;
    this.contender = entrant.contender;
    this.#entrant = entrant;
    this.#options = options;
    this.#suiteOptions = suiteOptions;
  }

  /** What clients connect to. @throws Error before it has started */
  get target(): SocketAddress {
    if (this.#target === undefined) throw new Error(`${this.name} has not started`);
    return this.#target;
  }

  get failure(): string | undefined {
    return this.#failure;
  }

  get remark(): string | undefined {
    return this.#failure ?? this.#spared;
  }

  /** Does something with the pair, unless it has failed; a failure ends its part in the suite, and nothing else. */
  async attempt(what: (pair: Pair) => Promise<unknown>): Promise<void> {
    if (this.#failure !== undefined) return;
    try {
      await what(this);
    } catch (thrown) {
      this.#suiteOptions.signal.throwIfAborted();
      this.#failure = textOf(thrown);
      this.#suiteOptions.tell(`${this.#options.suite}: ${this.name} failed: ${this.#failure}`);
      await Promise.all([this.#server?.kill(), this.#client?.kill()]);
    }
  }

  async start(): Promise<void> {
    const { program, signal, tls } = this.#suiteOptions;
    const { front, namespaces } = this.#options;
    const { contender, maxDatagramBytes, name, host = this.#options.host } = this.#entrant;
    const [serverSpace, clientSpace] = namespaces ?? [];
    const process = (side: string, namespace: string | undefined) =>
      new WorkerProcess({ name: `${side} of ${name}`, program, namespace, signal });
    const server = process('server', serverSpace);
    this.#server = server;
    const client = process('client', clientSpace);
    this.#client = client;
    const setting = { contender, host, maxDatagramBytes };
    const serve = { kind: 'serve', ...setting, tls: tls.server } as const;
    const { port } = await server.ask(serve, START_LIMIT_MS);
    const target = (await front?.({ host, port })) ?? { host, port };
    this.#target = target;
    const prepare = { kind: 'prepare', ...setting, ...target, tls: tls.client } as const;
    await client.ask(prepare, START_LIMIT_MS);
    await client.ask({ kind: 'connect', count: 1 }, START_LIMIT_MS);
  }

  askServer<C extends Command>(command: C, limitMs: number): Promise<AnswerTo<C>> {
    return this.#ask(this.#server, command, limitMs);
  }

  askClient<C extends Command>(command: C, limitMs: number): Promise<AnswerTo<C>> {
    return this.#ask(this.#client, command, limitMs);
  }

  /** The concurrency that was asked for, or what this contender survives. */
  survivableConcurrency(wanted: number): number {
    const atMost = contenderEntry(this.contender).atMost?.concurrency ?? wanted;
    this.#spared = atMost < wanted ? `at ${atMost} at once` : undefined;
    return Math.min(wanted, atMost);
  }

  /** Likewise of an upload, in bytes. */
  survivableUpload(wantedBytes: number): number {
    const atMost = contenderEntry(this.contender).atMost?.uploadBytes ?? wantedBytes;
    this.#spared = atMost < wantedBytes ? `${atMost / 1e6} MB` : undefined;
    return Math.min(wantedBytes, atMost);
  }

  async startProfiles(): Promise<void> {
    await this.askServer({ kind: 'startProfile' }, START_LIMIT_MS);
    await this.askClient({ kind: 'startProfile' }, START_LIMIT_MS);
  }

  async stopProfiles(prefix: string): Promise<string[]> {
    const write = (side: string) =>
      ({ kind: 'stopProfile', path: `${prefix}-${side}.cpuprofile` }) as const;
    const server = await this.askServer(write('server'), START_LIMIT_MS);
    const client = await this.askClient(write('client'), START_LIMIT_MS);
    return [
      `${prefix}-server, self time: ${profileText(server.top)}`,
      `${prefix}-client, self time: ${profileText(client.top)}`,
    ];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // The client first: a server that sees its peers go has less to say.
    await this.#client?.[Symbol.asyncDispose]();
    await this.#server?.[Symbol.asyncDispose]();
  }

  #ask<C extends Command>(
    worker: WorkerProcess | undefined,
    command: C,
    limitMs: number,
  ): Promise<AnswerTo<C>> {
    if (worker === undefined) throw new Error(`${this.name} has not started`);
    return worker.ask(command, limitMs);
  }
}

function profileText(lines: readonly ProfileLine[]): string {
  return lines.map(({ name, selfPercent }) => `${name} ${selfPercent.toFixed(1)} %`).join('; ');
}
