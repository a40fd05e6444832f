/** A node process, seen from the test: asked, stopped, continued, killed, and started again. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { TYPESCRIPT } from '../../../scripts/typescript/arguments.js';
import { monotonicMs } from './clock.js';
import type { Command, CommandKind, Gives, Report, Takes } from './protocol.js';

const PROGRAM = fileURLToPath(new URL('program.ts', import.meta.url));
const ANSWER_LIMIT_MS = 60_000;
const MAX_LAST_WORDS = 2000;

interface Pending {
  readonly resolve: (gives: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

export class NodeProcess {
  readonly #child: ChildProcess;
  readonly #pending = new Map<number, Pending>();
  #nextId = 0;
  #lastWords = '';

  /** Starts it; it is killed when the test ends, whatever state it is in. */
  constructor(t: ExecutionContext) {
    this.#child = fork(PROGRAM, {
      execArgv: [...TYPESCRIPT],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    const kill = () => this.#child.kill('SIGKILL');
    process.once('exit', kill);
    t.teardown(() => this.kill());
    this.#child.on('message', (report: Report) => this.#received(report));
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#lastWords = (this.#lastWords + text).slice(-MAX_LAST_WORDS);
    });
    this.#child.once('close', (code, signal) => {
      process.off('exit', kill);
      this.#failAll(`the process ended with ${signal ?? code}: ${this.#lastWords}`);
    });
  }

  /** @throws Error what the node failed with; when the process ends, or does not answer in a minute */
  ask<K extends CommandKind>(nodeId: string, kind: K, takes: Takes<K>): Promise<Gives<K>> {
    const id = this.#nextId++;
    return new Promise<Gives<K>>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#settle(id)?.reject(new Error(`${nodeId} did not answer ${kind}`));
      }, ANSWER_LIMIT_MS);
      // What answers a command is of its kind.
      this.#pending.set(id, { resolve: resolve as (gives: unknown) => void, reject, timer });
      this.#child.send({ id, nodeId, kind, takes } as Command, (error) => {
        if (error !== null) this.#settle(id)?.reject(error);
      });
    });
  }

  /** Ends it without a word to anybody. Fulfils when it is gone. @returns when it was killed */
  async kill(): Promise<number> {
    const atMs = monotonicMs();
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return atMs;
    const gone = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await gone;
    return atMs;
  }

  /** Lets it do nothing at all for so long. @returns when it began and ended */
  async pause(forMs: number): Promise<{ readonly fromMs: number; readonly toMs: number }> {
    const fromMs = monotonicMs();
    this.#child.kill('SIGSTOP');
    try {
      await sleep(forMs);
    } finally {
      this.#child.kill('SIGCONT');
    }
    return { fromMs, toMs: monotonicMs() };
  }

  #received(report: Report): void {
    const pending = this.#settle(report.id);
    if ('failed' in report) pending?.reject(new Error(report.failed));
    else pending?.resolve(report.gives);
  }

  #settle(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    clearTimeout(pending?.timer);
    return pending;
  }

  #failAll(reason: string): void {
    for (const id of [...this.#pending.keys()]) this.#settle(id)?.reject(new Error(reason));
  }
}
