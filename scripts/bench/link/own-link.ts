/**
 * A link of the benchmark's own between two namespaces, by `link.c`, which the system's compiler makes when a suite asks
 * for it. Needs Linux, root, /dev/net/tun and a C compiler.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { isError, textOf } from '../../../src/base/realms.js';
import { Questions } from '../../children/questions.js';
import { type Link, NamespacePair, runTool } from './namespaces.js';
import { encodeShape, type Shape } from './shape.js';

/** What became of packets of one direction since the link began. */
export interface LinkCounts {
  /** That arrived. */
  readonly packets: number;
  readonly bytes: number;
  /** Also counted by the last number of the address that they went to. */
  readonly bytesTo: readonly number[];
  readonly lost: number;
  /** That found the queue full. */
  readonly full: number;
}

/** Of those of one direction, what went to an address of {@link OwnLink}. */
export function bytesTo({ bytesTo: bytes }: LinkCounts, host: string): number {
  return bytes[Number(host.split('.').at(-1))] ?? 0;
}

export interface LinkTotals {
  readonly up: LinkCounts;
  readonly down: LinkCounts;
}

/** Of the kernel's congestion controllers, two that its flows go by where a route says so. */
export const CONTROLLERS = ['cubic', 'bbr'] as const;
export type Controller = (typeof CONTROLLERS)[number];

const SOURCE = fileURLToPath(new URL('link.c', import.meta.url));
const DEVICE = 'link0';
const SEED = 1;
const MTU_BYTES = 1500;
const DEVICE_QUEUE = 2000;
const ANSWER_LIMIT_MS = 5000;

/** Reserved for documentation (RFC 5737): nothing outside of the two namespaces is reached by these. */
const SERVER_HOST = '192.0.2.1';
const CLIENT_HOST = '192.0.2.2';
/** Addresses of the server, too. */
const CONTROLLER_HOSTS: Readonly<Record<Controller, string>> = {
  cubic: '192.0.2.3',
  bbr: '192.0.2.4',
};

type Process = ChildProcessByStdio<Writable, Readable, null>;

/** Two namespaces and the process that joins them: gone when it is disposed of, or with this process. */
export class OwnLink implements Link, AsyncDisposable {
  readonly namespaces: readonly [server: string, client: string];
  readonly host = SERVER_HOST;
  readonly #pair: NamespacePair;
  readonly #process: Process;
  /** Lines in the order in which they were asked for. */
  readonly #answers = new Questions<number>();
  #asked = 0;

  /** @throws Error why it cannot be made here */
  static async create(): Promise<OwnLink> {
    const directory = await mkdtemp(join(tmpdir(), 'quicmesh-link-'));
    try {
      const program = join(directory, 'link');
      await runTool('cc', ['-O2', '-o', program, SOURCE, '-lm']);
      const pair = await NamespacePair.create();
      const link = new OwnLink(pair, program);
      try {
        await link.#setUp();
        return link;
      } catch (thrown) {
        await link[Symbol.asyncDispose]();
        throw thrown;
      }
    } catch (thrown) {
      throw new Error(firstLine(thrown));
    } finally {
      await rm(directory, { recursive: true });
    }
  }

  private constructor(pair: NamespacePair, program: string) {
    this.#pair = pair;
    this.namespaces = [pair.server, pair.client];
    const parameters = [pair.client, pair.server, DEVICE, String(SEED)];
    this.#process = spawn(program, parameters, { stdio: ['pipe', 'pipe', 'ignore'] });
    const gone = () => this.#answers.failAll(new Error('the link is gone'));
    this.#process.on('error', gone).on('exit', gone);
    this.#process.stdin.on('error', () => {});
    createInterface(this.#process.stdout).on('line', (line) => {
      const [first] = this.#answers.keys;
      if (first !== undefined) this.#answers.answer(first, line);
    });
  }

  /** From now on packets fare like this. Those that are under way keep their time. */
  async shape(shape: Shape): Promise<void> {
    await this.#ask(encodeShape(shape));
  }

  async count(): Promise<LinkTotals> {
    const [up, down] = JSON.parse(await this.#ask('count')) as [LinkCounts, LinkCounts];
    return { up, down };
  }

  /**
   * An address of the server to which the kernel's TCP goes by this congestion control, whatever the system's default is.
   * @throws Error when the kernel has no such
   */
  async hostOf(controller: Controller): Promise<string> {
    const host = CONTROLLER_HOSTS[controller];
    const route = ['route', 'replace', `${host}/32`, 'dev', DEVICE, 'src', CLIENT_HOST];
    try {
      await runTool('ip', ['-n', this.#pair.client, ...route, 'congctl', controller]);
    } catch (thrown) {
      throw new Error(`the kernel has no ${controller}: ${firstLine(thrown)}`);
    }
    return host;
  }

  /** Congestion control of the kernel's TCP where no route says otherwise. */
  async defaultController(): Promise<string> {
    const read = ['cat', '/proc/sys/net/ipv4/tcp_congestion_control'];
    return (await runTool('ip', ['netns', 'exec', this.#pair.client, ...read])).trim();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.stdin.end();
    this.#process.kill('SIGKILL');
    await this.#pair[Symbol.asyncDispose]();
  }

  /** The program's first line says that both devices are there. */
  async #setUp(): Promise<void> {
    await this.#ask();
    const { server, client } = this.#pair;
    const ip = (name: string, ...command: string[]) => runTool('ip', ['-n', name, ...command]);
    await ip(server, 'address', 'add', SERVER_HOST, 'peer', CLIENT_HOST, 'dev', DEVICE);
    await ip(client, 'address', 'add', CLIENT_HOST, 'peer', SERVER_HOST, 'dev', DEVICE);
    const size = ['mtu', String(MTU_BYTES), 'txqueuelen', String(DEVICE_QUEUE)];
    for (const name of [server, client]) await ip(name, 'link', 'set', DEVICE, ...size, 'up');
    for (const host of Object.values(CONTROLLER_HOSTS)) {
      await ip(server, 'address', 'add', `${host}/32`, 'dev', DEVICE);
    }
  }

  #ask(command?: string): Promise<string> {
    const key = this.#asked++;
    const late = () => new Error('the link does not answer');
    const answer = this.#answers.ask<string>(key, ANSWER_LIMIT_MS, late);
    if (command !== undefined) this.#process.stdin.write(`${command}\n`);
    return answer;
  }
}

/** Of what a program said, where it said something. */
function firstLine(thrown: unknown): string {
  const said = isError(thrown) && 'stderr' in thrown ? String(thrown.stderr).trim() : '';
  return (said || textOf(thrown)).split('\n')[0] ?? '';
}
