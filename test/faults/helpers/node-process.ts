/** A node process, seen from the test: asked, stopped, continued, killed, and started again. */
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { Child } from '../../../scripts/children/child.js';
import { Questions } from '../../../scripts/children/questions.js';
import { monotonicMs } from './clock.js';
import type { Command, CommandKind, Gives, Report, Takes } from './protocol.js';

const PROGRAM = fileURLToPath(new URL('program.ts', import.meta.url));
const ANSWER_LIMIT_MS = 60_000;

export class NodeProcess {
  readonly #child: Child;
  /** By number. */
  readonly #questions = new Questions<number>();
  #nextId = 0;

  /** Starts it; it is killed when the test ends, whatever state it is in. */
  constructor(t: ExecutionContext) {
    this.#child = new Child({
      program: PROGRAM,
      onMessage: (message) => this.#received(message as Report),
    });
    t.teardown(() => this.kill());
    void this.#child.gone.then(({ code, signal }) => {
      const how = `the process ended with ${signal ?? code}: ${this.#child.lastWords}`;
      this.#questions.failAll(new Error(how));
    });
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error('the process did not start');
    return this.#child.pid;
  }

  /** @throws Error what the node failed with; when the process ends, or does not answer in a minute */
  ask<K extends CommandKind>(nodeId: string, kind: K, takes: Takes<K>): Promise<Gives<K>> {
    const id = this.#nextId++;
    if (this.#child.end !== undefined) return Promise.reject(new Error('the process is gone'));
    const late = () => new Error(`${nodeId} did not answer ${kind}`);
    const answer = this.#questions.ask<Gives<K>>(id, ANSWER_LIMIT_MS, late);
    this.#child.tell({ id, nodeId, kind, takes } as Command);
    return answer;
  }

  /** Ends it without a word to anybody. Fulfils when it is gone. @returns when it was killed */
  async kill(): Promise<number> {
    const atMs = monotonicMs();
    this.#child.kill();
    await this.#child.gone;
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
    if ('failed' in report) this.#questions.fail(report.id, new Error(report.failed));
    else this.#questions.answer(report.id, report.gives);
  }
}
