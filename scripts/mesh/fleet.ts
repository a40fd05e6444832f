/** The node processes, seen from the command: started together, asked together, and gone together. */
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Child, type ChildEnd } from '../children/child.js';
import { Questions } from '../children/questions.js';
import type { AnswerTo, Command, CommandOf, Report } from './protocol.js';

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

interface NodeProcessListeners {
  readonly onProgress: (progress: Progress) => void;
  readonly onLost: (error: Error) => void;
}

class NodeProcess {
  readonly nodeId: string;
  /** Fulfils when the process is gone, however it went. */
  readonly gone: Promise<void>;
  readonly #child: Child;
  readonly #listeners: NodeProcessListeners;
  /** By the kind of command: the protocol has one question of a kind at a time. */
  readonly #questions = new Questions<Command['kind']>();
  #life: 'running' | 'closed' | 'killed' = 'running';

  constructor(nodeId: string, listeners: NodeProcessListeners) {
    this.nodeId = nodeId;
    this.#listeners = listeners;
    // What a node writes would tear the table: it is shown when the node is lost.
    this.#child = new Child({
      program: PROGRAM,
      onMessage: (message) => this.#received(message as Report),
    });
    this.gone = this.#child.gone.then((end) => this.#left(end));
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  ask<C extends Command>(command: C, limitMs: number): Promise<AnswerTo<C>> {
    const { kind } = command;
    const late = () => new Error(`${this.#name} did not answer ${kind} within ${limitMs / 1000} s`);
    const answer = this.#questions.ask<AnswerTo<C>>(kind, limitMs, late);
    this.#child.tell(command);
    return answer;
  }

  /** Waits until the process has ended by itself, as it does after `close`. */
  async ended(limitMs: number): Promise<void> {
    const late = sleep(limitMs, 'late' as const, { ref: false });
    if ((await Promise.race([this.gone, late])) === 'late') {
      throw new Error(`${this.#name} closed, but its process did not end`);
    }
  }

  kill(): void {
    if (this.#child.end !== undefined) return;
    this.#life = 'killed';
    this.#child.kill();
  }

  get #name(): string {
    return `${this.nodeId} (pid ${this.pid})`;
  }

  #received(message: Report): void {
    switch (message.kind) {
      case 'answer':
        if (message.to === 'close') this.#life = 'closed';
        this.#questions.answer(message.to, message.answer);
        return;
      case 'failed': {
        const { to, reason } = message;
        this.#questions.fail(to, new Error(`${this.nodeId} failed to ${to}: ${reason}`));
        return;
      }
      case 'transferProgress':
        // A large file takes its time: as long as bytes move, it does not hang.
        this.#questions.refresh('transfer');
        this.#listeners.onProgress(message);
        return;
      case 'progress':
        this.#listeners.onProgress(message);
    }
  }

  #left({ code, signal, error }: ChildEnd): void {
    const during = this.#questions.keys;
    const exited = signal === null ? `exited with code ${code}` : `was killed by ${signal}`;
    const when = during.length === 0 ? '' : ` during ${during.join(' and ')}`;
    const said = this.#child.lastWords;
    const lastWords = said === '' ? '' : `; it said:\n${said}`;
    const reason = new Error(`${this.#name} ${error?.message ?? exited}${when}${lastWords}`);
    const isMeant = this.#life === 'killed' || (this.#life === 'closed' && code === 0);
    if (!isMeant) this.#listeners.onLost(reason);
    this.#questions.failAll(reason);
  }
}

const PROGRAM = fileURLToPath(new URL('node-process.ts', import.meta.url));
const KILL_LIMIT_MS = 1000;
