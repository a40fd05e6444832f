/**
 * The client in `go/`, on an independent QUIC stack: built once for a test file, and run scenario by scenario. Needs Go
 * and some packages of Debian, which `.ci/run` installs.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import type { ExecutionContext } from 'ava';
import type { TlsMaterial } from '../../src/index.js';

const run = promisify(execFile);

const SOURCES = 'test/interop/go';
/** Where Debian keeps the sources of Go packages, which are built without modules and network. */
const GO_PATH = '/usr/share/gocode';
const PACKAGES = [
  'github.com/lucas-clemente/quic-go',
  'github.com/fxamacker/cbor',
  'github.com/pierrec/lz4',
  'github.com/klauspost/compress/zstd',
];
/** With all packages, on a busy machine; an idle one takes half a minute. */
export const BUILD_TIMEOUT_MS = 300_000;
/** What a scenario may take before it is ended. */
const SCENARIO_TIMEOUT_MS = 60_000;

/** A built client, which {@link GoClient.close} deletes. */
export class GoClient {
  readonly directory: string;
  readonly #env: NodeJS.ProcessEnv;

  /** Builds it; undefined where Go or a package is missing. */
  static async build(): Promise<GoClient | undefined> {
    const isThere = await run('go', ['version']).then(
      () => PACKAGES.every((name) => existsSync(join(GO_PATH, 'src', name))),
      () => false,
    );
    if (!isThere) return undefined;
    const client = new GoClient(await mkdtemp(join(tmpdir(), 'quicmesh-go-')));
    try {
      await client.go('build', '-o', client.#binary, '.');
    } catch (thrown) {
      await client.close();
      throw thrown;
    }
    return client;
  }

  /** @param directory of a client that was built, by another process as well */
  constructor(directory: string) {
    this.directory = directory;
    this.#env = {
      ...process.env,
      GOPATH: GO_PATH,
      GOCACHE: join(directory, 'cache'),
      GO111MODULE: 'off',
      GOPROXY: 'off',
      GOFLAGS: '',
    };
  }

  /** Runs the go command on the client's sources. @returns what it printed */
  async go(...args: string[]): Promise<string> {
    const options = { cwd: SOURCES, env: this.#env, timeout: BUILD_TIMEOUT_MS };
    const { stdout } = await run('go', args, options);
    return stdout;
  }

  /** @returns the names of sources that are not formatted */
  async unformatted(): Promise<string> {
    const { stdout } = await run('gofmt', ['-l', '.'], { cwd: SOURCES });
    return stdout;
  }

  /** Starts a scenario, which is ended with the test or whatever else tears it down. */
  async start(
    t: Pick<ExecutionContext, 'teardown'>,
    scenario: string,
    options: ScenarioOptions,
  ): Promise<Scenario> {
    const { host, port, tls, ...flags } = options;
    const files: Record<string, string> = {};
    const directory = await mkdtemp(join(this.directory, 'certs-'));
    for (const name of ['ca', 'cert', 'key'] as const) {
      if (tls[name] === undefined) continue;
      files[name] = join(directory, `${name}.pem`);
      await writeFile(files[name], tls[name], { mode: 0o600 });
    }
    const target = `${host}:${port}`;
    const args = Object.entries({ target, 'own-id': 'n1', cluster: 'test', ...flags, ...files });
    const child = spawn(
      this.#binary,
      [...args.flatMap(([name, value]) => [`-${name}`, String(value)]), scenario],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    );
    const running = new Scenario(scenario, child);
    t.teardown(() => running.end());
    return running;
  }

  async close(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }

  get #binary(): string {
    return join(this.directory, 'client');
  }
}

export interface ScenarioOptions {
  /** Where the node, or a proxy before it, is. */
  readonly host: string;
  readonly port: number;
  /** The node's id. */
  readonly 'node-id': string;
  readonly tls: { readonly ca: TlsPem; readonly cert?: TlsPem; readonly key?: TlsPem };
  readonly 'own-id'?: string;
  readonly cluster?: string;
  readonly kind?: string;
  readonly token?: string;
  /** How it knocks. Default: as SPEC.md says. */
  readonly knocks?: 'unnamed' | 'late' | 'none';
  /** The cluster that its knock is of. Default: that of the handshake. */
  readonly 'knock-cluster'?: string;
  readonly secret?: string;
  /** What the node may send ahead of the client, in all; far more by default. */
  readonly window?: number;
  readonly bytes?: number;
  readonly count?: number;
}

type TlsPem = TlsMaterial['ca'];

/** One run: what it says by name, and its verdict. */
export class Scenario {
  /** Every line that came, for a test that fails. */
  readonly lines: string[] = [];
  readonly #name: string;
  readonly #child: ChildProcess;
  readonly #events: { readonly event: string; readonly value: unknown }[] = [];
  readonly #exited: Promise<void>;
  #verdict: { readonly ok: boolean; readonly error?: string } | undefined;
  #hasExited = false;
  #wake = (): void => {};

  constructor(name: string, child: ChildProcess) {
    this.#name = name;
    this.#child = child;
    child.stdin?.on('error', () => {});
    const timer = setTimeout(() => child.kill('SIGKILL'), SCENARIO_TIMEOUT_MS);
    createInterface(child.stdout as NodeJS.ReadableStream).on('line', (line) => this.#take(line));
    this.#exited = new Promise((resolve) => {
      child.once('close', () => {
        clearTimeout(timer);
        this.#hasExited = true;
        this.#wake();
        resolve();
      });
    });
  }

  /** The value of the next event, which has to be this one. @throws Error when the scenario ended before */
  async said(event: string): Promise<unknown> {
    while (this.#events.length === 0) {
      if (this.#hasExited) throw new Error(`${this.#name} ended before ${event}: ${this.#told}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const next = this.#events.shift();
    if (next?.event !== event) throw new Error(`${next?.event} instead of ${event}: ${this.#told}`);
    return next.value;
  }

  /** Lets the scenario go on where it waits. */
  goOn(): void {
    this.#child.stdin?.write('go on\n');
  }

  /** Waits for the end. @throws Error when the scenario failed */
  async succeeded(): Promise<void> {
    await this.#exited;
    if (this.#verdict?.ok !== true) throw new Error(`${this.#name} failed: ${this.#told}`);
  }

  async end(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }

  get #told(): string {
    return this.lines.join(' ') || 'it said nothing';
  }

  #take(line: string): void {
    this.lines.push(line);
    const { event, value, ...verdict } = JSON.parse(line);
    if (event === undefined) this.#verdict = verdict;
    else this.#events.push({ event, value });
    this.#wake();
  }
}
