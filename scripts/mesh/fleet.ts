/** The node processes, seen from the command: started together, asked together, and gone together. */
import { type ChildProcess, fork } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { TYPESCRIPT } from '../typescript/arguments.js';
import type { Answer, AnswerTo, Command, CommandOf, Report } from './protocol.js';

export type Progress = Exclude<Report, { kind: 'answer' | 'failed' }>;

export interface FleetOptions {
  readonly nodeIds: readonly string[];
  /** Ends whatever the fleet is asked to do; its reason is what the asking rejects with. */
  readonly signal: AbortSignal;
}

export class Fleet {
  readonly #nodes: NodeProcess[];
  /** Ready to take the place of one of the nodes. */
  #spare: NodeProcess | undefined;
  /** Rejects when a process is lost or the signal fires; never fulfils. */
  readonly #failure: Promise<never>;
  onProgress: (nodeId: string, progress: Progress) => void = () => {};
  #fail: (reason: unknown) => void = () => {};

  constructor({ nodeIds, signal }: FleetOptions) {
    this.#failure = new Promise((_, reject) => {
      this.#fail = reject;
    });
    this.#failure.catch(() => {});
    signal.addEventListener('abort', () => this.#fail(signal.reason), { once: true });
    if (signal.aborted) this.#fail(signal.reason);
    this.#nodes = nodeIds.map((nodeId) => this.#begin(nodeId));
    // Also where this process ends by an error that nobody foresaw.
    process.once('exit', () => this.#killAll());
  }

  get nodes(): readonly NodeProcess[] {
    return this.#nodes;
  }

  /**
   * Asks every node, or the given ones, at the same time.
   * @throws Error as soon as one of them fails or is lost, or takes over `limitMs`
   */
  async askAll<C extends Command>(
    commandFor: (nodeId: string, index: number) => C,
    limitMs: number,
    nodes: readonly NodeProcess[] = this.#nodes,
  ): Promise<AnswerTo<C>[]> {
    return this.#orFail(
      Promise.all(nodes.map((node, at) => node.ask(commandFor(node.nodeId, at), limitMs))),
    );
  }

  /** Asks one node. @throws Error as {@link askAll} */
  async ask<C extends Command>(nodeId: string, command: C, limitMs: number): Promise<AnswerTo<C>> {
    return this.#orFail(this.#node(nodeId).ask(command, limitMs));
  }

  /** Closes one node and waits until its process has ended by itself. @throws Error when it does not */
  async end(nodeId: string, limitMs: number): Promise<AnswerTo<CommandOf<'close'>>> {
    const closed = await this.ask(nodeId, { kind: 'close' }, limitMs);
    await this.#orFail(this.#node(nodeId).ended(limitMs));
    return closed;
  }

  /** Has another process ready for a node. @returns what puts it in the place of the one before, which has ended */
  async prepare(nodeId: string, limitMs: number): Promise<() => void> {
    const next = this.#begin(nodeId);
    this.#spare = next;
    await this.#orFail(next.ask({ kind: 'load' }, limitMs));
    return () => {
      this.#nodes[this.#nodes.indexOf(this.#node(nodeId))] = next;
      this.#spare = undefined;
    };
  }

  /** Closes every node and waits until its process has ended by itself. @throws Error when one does not */
  async close(limitMs: number): Promise<AnswerTo<CommandOf<'close'>>[]> {
    const answers = await this.askAll((): CommandOf<'close'> => ({ kind: 'close' }), limitMs);
    await this.#orFail(Promise.all(this.nodes.map((node) => node.ended(limitMs))));
    return answers;
  }

  /** Kills whoever is still there and waits until all are gone. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#killAll();
    const allGone = Promise.all(this.#all.map(({ gone }) => gone));
    await Promise.race([allGone, sleep(KILL_LIMIT_MS, undefined, { ref: false })]);
  }

  #killAll(): void {
    for (const node of this.#all) node.kill();
  }

  get #all(): readonly NodeProcess[] {
    return this.#spare === undefined ? this.#nodes : [...this.#nodes, this.#spare];
  }

  #node(nodeId: string): NodeProcess {
    const node = this.#nodes.find((candidate) => candidate.nodeId === nodeId);
    if (node === undefined) throw new Error(`there is no node ${nodeId}`);
    return node;
  }

  #begin(nodeId: string): NodeProcess {
    return new NodeProcess(nodeId, {
      onProgress: (progress) => this.onProgress(nodeId, progress),
      onLost: (error) => this.#fail(error),
    });
  }

  #orFail<T>(answer: Promise<T>): Promise<T> {
    return Promise.race([answer, this.#failure]);
  }
}

interface Pending {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

interface NodeProcessListeners {
  readonly onProgress: (progress: Progress) => void;
  readonly onLost: (error: Error) => void;
}

class NodeProcess {
  readonly nodeId: string;
  /** Fulfils when the process is gone, however it went. */
  readonly gone: Promise<void>;
  readonly #child: ChildProcess;
  readonly #listeners: NodeProcessListeners;
  readonly #pending = new Map<Command['kind'], Pending>();
  #life: 'running' | 'closed' | 'killed' | 'gone' = 'running';
  #lastWords = '';

  constructor(nodeId: string, listeners: NodeProcessListeners) {
    this.nodeId = nodeId;
    this.#listeners = listeners;
    this.#child = fork(fileURLToPath(new URL('node-process.ts', import.meta.url)), {
      execArgv: [...TYPESCRIPT],
      // What a node writes would tear the table: it is shown when the node is lost.
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      // In a process group of its own a terminal's Ctrl-C does not reach the node: the command ends it.
      detached: true,
    });
    this.#child.on('message', (message) => this.#received(message as Report));
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#lastWords = (this.#lastWords + text).slice(-MAX_LAST_WORDS);
    });
    this.gone = new Promise((resolve) => {
      this.#child.once('error', (error) => {
        this.#left(null, error.message);
        resolve();
      });
      this.#child.once('close', (code, signal) => {
        this.#left(code, signal === null ? `exited with code ${code}` : `was killed by ${signal}`);
        resolve();
      });
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  ask<C extends Command>(command: C, limitMs: number): Promise<AnswerTo<C>> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#settle(command.kind)?.reject(
          new Error(`${this.#name} did not answer ${command.kind} within ${limitMs / 1000} s`),
        );
      }, limitMs);
      // The answer to a command is of the command's kind: the protocol has one question of a kind at a time.
      const taken = resolve as (answer: Answer) => void;
      this.#pending.set(command.kind, { resolve: taken, reject, timer });
      if (this.#child.connected) this.#child.send(command, () => {});
    });
  }

  /** Waits until the process has ended by itself, as it does after `close`. */
  async ended(limitMs: number): Promise<void> {
    const late = sleep(limitMs, 'late' as const, { ref: false });
    if ((await Promise.race([this.gone, late])) === 'late') {
      throw new Error(`${this.#name} closed, but its process did not end`);
    }
  }

  kill(): void {
    if (this.#life === 'gone') return;
    this.#life = 'killed';
    this.#child.kill('SIGKILL');
  }

  get #name(): string {
    return `${this.nodeId} (pid ${this.pid})`;
  }

  #received(message: Report): void {
    switch (message.kind) {
      case 'answer':
        if (message.to === 'close') this.#life = 'closed';
        this.#settle(message.to)?.resolve(message.answer);
        return;
      case 'failed': {
        const { to, reason } = message;
        this.#settle(to)?.reject(new Error(`${this.nodeId} failed to ${to}: ${reason}`));
        return;
      }
      case 'transferProgress':
        // A large file takes its time: as long as bytes move, it does not hang.
        this.#pending.get('transfer')?.timer.refresh();
        this.#listeners.onProgress(message);
        return;
      case 'progress':
        this.#listeners.onProgress(message);
    }
  }

  #left(code: number | null, how: string): void {
    const life = this.#life;
    this.#life = 'gone';
    const during = [...this.#pending.keys()];
    for (const kind of during) this.#settle(kind);
    if (life === 'killed' || (life === 'closed' && code === 0)) return;
    const when = during.length === 0 ? '' : ` during ${during.join(' and ')}`;
    const said = this.#lastWords.trim();
    const lastWords = said === '' ? '' : `; it said:\n${said}`;
    this.#listeners.onLost(new Error(`${this.#name} ${how}${when}${lastWords}`));
  }

  #settle(kind: Command['kind']): Pending | undefined {
    const pending = this.#pending.get(kind);
    this.#pending.delete(kind);
    clearTimeout(pending?.timer);
    return pending;
  }
}

const MAX_LAST_WORDS = 2000;
const KILL_LIMIT_MS = 1000;
