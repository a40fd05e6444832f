/** A process of the benchmark, seen from the runner. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Child, type ChildEnd } from '../children/child.js';
import { Questions } from '../children/questions.js';
import type { AnswerTo, Command, Report } from './protocol.js';

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

/** Node's own defaults: nobody starts a service with others. */
const NODE_ARGUMENTS = ['--expose-gc'];
const CLOSE_LIMIT_MS = 5000;
const KILL_LIMIT_MS = 2000;

export class WorkerProcess {
  readonly #name: string;
  readonly #signal: AbortSignal;
  readonly #child: Child;
  readonly #gone: Promise<void>;
  /** There is one at a time. */
  readonly #questions = new Questions<'command'>();
  #end: string | undefined;

  constructor({ name, program, namespace, signal }: WorkerOptions) {
    this.#name = name;
    this.#signal = signal;
    this.#child = new Child({
      program,
      nodeArguments: NODE_ARGUMENTS,
      wrapper: namespace === undefined ? undefined : ['ip', 'netns', 'exec', namespace],
      onMessage: (message) => this.#received(message as Report),
    });
    this.#gone = this.#child.gone.then((end) => this.#left(end));
  }

  /** @throws Error when the command fails, takes over `limitMs`, or the process is lost; the signal's reason */
  async ask<C extends Command>(command: C, limitMs: number): Promise<AnswerTo<C>> {
    this.#signal.throwIfAborted();
    if (this.#end !== undefined) throw new Error(this.#end);
    if (this.#questions.keys.length > 0) throw new Error(`${this.#name} is busy`);
    const late = () => new Error(`${command.kind} took more than ${Math.round(limitMs / 1000)} s`);
    const aborted = () => this.#questions.fail('command', this.#signal.reason);
    this.#signal.addEventListener('abort', aborted, { once: true });
    try {
      const answer = this.#questions.ask<AnswerTo<C>>('command', limitMs, late);
      this.#child.tell(command);
      return await answer;
    } finally {
      this.#signal.removeEventListener('abort', aborted);
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
    this.#child.kill();
    await Promise.race([this.#gone, sleep(KILL_LIMIT_MS, undefined, { ref: false })]);
  }

  #received(report: Report): void {
    if (report.kind === 'answer') this.#questions.answer('command', report.answer);
    else this.#questions.fail('command', new Error(report.reason));
  }

  #left({ code, signal, error }: ChildEnd): void {
    const how = error?.message ?? (signal === null ? `ended with ${code}` : `met ${signal}`);
    const said = firstLineOfError(this.#child.lastWords);
    this.#end = `the ${this.#name} ${how}${said === undefined ? '' : `: ${said}`}`;
    this.#questions.failAll(new Error(this.#end));
  }
}

/** Node prints where an error was thrown before it prints the error. */
function firstLineOfError(text: string): string | undefined {
  const lines = text.split('\n').map((line) => line.trim());
  return lines.find((line) => /^\w*Error/.test(line)) ?? lines.find((line) => line !== '');
}
