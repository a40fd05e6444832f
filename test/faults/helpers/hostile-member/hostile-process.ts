/** A hostile member in a process of its own, seen from the test. */
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { Child } from '../../../../scripts/children/child.js';
import { type NodeCredentials, nodeCert } from '../../../helpers/certs.js';
import type { Target } from '../protocol.js';
import { MEMBER_ID } from './member.js';
import type { Deeds, Order } from './protocol.js';

const PROGRAM = fileURLToPath(new URL('program.ts', import.meta.url));

export class HostileProcess {
  readonly #child: Child;
  readonly #tls: NodeCredentials;
  #onDeeds: (deeds: Deeds) => void = () => {};

  /** Starts it; it is killed when the test ends. */
  static async start(t: ExecutionContext): Promise<HostileProcess> {
    return new HostileProcess(t, await nodeCert(MEMBER_ID));
  }

  private constructor(t: ExecutionContext, tls: NodeCredentials) {
    this.#tls = tls;
    this.#child = new Child({
      program: PROGRAM,
      onMessage: (deeds) => this.#onDeeds(deeds as Deeds),
    });
    t.teardown(() => this.kill());
  }

  async kill(): Promise<void> {
    this.#child.kill();
    await this.#child.gone;
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error('the process did not start');
    return this.#child.pid;
  }

  spin(): void {
    this.#tell({ do: 'spin' });
  }

  /** @param only a regular expression for the names of attacks */
  attack(targets: readonly Target[], only: string): void {
    this.#tell({ do: 'attack', tls: this.#tls, targets, only });
  }

  /** @throws Error when it has died meanwhile */
  async stop(): Promise<Deeds> {
    const deeds = new Promise<Deeds>((resolve) => {
      this.#onDeeds = resolve;
    });
    this.#tell({ do: 'stop' });
    const end = this.#child.gone.then(() => {
      throw new Error(`the hostile process ended: ${this.#child.lastWords}`);
    });
    return Promise.race([deeds, end]);
  }

  #tell(order: Order): void {
    this.#child.tell(order);
  }
}
