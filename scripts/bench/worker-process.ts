/** A process of the benchmark, seen from the runner. */
import { type ChildProcess, fork } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Answer, AnswerTo, Command, Report } from './protocol.js';

export interface WorkerOptions {
  /** For people, in messages. */
  readonly name: string;
  /** What the process runs: see worker-build.ts. */
  readonly program: string;
  /** Network namespace to run in. */
  readonly namespace?: string | undefined;
  /** Ends whatever is asked; its reason is what the asking rejects with. */
  readonly signal: AbortSignal;
}

interface Pending {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * A worker's heap is a few megabytes, and V8 collects all of it each time as much memory of buffers has come and gone: tens of
 * times a second, beside bulk data. A node with data of its own in memory is not in that position.
 */
const NODE_ARGUMENTS = ['--expose-gc', '--initial-old-space-size=256'];
const MAX_LAST_WORDS = 2000;
const CLOSE_LIMIT_MS = 5000;
const KILL_LIMIT_MS = 2000;

/** Whoever is still there is killed when this process ends, however that comes about. */
const living = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of living) child.kill('SIGKILL');
});

export class WorkerProcess {
  readonly #name: string;
  readonly #signal: AbortSignal;
  readonly #child: ChildProcess;
  readonly #gone: Promise<void>;
  #pending: Pending | undefined;
  #end: string | undefined;
  #lastWords = '';

  constructor({ name, program, namespace, signal }: WorkerOptions) {
    this.#name = name;
    this.#signal = signal;
    // `ip netns exec` becomes the program that it runs: the IPC channel and the process id stay the same.
    const [execPath, execArgv] =
      namespace === undefined
        ? [process.execPath, NODE_ARGUMENTS]
        : ['ip', ['netns', 'exec', namespace, process.execPath, ...NODE_ARGUMENTS]];
    const child = fork(program, [], {
      execPath,
      execArgv,
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      // In a process group of its own a terminal's Ctrl-C does not reach it: the runner ends it.
      detached: true,
    });
    this.#child = child;
    living.add(child);
    child.on('message', (message) => this.#received(message as Report));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#lastWords = (this.#lastWords + text).slice(-MAX_LAST_WORDS);
    });
    this.#gone = new Promise((resolve) => {
      const left = (how: string): void => {
        living.delete(child);
        this.#left(how);
        resolve();
      };
      child.once('error', (error) => left(error.message));
      child.once('close', (code, by) => left(by === null ? `ended with ${code}` : `met ${by}`));
    });
  }

  /** @throws Error when the command fails, takes over `limitMs`, or the process is lost; the signal's reason */
  async ask<C extends Command>(command: C, limitMs: number): Promise<AnswerTo<C>> {
    this.#signal.throwIfAborted();
    if (this.#end !== undefined) throw new Error(this.#end);
    if (this.#pending !== undefined) throw new Error(`${this.#name} is busy`);
    let timer: NodeJS.Timeout | undefined;
    let aborted = (): void => {};
    try {
      const answer = new Promise<Answer>((resolve, reject) => {
        this.#pending = { resolve, reject };
        timer = setTimeout(() => {
          reject(new Error(`${command.kind} took more than ${Math.round(limitMs / 1000)} s`));
        }, limitMs);
        aborted = () => reject(this.#signal.reason);
        this.#signal.addEventListener('abort', aborted, { once: true });
        this.#child.send(command, () => {});
      });
      // An answer is of its command's kind: there is one question at a time.
      return (await answer) as AnswerTo<C>;
    } finally {
      clearTimeout(timer);
      this.#signal.removeEventListener('abort', aborted);
      this.#pending = undefined;
    }
  }

  /** Lets the process close what it has and end; kills it when it does not, or is in the middle of something. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      if (!this.#signal.aborted) await this.ask({ kind: 'close' }, CLOSE_LIMIT_MS);
    } catch {
      // It is killed.
    }
    await this.kill();
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await Promise.race([this.#gone, sleep(KILL_LIMIT_MS, undefined, { ref: false })]);
  }

  #received(report: Report): void {
    if (report.kind === 'answer') this.#pending?.resolve(report.answer);
    else this.#pending?.reject(new Error(report.reason));
  }

  #left(how: string): void {
    const error = firstLineOfError(this.#lastWords);
    this.#end = `the ${this.#name} ${how}${error === undefined ? '' : `: ${error}`}`;
    this.#pending?.reject(new Error(this.#end));
  }
}

/** Node prints where an error was thrown before it prints the error. */
function firstLineOfError(text: string): string | undefined {
  const lines = text.split('\n').map((line) => line.trim());
  return lines.find((line) => /^\w*Error/.test(line)) ?? lines.find((line) => line !== '');
}
